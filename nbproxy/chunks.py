"""Where a chunked body ends, and what is in it (RFC 9112 §7.1), with no I/O.

Laws: a chunk's line is read by one regular expression, which is the grammar of the RFC to the letter, bad white space
in extensions (RFC 9112 §7.1.1, RFC 9110 §5.6.3) included; what it does not match is refused. Lines end in CRLF, and in
nothing else. What we forward is framed anew, without extensions, so nobody behind us reads it otherwise than we did.
"""

from __future__ import annotations

import re

from .errors import limit_fault
from .heads import BARE_LF, FIELD_LINES, HOP_BY_HOP, TOKEN, without
from .settings import Limits

_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_VALUE = rb"(?:" + TOKEN + rb"++|" + _QUOTED + rb")"
_EXTENSION = rb"[ \t]*+;[ \t]*+" + TOKEN + rb"++(?:[ \t]*+=[ \t]*+" + _VALUE + rb")?+"
# Below 2^63, so that who counts in signed integers behind us reads the same number.
_SIZE = rb"(?=[0-9A-Fa-f])0*+((?:[0-7]?[0-9A-Fa-f]{15}|[0-9A-Fa-f]{1,14})?)(?:" + _EXTENSION + rb")*+"
_LINE = re.compile(_SIZE + rb"\r\n")
_PADDED_LINE = re.compile(_SIZE + rb"[ \t]*+\r\n")
_USUAL_LINE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n")
_TRAILERS = re.compile(FIELD_LINES)
_HEX = frozenset(b"0123456789abcdefABCDEF")
# What RFC 9110 §6.5.1 keeps out of trailers: framing, routing, authentication, request modifiers, content's form.
NO_TRAILER = HOP_BY_HOP | frozenset(
    b"host content-encoding content-type content-range authorization proxy-authorization www-authenticate cookie "
    b"set-cookie trailer expect max-forwards range if-match if-none-match if-modified-since if-unmodified-since "
    b"if-range http2-settings x-nbproxy x-nbproxy-model".split()
)
_USUAL = 256  # bytes that a chunk's line may have without counting as extensions
_LINE_NEXT = -1


class Chunked:
    """A chunked body, read as it comes.

    :param limits: of its trailer section; chunk extensions are bounded by them too.
    :param nominated: fields that the Connection field names: they are of one hop in trailers too.
    :param padded: blanks may stand behind a chunk's size, as many engines write them.
    """

    __slots__ = ("_extras", "_held", "_last", "_left", "_limits", "_line", "_nominated", "_trailers")

    def __init__(self, limits: Limits, nominated: frozenset[bytes] = frozenset(), *, padded: bool = False) -> None:
        self._limits, self._nominated = limits, nominated
        self._line = _PADDED_LINE if padded else _LINE
        self._held = b""  # of a line, or of the trailer section, that has not come whole
        self._left = _LINE_NEXT  # bytes of a chunk's data that are still to come; 0: its CRLF is
        self._last = False  # behind the last chunk's line
        self._extras = 0  # bytes of chunks' lines that are longer than usual
        self._trailers = b""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """The content in ``data``, and the bytes behind the body's end (None: it has not ended).

        :raises ValueError: the chunks are malformed.
        :raises ClientFault: the trailer section is over a limit.
        """
        pieces: list[bytes] = []
        seen, at = len(self._held), 0
        if seen:
            data, self._held = self._held + data, b""
        while not self._last:
            at = self._rest_of_chunk(data, at, pieces)
            if at < 0 or (at := self._next_line(data, self._whole_chunks(data, at, pieces), seen)) < 0:
                return pieces, None
        return pieces, self._read_trailers(data, at, seen)

    def _whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """The short way for chunks that have come whole, without extensions: where it ends."""
        match, last = _USUAL_LINE.match, len(data) - 2
        while (line := match(data, at)) is not None:
            begin = line.end()
            end = begin + int(line[1], 16)
            if end > last or data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[begin:end])
            at = end + 2
        return at

    def _rest_of_chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """What is missing of a chunk and of its CRLF: where it ends, below 0 where not all of it has come."""
        if self._left > 0 and (piece := data[at : at + self._left]):
            pieces.append(piece)
            at += len(piece)
            self._left -= len(piece)
        if self._left == 0:
            end = data[at : at + 2]
            if not b"\r\n".startswith(end):
                raise ValueError("no CRLF behind a chunk's data")
            if len(end) < 2:
                self._held = end
                return -1
            self._left = _LINE_NEXT
            return at + 2
        return at if self._left == _LINE_NEXT else -1

    def _next_line(self, data: bytes, at: int, seen: int) -> int:
        """A chunk's line: where it ends, below 0 where not all of it has come."""
        end = data.find(b"\n", max(at, seen)) + 1
        if not end:
            self._hold_line(data[at:])
            return -1
        match = self._line.fullmatch(data, at, end)
        if match is None:
            raise ValueError("a chunk's size or extension cannot be read")
        if end - at > _USUAL:
            self._extras += end - at
            self._check_extras(self._extras)
        self._left = int(match[1] or b"0", 16) or _LINE_NEXT
        self._last = self._left == _LINE_NEXT
        return end

    def _hold_line(self, line: bytes) -> None:
        if line and line[0] not in _HEX:
            raise ValueError("no chunk's size where one should be")
        self._check_extras(len(line))
        self._held = line

    def _check_extras(self, size: int) -> None:
        most = self._limits.head_bytes
        if most is not None and size > most:
            raise ValueError(f"chunk extensions are over {most} bytes")

    def _read_trailers(self, data: bytes, at: int, seen: int) -> bytes | None:
        """The bytes behind the trailer section, None where it has not come whole."""
        if data.startswith(b"\r\n", at):
            return data[at + 2 :]
        end = data.find(b"\r\n\r\n", max(at, seen - 3)) + 4
        section = data[at:end] if end > 3 else data[at:]
        self._check_trailers(section, max(0, seen - 1 - at))
        if end <= 3:
            self._held = section
            return None
        if not _TRAILERS.fullmatch(section):
            raise ValueError("the trailer section cannot be read")
        self._trailers = section[:-2]
        return data[end:]

    def _check_trailers(self, section: bytes, new: int) -> None:
        if BARE_LF.search(section, new):
            raise ValueError("lines must end in CRLF")
        most, fields = self._limits.head_bytes, self._limits.head_fields
        if most is not None and len(section) > most:
            raise limit_fault(431, f"the trailer section is over {most} bytes")
        if fields is not None and section.count(b"\r\n") - 1 > fields:
            raise limit_fault(431, f"the trailer section has over {fields} fields")

    def trailers(self) -> bytes:
        """The trailer section's lines, without fields that may not stand there (RFC 9110 §6.5.1)."""
        return without(self._trailers, NO_TRAILER | self._nominated) if self._trailers else b""
