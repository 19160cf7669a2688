"""One exchange: what it took, its heads, its bodies, and the command that sends it again."""

from __future__ import annotations

import contextlib
import html
import json
import shlex
from collections.abc import Mapping
from typing import Any

from .. import views
from ..content import decode
from .charts import timing
from .markup import COLOUR, COPY, FONT, MONO, RULE

SHOWN = 20_000  # characters of a body
_READ = 4 * 2**20  # bytes of a body that are unpacked for it
_PRE = f"{MONO};white-space:pre-wrap;overflow-wrap:anywhere;max-height:320px;overflow:auto;"
_PRE += f"margin:2px 0;padding:4px 6px;border:{RULE};background:none;color:inherit"
_HIDDEN = {  # what moves a cursor or turns writing round is shown as a box
    **dict.fromkeys(
        [*range(32), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�"
    ),
    9: "    ",
    10: "\n",
}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OWN = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")  # curl says these itself


def exchange(row: Mapping[str, Any] | None, url: str) -> str:
    """The whole view of one row of ``session.frame``."""
    if row is None:
        return f'<div style="{FONT};{COLOUR};padding:8px 0"><i>select a row of the table above</i></div>'
    parts = [
        _title(row),
        _times(row),
        _section("request headers", _pre(row.get("request_headers"))),
        _body(row, "request", "request body"),
        _section("response headers", _pre(row.get("response_headers"))),
        _body(row, "response", "response body"),
        _body(row, "upstream_request", "what upstream was asked", told=False),
        _body(row, "upstream_response", "what upstream answered", told=False),
        _section("as curl", f"<div>{_copyable(as_curl(row, url))}</div>"),
    ]
    label = 'role="region" aria-label="the exchange"'
    return f'<div {label} style="{FONT};{COLOUR};padding-top:6px">{"".join(parts)}</div>'


def _title(row: Mapping[str, Any]) -> str:
    line = f"{row['method']} {row['target']}"
    facts = [row.get("status"), row.get("route"), row.get("dialect"), row.get("model"), row.get("reason")]
    said = " · ".join(views.escaped(fact, 60) for fact in facts if fact not in (None, ""))
    error = f"<div><b>✖ {views.escaped(row['error'], 400)}</b></div>" if row.get("error") else ""
    said += f" · <code>{views.escaped(row['exchange_id'])}</code>"
    return f"<div><b>{views.escaped(line, 300)}</b></div><div>{said}</div>{error}"


def _times(row: Mapping[str, Any]) -> str:
    total, upstream, rerank = (float(row.get(f"{name}_ms") or 0) for name in ("total", "upstream", "rerank"))
    rest = max(0.0, total - upstream - rerank)
    bar = timing([("upstream", upstream), ("reranking", rerank), ("proxy and client", rest)], total)
    return f"<div style='padding:4px 0'>{bar}</div>" if bar else ""


def _section(title: str, content: str, *, open_: bool = True) -> str:
    shown = " open" if open_ else ""
    return f'<details{shown}><summary style="font-weight:600">{html.escape(title)}</summary>{content}</details>'


def harmless(text: str, width: int = SHOWN) -> str:
    """A text of several lines, escaped; what could move a cursor or turn writing round is a box."""
    cut = text[:width].translate(_HIDDEN).encode("utf-8", "replace").decode()
    return html.escape(cut) + (f"\n… {len(text) - width:,} characters more" if len(text) > width else "")


def _pre(text: str | None) -> str:
    return f'<pre tabindex="0" style="{_PRE}">{harmless(text or "(none)")}</pre>'


def _body(row: Mapping[str, Any], which: str, title: str, *, told: bool = True) -> str:
    body = row.get(f"{which}_body")
    if body is None and not told:
        return ""
    text = pretty(body, row.get(f"{which}_headers")) if body else "(none)"
    cut = " (its beginning)" if row.get(f"{which}_truncated") else ""
    size = f", {views.size(len(body))}" if body else ""
    return _section(f"{title}{size}{cut}", _pre(text), open_=told)


def pretty(body: bytes, head: str | None = None) -> str:
    """A body as it is read: its content coding undone, JSON indented, line by line where it is several values."""
    plain = _decoded(bytes(body), head)
    if plain is None:
        return f"({len(body):,} bytes that cannot be decoded)"
    text = plain.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    with contextlib.suppress(ValueError, RecursionError):
        lines = [line for line in text.splitlines() if line.strip()]
        return "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in lines)
    return text


def _decoded(body: bytes, head: str | None) -> bytes | None:
    declared = next((value for name, value in fields(head) if name.lower() == "content-encoding"), None)
    coding = declared or next((name for magic, name in _MAGIC.items() if body.startswith(magic)), None)
    try:
        return decode(body, coding, _READ)
    except ValueError:
        return None
    except Exception:  # larger than is unpacked for a view
        return None


def fields(head: str | None) -> list[tuple[str, str]]:
    """Header lines as pairs."""
    pairs = (line.partition(":") for line in (head or "").splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip()]


def as_curl(row: Mapping[str, Any], url: str) -> str:
    """The request as a command for a POSIX shell, sent to the proxy; what was redacted stays so."""
    words = ["curl", "-sS", "-X", str(row["method"])]
    words += [word for name, value in fields(row.get("request_headers")) if name.lower() not in _OWN
              for word in ("-H", f"{name}: {value}")]  # fmt: skip
    body = row.get("request_body")
    if body:
        words += _data(bytes(body))
    target = str(row["target"])
    words.append(target if "://" in target else url + target)
    return " ".join(shlex.quote(word) for word in words)


def _data(body: bytes) -> list[str]:
    """The body as it is; what is no text has to come from a file (``session.row(...)["request_body"]``)."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return ["--data-binary", "@body.bin"] if "\x00" in text else ["--data-raw", text]


def _copyable(text: str) -> str:
    """Several lines with a button that copies them."""
    button = 'type="button" class="jupyter-button" style="width:auto;height:22px;line-height:20px;padding:0 8px"'
    return (
        f'<pre tabindex="0" style="{_PRE}">{harmless(text)}</pre>'
        f'<button {button} aria-label="copy the command" onclick="{html.escape(COPY)}">copy</button>'
    )
