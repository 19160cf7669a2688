"""Content codings (RFC 9110 §8.4.1) undone and put back, with a cap on what comes out."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any

_STEP = 1 << 18
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Undecodable(ValueError):
    """The bytes are not what their coding says, or the coding is unknown."""


class TooLarge(ValueError):
    """More than ``limit`` bytes come out."""


def codings(value: str | None) -> list[str]:
    """A Content-Encoding field's codings in the order they were applied, without ``identity``."""
    names = (name.strip().lower() for name in (value or "").split(","))
    return [name for name in names if name and name != "identity"]


def decode(body: bytes, coding: str | None, limit: int | None = None) -> bytes:
    """``body`` with its content codings undone.

    :param coding: the Content-Encoding field; None or ``identity``: none.
    :param limit: at most so many bytes may come out; None: unlimited.
    :raises Undecodable: broken or truncated bytes, an unknown coding, or one whose library is not installed.
    :raises TooLarge: more than ``limit`` come out (also of no coding at all).
    """
    for name in reversed(codings(coding)):
        undo = _DECODERS.get(name)
        if undo is None:
            raise Undecodable(f"unknown content coding {name!r}")
        body = undo(body, limit)
    if limit is not None and len(body) > limit:
        raise TooLarge(f"more than {limit} bytes")
    return body


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
    """One or more members (gzip allows several in a row), never more than ``limit`` bytes at a time in memory."""
    out = bytearray()
    while True:
        unpacker = zlib.decompressobj(window)
        data = body
        try:
            while not unpacker.eof:
                piece = unpacker.decompress(data, _STEP)
                data = unpacker.unconsumed_tail
                out += piece
                if limit is not None and len(out) > limit:
                    raise TooLarge(f"more than {limit} bytes")
                if not piece and not data and not unpacker.eof:
                    raise Undecodable("truncated")
        except zlib.error as error:
            raise Undecodable(str(error)) from None
        body = unpacker.unused_data
        if not body or window != _GZIP:
            return bytes(out)


def _deflate(body: bytes, limit: int | None) -> bytes:
    """``deflate`` is zlib's format, but some servers send the raw stream: RFC 9110 §8.4.1.2 notes both."""
    try:
        return _inflate(body, _ZLIB, limit)
    except Undecodable:
        return _inflate(body, _RAW, limit)


def _from_library(module: str, call: Callable[[Any, bytes], bytes]) -> Callable[[bytes, int | None], bytes]:
    def undo(body: bytes, limit: int | None) -> bytes:
        try:
            library = importlib.import_module(module)
        except ImportError:
            raise Undecodable(f"reading this coding needs: pip install {module}") from None
        try:
            out = call(library, body)
        except Exception as error:  # each library has an error of its own
            raise Undecodable(str(error)) from None
        if limit is not None and len(out) > limit:
            raise TooLarge(f"more than {limit} bytes")
        return out

    return undo


_DECODERS: dict[str, Callable[[bytes, int | None], bytes]] = {
    "gzip": lambda body, limit: _inflate(body, _GZIP, limit),
    "x-gzip": lambda body, limit: _inflate(body, _GZIP, limit),
    "deflate": _deflate,
    "br": _from_library("brotli", lambda library, body: library.decompress(body)),
    "zstd": _from_library(
        "zstandard", lambda library, body: library.ZstdDecompressor().decompressobj().decompress(body)
    ),
}
