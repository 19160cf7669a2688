"""Content codings (RFC 9110 §8.4.1) undone and put back, with a cap on what comes out.

Law: whatever the bytes are, memory stays within the cap and a step, and time linear in what goes in and what may come
out. So each coding is undone step by step, and the numbers of codings and of gzip members are bounded too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

_STEP = 1 << 18  # so much comes out at a time
_CODINGS = 3  # one upon the other; no client or engine has use for more than one
_MEMBERS = 10_000  # of one gzip body: empty ones cost time but count nothing against the cap
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Undecodable(ValueError):
    """The bytes are not what their coding says, or the coding is unknown."""


class TooLarge(ValueError):
    """More than ``limit`` bytes come out."""


def codings(value: str | None) -> list[str]:
    """A Content-Encoding field's codings in the order they were applied, without ``identity``."""
    names = (name.strip().lower() for name in (value or "").split(","))
    return [name for name in names if name and name != "identity"]


def known(value: str | None) -> bool:
    """Whether a Content-Encoding field's codings can be undone, whatever the bytes are."""
    names = codings(value)
    return len(names) <= _CODINGS and all(name in _DECODERS for name in names)


def decode(body: bytes, coding: str | None, limit: int | None = None) -> bytes:
    """``body`` with its content codings undone.

    :param coding: the Content-Encoding field; None or ``identity``: none.
    :param limit: at most so many bytes may come out; None: unlimited.
    :raises Undecodable: broken or truncated bytes, an unknown coding, or more codings or members than make sense.
    :raises TooLarge: more than ``limit`` come out (also of no coding at all).
    """
    names = codings(coding)
    if len(names) > _CODINGS:
        raise Undecodable(f"{len(names)} content codings, one upon the other")
    for name in reversed(names):
        undo = _DECODERS.get(name)
        if undo is None:
            raise Undecodable(f"unknown content coding {name!r}")
        body = undo(body, limit)
    if limit is not None and len(body) > limit:
        raise TooLarge(f"more than {limit} bytes")
    return body


class _Out:
    """What has come out."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"more than {self._limit} bytes")
        if piece:
            self._pieces.append(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


def gzip(body: bytes) -> bytes:
    """``body`` as one gzip member at the fastest level: the client is on the same host or near it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an Accept-Encoding field (RFC 9110 §12.5.3) asks for gzip without reservation.

    Where it is weighed below 1, or only meant by ``*``, identity does: that is always acceptable, and we need not pack.
    """
    for item in (accept_encoding or "").lower().split(","):
        name, *parameters = (part.strip().replace(" ", "") for part in item.split(";"))
        if name in ("gzip", "x-gzip"):
            return all(p.partition("=")[2].rstrip("0").rstrip(".") == "1" for p in parameters if p.startswith("q="))
    return False


def _inflate(body: bytes, window: int, limit: int | None) -> bytes:
    """One member, or several in a row, which gzip allows (RFC 1952 §2.2)."""
    out, at = _Out(limit), 0
    for _ in range(_MEMBERS):
        try:
            at = _inflate_member(body, at, window, out)
        except zlib.error as error:
            raise Undecodable(str(error)) from None
        if at == len(body) or window != _GZIP:
            return out.whole()
    raise Undecodable(f"more than {_MEMBERS} members")


def _inflate_member(body: bytes, at: int, window: int, out: _Out) -> int:
    """The member that begins at ``at``; where it ends. It is fed in growing steps: zlib copies what it leaves over."""
    unpacker, step = zlib.decompressobj(window), 1 << 10
    while not unpacker.eof:
        data = unpacker.unconsumed_tail
        if not data:
            data = body[at : at + step]
            at, step = at + len(data), min(2 * step, _STEP)
        piece = unpacker.decompress(data, _STEP)
        out.add(piece)
        if not piece and not data and not unpacker.eof:
            raise Undecodable("truncated")
    return at - len(unpacker.unused_data)


def _deflate(body: bytes, limit: int | None) -> bytes:
    """``deflate`` is zlib's format, but some servers send the raw stream: RFC 9110 §8.4.1.2 notes both."""
    try:
        return _inflate(body, _ZLIB, limit)
    except Undecodable:
        return _inflate(body, _RAW, limit)


def _by_arrow(codec: str) -> Callable[[bytes, int | None], bytes]:
    """A coding that pyarrow, which we have anyway, undoes step by step."""

    def undo(body: bytes, limit: int | None) -> bytes:
        import pyarrow as pa

        if not body or not pa.Codec.is_available(codec):
            raise Undecodable("truncated" if not body else f"this pyarrow cannot read {codec}")
        out = _Out(limit)
        try:
            with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
                while piece := stream.read(_STEP):
                    out.add(piece)
        except (OSError, pa.ArrowException) as error:
            raise Undecodable(str(error)) from None
        return out.whole()

    return undo


_DECODERS: dict[str, Callable[[bytes, int | None], bytes]] = {
    "gzip": lambda body, limit: _inflate(body, _GZIP, limit),
    "x-gzip": lambda body, limit: _inflate(body, _GZIP, limit),
    "deflate": _deflate,
    "br": _by_arrow("brotli"),
    "zstd": _by_arrow("zstd"),
}
