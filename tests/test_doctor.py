"""The doctor: real upstreams, well and ill, and what it says to do."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import nbproxy
from nbproxy import doctor_machine, doctor_upstream
from nbproxy.doctor import CHECKS, examined
from nbproxy.patient import Finding, Patient, patient
from nbproxy.recorder import default_directory

from . import certificates
from .test_searches import search
from .upstreams import Conversation, Json, Scripted

Start = Callable[..., nbproxy.Session]
Found = list[Finding]


def answer(value: Any, status: str = "200 OK", *fields: bytes) -> bytes:
    body = json.dumps(value).encode()
    head = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def of(check: Callable[[Patient], Any], who: Patient) -> Found:
    return list(check(who))


@contextmanager
def answering(upstream: Scripted, **answers: bytes) -> Iterator[Patient]:
    """A patient whose upstream answers by path, else with 404."""
    by_path = {"/": answers.get("root", answer({})), **{k: v for k, v in answers.items() if k.startswith("/")}}

    def handler(talk: Conversation) -> None:
        with talk.socket:
            head, _ = talk.request()
            talk.send(by_path.get(head.split()[1].decode(), answer({}, "404 Not Found")))

    upstream.handler = handler
    yield patient(upstream.url)


PRODUCTS = [
    ("/", {"version": {"number": "8.11.1"}, "tagline": "You Know, for Search"}, "ok", "Elasticsearch 8.11.1"),
    ("/", {"version": {"number": "2.11.0", "distribution": "opensearch"}}, "ok", "OpenSearch 2.11.0"),
    ("/", {"version": {"number": "6.8.0"}}, "warn", "Elasticsearch 6.8.0: nbproxy is tested with 7 to 9"),
    ("/", {"title": "qdrant - vector search engine", "version": "1.9"}, "ok", "Qdrant 1.9"),
    ("/solr/admin/info/system?wt=json", {"lucene": {"solr-spec-version": "9.5.0"}}, "ok", "Solr 9.5.0"),
    ("/health", {"status": "available"}, "ok", "Meilisearch"),
    ("/health", {"ok": True}, "ok", "Typesense"),
    ("/ApplicationStatus", {"application": {"vespa": {"version": "8.3"}}}, "ok", "Vespa 8.3"),
    ("/", ["what"], "warn", "its search API was not recognised"),
    ("/", {"version": {"number": "\x1b[31m7"}}, "ok", "Elasticsearch 7"),
]


@pytest.mark.parametrize(("path", "told", "state", "what"), PRODUCTS, ids=[what for *_, what in PRODUCTS])
def test_products(upstream: Scripted, path: str, told: Any, state: str, what: str) -> None:
    with answering(upstream, **{path: answer(told)}) as who:
        (found,) = of(doctor_upstream.product, who)
    assert (found.state, found.what) == (state, what)


def test_an_upstream_that_is_not_there() -> None:
    found = dict(examined(patient("http://127.0.0.1:1")))
    assert found["upstream"].state == "fail"
    assert "cannot be reached" in found["upstream"].what
    assert "start it" in found["upstream"].todo
    assert {"product", "security", "TLS"}.isdisjoint(found)


def test_credentials(upstream: Scripted) -> None:
    refused = answer({}, "401 Unauthorized", b'WWW-Authenticate: Basic realm="x"')
    with answering(upstream, root=refused) as who:
        assert of(doctor_upstream.security, who)[0][:2] == ("fail", "it wants credentials (401)")
        given = patient(upstream.url, tls={"auth": ("me", "wrong")})
        (found,) = of(doctor_upstream.security, given)
        assert found.what == "the credentials given are refused (401)"
        assert "wrong" not in repr(list(examined(given)))
        assert not of(doctor_upstream.product, who)
    with answering(upstream) as who:
        assert of(doctor_upstream.security, who)[0].what == "no credentials are needed"


def test_sniffing(upstream: Scripted) -> None:
    nodes = answer({"nodes": {"a": {"http": {"publish_address": "10.0.0.7:9200"}}}})
    with answering(upstream, **{"/_nodes/http": nodes}) as who:
        (found,) = of(doctor_upstream.sniffers, who)
    assert found.state == "ok"
    assert "10.0.0.7:9200" in found.what
    assert "sniffing off" in found.todo


# -- TLS


@contextmanager
def secured(context: ssl.SSLContext) -> Iterator[str]:
    with Scripted() as server:

        def handler(talk: Conversation) -> None:
            try:
                with context.wrap_socket(talk.socket, server_side=True) as sock:
                    wrapped = Conversation(sock)
                    wrapped.request()
                    wrapped.send(answer({"version": {"number": "8.1.0"}}))
            except (OSError, EOFError):
                pass  # the handshake was only looked at

        server.handler = handler
        yield server.url.replace("http://", "https://")


def test_a_certificate_that_nobody_vouches_for_and_what_to_pass(tmp_path: Path) -> None:
    root = certificates.root()
    own = root.issue("127.0.0.1", until=timedelta(days=300))
    with secured(certificates.server_context(tmp_path, own)) as url:
        found = dict(examined(patient(url)))
        assert found["upstream"].state == "fail"
        shown = found["TLS"].todo.split("--fingerprint ")[1].split(",")[0]
        assert shown.replace(":", "").lower() == own.fingerprint
        trusted = of(doctor_upstream.tls, patient(url, tls={"fingerprint": shown}))
        assert [one.state for one in trusted] == ["ok", "ok"]
        assert trusted[0].what.startswith("accepted, for 127.0.0.1, valid until ")
        assert of(doctor_upstream.tls, patient(url, tls={"ca": root.file(tmp_path)}))[0].state == "ok"


@pytest.mark.parametrize(("left", "said"), [(5, "renew it soon"), (-1, "renew it")])
def test_a_certificate_that_ends_soon_or_has_ended(tmp_path: Path, left: int, said: str) -> None:
    own = certificates.root().issue("127.0.0.1", until=timedelta(days=left, minutes=5))
    with secured(certificates.server_context(tmp_path, own)) as url:
        (found, _) = of(doctor_upstream.tls, patient(url, tls={"fingerprint": own.fingerprint}))
    assert (found.state, found.todo) == ("warn", said)


# -- the proxy


def test_a_proxy_is_told_from_an_upstream(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=lambda query, texts: 1 / 0)
    search(session)
    for who in (patient(session.url), patient(json_upstream.url), patient()):
        assert who.proxy == session.url
        assert who.place is not None
        assert who.place.url == json_upstream.url
        found = dict(examined(who))
        assert found["proxy"].what.startswith(f"{session.url} running → {json_upstream.url}, model ")
        assert found["token"] == ("ok", "found, and accepted", "")
        assert found["errors"].state == "warn"
        assert "division by zero" in found["errors"].what


def test_a_wrong_token_is_told(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    (found,) = of(doctor_upstream.token, patient(session.url, token="wrong"))
    assert found.state == "warn"
    (found,) = of(doctor_upstream.token, patient(session.url, token=session.token))
    assert found.state == "ok"


def test_without_anything_it_looks_at_the_machine() -> None:
    who = patient()
    assert (who.place, who.proxy) == (None, None)
    found = dict(examined(who))
    assert {"disk", "Python", "libraries"} <= found.keys()
    assert all(one.state != "fail" for one in found.values())


# -- this machine


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        (found,) = of(doctor_machine.port, Patient(port=number))
        assert found.state == "fail"
        assert f"port {number} is in use" in found.what
    (found,) = of(doctor_machine.port, Patient(port=number))
    assert found.state == "ok"


def test_the_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    found = of(doctor_machine.disk, Patient(record=tmp_path / "not" / "yet"))
    assert len(found) == 3
    assert found[0].what.endswith("can be written")
    assert "MB/s" in found[2].what
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    (failed,) = of(doctor_machine.disk, Patient(record=tmp_path / "file" / "below"))
    assert failed.state == "fail"


def test_where_it_records_by_default_is_where_sessions_do() -> None:
    found = of(doctor_machine.disk, Patient())
    assert found[0].what.removesuffix(" can be written") in str(default_directory("default", "x"))


def test_models() -> None:
    assert of(doctor_machine.model, Patient()) == []
    (good,) = of(doctor_machine.model, Patient(model="bm25"))
    assert good.state == "ok"
    assert "scores 2 texts" in good.what
    (bad,) = of(doctor_machine.model, Patient(model="json:nothing"))
    assert bad.state == "fail"
    assert "cannot be imported" in bad.what
    (none,) = of(doctor_machine.model, Patient(model="/no/such"))
    assert none.what.startswith("/no/such: ConfigError: '/no/such' is no built-in model")
    assert "a model is one of" not in none.what  # a list of lines: not for one line


def test_a_library_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "_installed", lambda module: module != "torch")
    found = [one for one in doctor_machine.libraries(Patient()) if one.todo]
    assert found == [
        (
            "ok",
            "torch is not installed: models of transformers and sentence-transformers",
            'pip install "nbproxy[torch]"',
        )
    ]


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({name for name, _ in CHECKS}) == len({check for _, check in CHECKS}) == len(CHECKS)
