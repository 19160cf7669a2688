"""A request's head as it goes upstream: fields of one hop taken away, ours set, framing said so that it can be read
in one way only, signed where that is asked for."""

from __future__ import annotations

import re
from typing import Any

from .context import Context
from .heads import Framing, RequestHead
from .messages import Headers, Request

_OURS = frozenset([b"x-nbproxy", b"x-nbproxy-model", b"http2-settings"])
_LENGTH = frozenset([b"content-length"])
_CODING = frozenset([b"transfer-encoding"])
_PARAM = re.compile(r"x-nbproxy(?:=(.*))?", re.I | re.S)
_NONE: frozenset[bytes] = frozenset()
_EXPECT = frozenset([b"expect"])
_LASTING = (b"close", b"keep-alive")
_FRAMED: dict[Framing, frozenset[bytes]] = {"none": _NONE, "length": _LENGTH, "chunked": _CODING, "close": _NONE}


def request_block(
    context: Context, head: RequestHead, *, drop: frozenset[bytes] = frozenset(), pooled: bool = False
) -> bytes:
    """A request's field lines as they go upstream, framing included as the client framed it. ``pooled``: the connection
    may serve another request whatever the client does with its own."""
    place = context.pool.origin
    host = place.authority.encode()
    if context.host_header == "preserve":
        host = next(iter(head.values(b"host")), head.authority or host)
    replace = {} if head.values(b"host") == [host] else {b"host": host}
    framing = _FRAMED[head.framing]
    for name in framing:  # whatever the client wrote, it can be read in one way
        value = b"chunked" if head.length is None else b"%d" % head.length
        if not head.stated(name, value):
            replace[name] = value
    given = {name.lower().encode("latin-1") for name in place.fields}
    if head.minor == 0:
        drop |= _EXPECT  # RFC 9110 §10.1.1
    block = head.forwarded(_OURS | drop | given & {b"authorization"}, replace, framing)
    if not head.values(b"host"):
        block = b"Host: %b\r\n" % host + block
    if place.fields:
        block = _with_fields(block, place.fields)
    return block + _of_this_hop(head, pooled)


def _of_this_hop(head: RequestHead, pooled: bool) -> bytes:
    """Our own fields for the hop to upstream (RFC 9110 §7.6.1): of the connection, what the client said of its own."""
    options = [] if head.upgrade is not None else [name for name in _LASTING if name in head.options][:1]
    if pooled and options == [b"close"]:
        options = []
    trailers = b"trailers" in head.items(b"te")
    if trailers:
        options.append(b"TE")
    fields = b"TE: trailers\r\n" if trailers else b""
    return fields + (b"Connection: %b\r\n" % b", ".join(options) if options else b"")


def _with_fields(block: bytes, fields: Any) -> bytes:
    headers = Headers.parse(block)
    for name, value in fields.items():
        headers = headers.with_value(name, value)
    return headers.encode()


def opted_out(head: RequestHead) -> bool:
    """Whether the client wants this request to be left alone: by ``X-Nbproxy: off``, a field or a parameter."""
    values = [(head.value(b"x-nbproxy") or b"").decode("latin-1")]
    values += [ours[1] or "" for ours in map(_PARAM.fullmatch, _pairs(head.target)) if ours]
    return any(value.lower() == "off" for value in values)


def without_ours(target: str) -> str:
    """The target without the parameter ``X-Nbproxy``, which upstream would refuse; the rest of it as it is."""
    pairs = _pairs(target)
    kept = [pair for pair in pairs if not _PARAM.fullmatch(pair)]
    if len(kept) == len(pairs):
        return target
    return target.partition("?")[0] + ("?" + "&".join(kept) if kept else "")


def _pairs(target: str) -> list[str]:
    """The parameters, as they are written, of a target that may have ours among them."""
    return target.partition("?")[2].split("&") if "nbproxy" in target.lower() else []


def _upstream_target(context: Context, head: RequestHead, target: str | None) -> str:
    return context.pool.origin.target(without_ours(head.target if target is None else target))


def request_line(context: Context, head: RequestHead, target: str | None = None) -> bytes:
    path = _upstream_target(context, head, target)
    if path != "*":
        path = head.before + path
    return f"{head.method} {path} HTTP/1.1\r\n".encode("latin-1")


def signed(context: Context, head: RequestHead, block: bytes, body: bytes, target: str | None = None) -> bytes:
    """The field lines with what the signing callable adds, if there is one."""
    sign = context.pool.origin.sign
    if sign is None:
        return block
    path = _upstream_target(context, head, target)
    return _with_fields(block, sign(Request(head.method, path, Headers.parse(block), body)))
