"""The doctor's checks of upstream and of the proxy in front of it; see :mod:`nbproxy.doctor` for their laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from . import probing
from .dialects import sniffing
from .errors import ConfigError, SessionClosed, UpstreamFault
from .origin import Origin
from .patient import Finding, Patient
from .probing import Answer
from .remote import Remote
from .views import plain

SOON_DAYS = 21
TOKENS = (401, 403)


def reachable(patient: Patient) -> Iterator[Finding]:
    if patient.place is None:
        yield Finding("ok", "none given", "give its address: nbproxy doctor http://localhost:9200")
    elif isinstance(patient.root, UpstreamFault):
        yield Finding("fail", plain(patient.root.reason, 300), _START)
    else:
        yield Finding("ok", f"{plain(patient.place.url)} answers ({patient.root.status})")


_START = "start it, or correct the address (scheme, name, port); from a container, localhost is the container itself"


def security(patient: Patient) -> Iterator[Finding]:
    answer, place = patient.answer, patient.place
    if answer is None or place is None:
        return
    given = any(name.lower() == "authorization" for name in place.fields)
    if answer.status in TOKENS:
        what = "the credentials given are refused" if given else "it wants credentials"
        yield Finding(
            "fail", f"{what} ({answer.status})", "NBPROXY_AUTH=user:password, or an API key (auth= in Python)"
        )
    elif given and place.tls is None and not _local(place):
        yield Finding("warn", "credentials travel unencrypted", "use https://, if upstream speaks it")
    else:
        yield Finding("ok", "credentials are accepted" if given else "no credentials are needed")


def _local(place: Origin) -> bool:
    return place.socket_path is not None or place.host in ("localhost", "::1") or place.host.startswith("127.")


def product(patient: Patient) -> Iterator[Finding]:
    if patient.answer is None or patient.answer.status in TOKENS:
        return
    for target, read in PRODUCTS:
        answer = patient.answer if target == "/" else patient.asked(target)
        found = read(answer) if answer else None
        if found:
            yield _known(*found)
            return
    yield Finding(
        "warn", "its search API was not recognised", "searches pass untouched; describe them: nbproxy.JSONDialect"
    )


def _known(name: str, version: str) -> Finding:
    shown = plain(f"{name} {version}", 60)
    majors, major = _MAJORS.get(name), version.partition(".")[0]
    if majors and major.isdigit() and int(major) not in majors:
        return Finding("warn", f"{shown}: nbproxy is tested with {majors[0]} to {majors[-1]}", "compare answers first")
    return Finding("ok", shown)


def _elastic(answer: Answer) -> tuple[str, str] | None:
    version = answer.json().get("version")
    if not isinstance(version, dict):
        return None
    name = "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch"
    return name, str(version.get("number", "?"))


def _titled(answer: Answer) -> tuple[str, str] | None:
    told = answer.json()
    return ("Qdrant", str(told.get("version", "?"))) if "qdrant" in str(told.get("title", "")).lower() else None


def _solr(answer: Answer) -> tuple[str, str] | None:
    lucene = answer.json().get("lucene")
    return ("Solr", str(lucene.get("solr-spec-version", "?"))) if isinstance(lucene, dict) else None


def _health(answer: Answer) -> tuple[str, str] | None:
    told = answer.json()
    return ("Meilisearch", "") if told.get("status") == "available" else ("Typesense", "") if "ok" in told else None


def _vespa(answer: Answer) -> tuple[str, str] | None:
    told = answer.json().get("application", {}).get("vespa")
    return ("Vespa", str(told.get("version", "?"))) if isinstance(told, dict) else None


PRODUCTS: tuple[tuple[str, Callable[[Answer], tuple[str, str] | None]], ...] = (
    ("/", _elastic),
    ("/", _titled),
    ("/solr/admin/info/system?wt=json", _solr),
    ("/health", _health),
    ("/ApplicationStatus", _vespa),
)
_MAJORS: Mapping[str, range] = {"Elasticsearch": range(7, 10), "OpenSearch": range(1, 4), "Solr": range(9, 10)}


def tls(patient: Patient) -> Iterator[Finding]:
    place = patient.place
    if place is None or place.tls is None:
        return
    try:
        shown = probing.certificate(place, timeout=patient.timeout)
    except UpstreamFault as fault:
        yield Finding("fail", plain(fault.reason, 300), "see upstream")
        return
    names = f"for {plain(', '.join(shown.names), 80)}" if shown.names else "for no name"
    if patient.answer is None:
        told = f"compare with what your engine printed; if it is the same: --fingerprint {shown.fingerprint}"
        yield Finding("fail", f"not accepted; the certificate shown is {names}", f"{told}, or --ca FILE")
    else:
        yield _lasting(shown, names)
        yield Finding("ok", f"fingerprint {shown.fingerprint}")


def _lasting(shown: probing.Certificate, names: str) -> Finding:
    if shown.expires is None:
        return Finding("warn", f"its certificate, {names}, is not valid today", "renew it")
    days = (shown.expires - datetime.now(UTC)).days
    what = f"accepted, {names}, valid until {shown.expires:%Y-%m-%d} ({days:,} days)"
    return Finding("ok", what) if days >= SOON_DAYS else Finding("warn", what, "renew it soon")


def sniffers(patient: Patient) -> Iterator[Finding]:
    answer = patient.asked("/_nodes/http")
    addresses = sniffing.published(answer.body) if answer and answer.status == 200 else ()
    if any("sniff" in error for error in patient.errors):
        yield Finding("warn", "a client that sniffs has asked through the proxy", sniffing.ADVICE)
    elif addresses:
        what = f"upstream tells clients that ask for its nodes: {plain(', '.join(addresses), 120)}"
        yield Finding("ok", what, "a client that sniffs would go there, past the proxy: switch its sniffing off")


# -- the proxy


def proxy(patient: Patient) -> Iterator[Finding]:
    status = patient.status
    if not status:
        yield Finding("ok", "none runs", "nbproxy serve UPSTREAM, or nbproxy.start(UPSTREAM) in a notebook")
        return
    model = (status.get("model") or {}).get("name", "none")
    what = plain(f"{patient.proxy} {status['state']} → {status['upstream']}, model {model}", 200)
    running = status["state"] == "running"
    yield Finding("ok" if running else "fail", what, "" if running else "start it again")
    dropped = int(status.get("recording", {}).get("dropped", 0))
    if dropped:
        yield Finding("warn", f"{dropped:,} exchanges were not recorded", "the disk is too slow, or full: see disk")


def token(patient: Patient) -> Iterator[Finding]:
    if not patient.status or patient.proxy is None:
        return
    try:
        Remote(patient.proxy, patient.token, timeout=patient.timeout).snapshot(1)
    except (ConfigError, SessionClosed) as error:
        yield Finding("warn", plain(error, 300), "without it nbproxy live and nbproxy.connect cannot ask")
    else:
        yield Finding("ok", "found, and accepted")


def errors(patient: Patient) -> Iterator[Finding]:
    count = int(patient.status.get("errors", 0))
    if count:
        newest = (patient.errors or ("",))[-1]
        yield Finding("warn", plain(f"{count:,} so far, the newest: {newest}", 300), "session.errors has them all")
