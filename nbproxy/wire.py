"""Bytes ⇄ HTTP/1.1 messages (RFC 9112), with no I/O.

Laws of this layer:

1. A head is scanned once, by one regular expression that says what we accept; what it does not match is refused.
   No object is made per header field: only the fields that this layer or the proxy must look at are picked out.
2. Where a body ends is httptools' to say, fed with the body only, behind a head of our own making: so no odd field
   of the real head (Upgrade, a HEAD response's Content-Length) can mislead it, and bytes after a message are known.
3. A message that could be read in two ways is refused (a request with 400, a response with 502). What we forward
   is framed anew, so nobody behind us can read it otherwise than we did.
4. Readers are pulled: ``receive`` takes bytes, ``next`` gives one event, and nothing is read ahead of the message
   in hand. Events are a head, ``bytes`` of a body, and :class:`End`.
"""

from __future__ import annotations

import re
from typing import Literal

import httptools

from .errors import ClientFault, UpstreamFault, limit_fault
from .messages import Headers
from .settings import Limits

Framing = Literal["none", "length", "chunked", "close"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Possessive quantifiers: a head that does not match fails in linear time.
_FIELD_LINES = rb"((?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])\r\n" + _FIELD_LINES)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + _FIELD_LINES)
_SPECIAL = re.compile(
    rb"\n(host|connection|content-length|transfer-encoding|te|expect|upgrade|http2-settings|keep-alive"
    rb"|proxy-connection|proxy-authenticate|proxy-authorization|authorization|accept-encoding|content-encoding"
    rb"|x-nbproxy|x-nbproxy-model|etag|content-md5|digest|content-digest|repr-digest|last-modified|accept-ranges"
    rb"):([^\r]*)"
)
_FOLD = re.compile(rb"\r\n[ \t]+")
_LOOSE_COLON = re.compile(rb"(?m)^(" + _TOKEN + rb"++)[ \t]+:")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_AUTHORITY = re.compile(rb"[A-Za-z0-9.\-_~!$&'()*+,;=%:\[\]]*")

# RFC 9110 §7.6.1: fields of one hop. Framing fields are among them: what we forward is framed anew.
HOP_BY_HOP = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"content-length"]
)
# A Connection field cannot nominate these away: what they mean is ours to say, or is for the recipient at the end.
_NOT_NOMINABLE = HOP_BY_HOP | {b"host", b"close", b"content-type", b"content-encoding", b"expect"}
_NO_TRAILER = HOP_BY_HOP | {b"host", b"content-encoding", b"content-type", b"authorization", b"set-cookie", b"trailer"}

Special = tuple[bytes, int, int, bytes]


class End:
    """The end of a message. ``trailers``: the trailer section's lines, mostly empty."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: bytes = b"") -> None:
        self.trailers = trailers


class Head:
    """What both kinds of head share: the field lines, and the special fields among them with their places.

    :ivar block: the field lines as they came, ``Name: value\\r\\n`` each.
    :ivar specials: (name in lower case, start, end, value) in order.
    :ivar framing: how the body is delimited; ``length`` is its length where that is known.
    """

    __slots__ = ("block", "framing", "length", "minor", "specials")

    def __init__(self, minor: int, block: bytes) -> None:
        self.minor = minor
        self.block = block
        # Matched on a lower-case copy behind a line feed: several times faster than matching without regard to case.
        self.specials: list[Special] = [
            (match[1], match.start(), match.end() + 1, block[match.start(2) - 1 : match.end() - 1].strip(b" \t"))
            for match in _SPECIAL.finditer(b"\n" + block.lower())
        ]
        self.framing: Framing = "none"
        self.length: int | None = 0

    def values(self, name: bytes) -> list[bytes]:
        """The values of one of the special fields."""
        return [special[3] for special in self.specials if special[0] == name]

    def value(self, name: bytes) -> bytes | None:
        """The first value of one of the special fields."""
        return next((special[3] for special in self.specials if special[0] == name), None)

    @property
    def headers(self) -> Headers:
        """The fields as a value."""
        return Headers.parse(self.block)

    def options(self) -> set[bytes]:
        """The Connection field's options, in lower case."""
        values = self.values(b"connection")
        return {option.strip().lower() for value in values for option in value.split(b",")} - {b""} if values else set()

    def keeps_alive(self) -> bool:
        """RFC 9112 §9.3."""
        options = self.options()
        return b"close" not in options and (self.minor == 1 or b"keep-alive" in options)

    def forwarded(
        self,
        drop: frozenset[bytes] = frozenset(),
        replace: dict[bytes, bytes] | None = None,
        keep: frozenset[bytes] = frozenset(),
    ) -> bytes:
        """The field lines without the fields of one hop (but for those in ``keep``), those that Connection names,
        and those in ``drop`` (special fields only); the first of each in ``replace`` has that value, further ones go."""
        gone = HOP_BY_HOP - keep | drop
        replace = replace or {}
        out: list[bytes] = []
        at, block, seen = 0, self.block, set()
        for name, start, end, _ in self.specials:
            if name in replace:
                out.append(block[at:start])
                if name not in seen:
                    seen.add(name)
                    out.append(block[start : start + len(name)] + b": " + replace[name] + b"\r\n")
                at = end
            elif name in gone:
                out.append(block[at:start])
                at = end
        out.append(block[at:])
        kept = b"".join(out) if at else block
        named = self.options() - _NOT_NOMINABLE
        return _without(kept, named) if named else kept


class RequestHead(Head):
    """A request's head. ``target`` is in origin form, or ``*``; raw UTF-8 in it stands as Latin-1."""

    __slots__ = ("authority", "method", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, block: bytes) -> None:
        super().__init__(minor, block)
        self.method = method.decode("ascii")
        self.authority: bytes | None = None  # of an absolute-form target
        self.target = self._origin_form(target)
        self._check_host()
        self._frame()

    def _origin_form(self, target: bytes) -> str:
        if target[:1] == b"/":
            return target.decode("latin-1")
        if target == b"*" and self.method == "OPTIONS":
            return "*"
        scheme, found, rest = target.partition(b"://")
        if not found or scheme.lower() != b"http":
            raise ClientFault("the request target must be a path, or an http:// URL of this proxy")
        cut = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
        self.authority, path = rest[:cut], rest[cut:]
        if b"@" in self.authority or not self.authority or not _AUTHORITY.fullmatch(self.authority):
            raise ClientFault("the request target's authority cannot be used")
        return (path if path[:1] == b"/" else b"/" + path).decode("latin-1")

    def _check_host(self) -> None:
        hosts = self.values(b"host")
        if len(hosts) > 1 or (not hosts and self.minor == 1):
            raise ClientFault(f"a request must have one Host field, this one has {len(hosts)}")
        if hosts and not _AUTHORITY.fullmatch(hosts[0]):
            raise ClientFault("the Host field is malformed")
        if self.authority is not None and hosts and hosts[0].lower() != self.authority.lower():
            raise ClientFault("the Host field and the request target name different hosts")

    def _frame(self) -> None:
        codings, lengths = self.values(b"transfer-encoding"), self.values(b"content-length")
        if codings:
            if lengths or self.minor == 0:
                raise ClientFault("Transfer-Encoding cannot stand beside Content-Length, nor in HTTP/1.0")
            if len(codings) > 1 or codings[0].lower() != b"chunked":
                raise ClientFault("the only Transfer-Encoding understood is 'chunked'")
            self.framing, self.length = "chunked", None
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise ClientFault("Content-Length must be one plain number")
            self.framing, self.length = "length", int(lengths[0])

    @property
    def expects_continue(self) -> bool:
        return self.minor == 1 and any(value.lower() == b"100-continue" for value in self.values(b"expect"))

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that is asked for; ``h2c`` is not offered (RFC 9113 withdrew it)."""
        if not self.specials or b"upgrade" not in self.options():
            return None
        protocols = b", ".join(self.values(b"upgrade"))
        return None if not protocols or protocols.lower().startswith(b"h2c") else protocols


class ResponseHead(Head):
    """A response's head; ``method`` is the request's, which decides whether there is a body."""

    __slots__ = ("reason", "status")

    def __init__(self, minor: int, status: int, reason: bytes, block: bytes, method: str) -> None:
        super().__init__(minor, block)
        self.status = status
        self.reason = reason
        self._frame(method)

    @property
    def interim(self) -> bool:
        return self.status < 200 and self.status != 101

    @property
    def bodiless(self) -> bool:
        return self.status < 200 or self.status in (204, 304)

    def _frame(self, method: str) -> None:
        """RFC 9112 §6.3."""
        codings, lengths = self.values(b"transfer-encoding"), self.values(b"content-length")
        if self.bodiless or method == "HEAD":
            return
        if codings:
            if len(codings) > 1 or codings[0].lower() != b"chunked":
                raise UpstreamFault("upstream's Transfer-Encoding is not 'chunked'")
            self.framing, self.length = "chunked", None
        elif lengths:
            # Equal repeats may be collapsed (RFC 9110 §8.6); as we frame anew, that is what happens.
            distinct = {part.strip() for value in lengths for part in value.split(b",")}
            if len(distinct) != 1 or not _LENGTH.fullmatch(length := distinct.pop()):
                raise UpstreamFault("upstream's Content-Length is ambiguous")
            self.framing, self.length = "length", int(length)
        else:
            self.framing, self.length = "close", None

    def keeps_alive(self) -> bool:
        """Not where the framing is odd: both lengths, or chunked in HTTP/1.0 (RFC 9112 §6.1)."""
        odd = self.framing == "chunked" and (self.minor == 0 or self.values(b"content-length"))
        return self.framing != "close" and not odd and super().keeps_alive()


def _without(block: bytes, names: set[bytes]) -> bytes:
    lines = block.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in names)


def _repaired(head: bytes) -> bytes:
    """A response head with line folds as spaces and no blanks before a colon (RFC 9112 §5.1 and §5.2)."""
    return _LOOSE_COLON.sub(rb"\1:", _FOLD.sub(b" ", head))


class Framer:
    """Finds the end of one body after another, by httptools."""

    __slots__ = ("_done", "_framing", "_left", "_parser", "_pieces", "_tail", "_trailers")

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None

    def begin(self, framing: Framing, length: int | None) -> None:
        """A new body, delimited by ``length`` or ``chunked``."""
        self._framing, self._left = framing, length or 0
        self._pieces: list[bytes] = []
        self._trailers: list[tuple[bytes, bytes]] = []
        self._tail, self._done = b"", False
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        field = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % self._left
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + field + b"\r\n\r\n")
        self._trailers.clear()  # our own head's field came by the same callback

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """The content in ``data``, and the bytes behind the body's end (None: it has not ended).

        :raises ValueError: the chunks are malformed.
        """
        self._pieces = []
        rest = self._feed_length(data) if self._framing == "length" else self._feed_chunks(data)
        return self._pieces, rest

    def trailers(self) -> bytes:
        """The trailer section's lines, without fields that may not stand there (RFC 9110 §6.5.1)."""
        return b"".join(b"%s: %s\r\n" % pair for pair in self._trailers if pair[0].lower() not in _NO_TRAILER)

    def _feed_length(self, data: bytes) -> bytes | None:
        mine = data if len(data) <= self._left else data[: self._left]
        self._left -= len(mine)
        self._parse(mine)
        return data[len(mine) :] if self._done else None

    def _feed_chunks(self, data: bytes) -> bytes | None:
        """A chunked body ends in CRLF CRLF, so it is fed up to each such place: what is left over is then known."""
        joined, before = self._tail + data, len(self._tail)
        start = found = 0
        while (found := joined.find(b"\r\n\r\n", found)) >= 0:
            end = found + 4 - before
            self._parse(data[start:end])
            if self._done:
                return data[end:]
            start, found = end, found + 2
        self._parse(data[start:])
        self._tail = joined[-3:]
        return None

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from None

    # httptools calls these; they only note what happened (an exception in them would come out wrapped).
    def on_header(self, name: bytes, value: bytes) -> None:
        self._trailers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._done = True


class _Reader:
    """What both readers share: the bytes in hand, and the body being read."""

    __slots__ = ("_data", "_framer", "_partial", "_queue", "_scanned", "_state")

    def __init__(self) -> None:
        self._data = b""
        self._partial: bytearray | None = None  # an unfinished head: grows in place
        self._scanned = 0
        self._framer: Framer | None = None
        self._queue: list[bytes | End] = []
        self._state: Literal["head", "framed", "close", "end"] = "head"

    def receive(self, data: bytes) -> None:
        if self._partial is not None:
            self._partial += data
        else:
            self._data = self._data + data if self._data else data

    @property
    def pending(self) -> int:
        """How many bytes are held that no event has given out."""
        return len(self._data) + (len(self._partial) if self._partial is not None else 0)

    def drain(self) -> bytes:
        """The bytes in hand, given up: another protocol's."""
        data, self._data = self._data, b""
        return data

    def _take_head(self) -> bytes | None:
        """The bytes of a whole head, or None."""
        whole = self._partial if self._partial is not None else self._data
        end = whole.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            if whole and self._partial is None:
                self._partial, self._data = bytearray(whole), b""
            self._scanned = len(whole)
            return None
        head = bytes(whole[: end + 4])
        self._data = bytes(whole[end + 4 :])
        self._partial, self._scanned = None, 0
        return head

    def _enter_body(self, head: Head) -> None:
        if head.framing == "none" or head.length == 0:
            self._queue.append(End())
            self._state = "end"
        elif head.framing == "close":
            self._state = "close"
        else:
            self._framer = self._framer or Framer()
            self._framer.begin(head.framing, head.length)
            self._state = "framed"

    def _next_of_body(self) -> bytes | End | None:
        if self._queue:
            return self._queue.pop(0)
        data, self._data = self._data, b""
        if not data or self._state == "end":
            self._data = data
            return None
        if self._state == "close":
            return data
        assert self._framer is not None
        pieces, rest = self._framer.feed(data)
        if rest is not None:
            self._data, self._state = rest, "end"
            pieces = [*pieces, End(self._framer.trailers())]  # type: ignore[list-item]
        self._queue.extend(pieces)
        return self._queue.pop(0) if self._queue else None


class RequestReader(_Reader):
    """A client's bytes as requests."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def next(self) -> RequestHead | bytes | End | None:
        """The next event; None: more bytes are needed. After :class:`End` the next event is another head.

        :raises ClientFault: what the client sent cannot be read, or is over a limit; the connection is of no more use.
        """
        if self._state == "head":
            return self._next_head()
        try:
            event = self._next_of_body()
        except ValueError as error:
            raise ClientFault(f"malformed chunk: {error}") from None
        if isinstance(event, End):
            self._state = "head"
        return event

    def _next_head(self) -> RequestHead | None:
        if self._data[:1] in (b"\r", b"\n") and self._partial is None:
            self._data = self._skip_blank_lines(self._data)
        raw = self._take_head()
        if raw is None:
            self._check_unfinished()
            return None
        self._check_size(raw)
        match = _REQUEST.fullmatch(raw)
        if match is None:
            raise ClientFault("malformed request head")
        head = RequestHead(match[1], match[2], match[3][0] - 48, match[4])
        self._enter_body(head)
        return head

    @staticmethod
    def _skip_blank_lines(data: bytes) -> bytes:
        """RFC 9112 §2.2: empty lines before a request line are ignored."""
        while data[:2] == b"\r\n":
            data = data[2:]
        if data[:1] == b"\n":
            raise ClientFault("lines must end in CRLF")
        return data

    def _check_unfinished(self) -> None:
        if self._partial is None:
            return
        if _BARE_LF.search(self._partial):
            raise ClientFault("lines must end in CRLF")
        limit = self._limits.target_bytes
        if limit is not None and b"\r\n" not in self._partial and len(self._partial) > limit + 64:
            raise limit_fault(414, f"the request target is over {limit} bytes")
        limit = self._limits.head_bytes
        if limit is not None and len(self._partial) > limit:
            raise limit_fault(431, f"the request head is over {limit} bytes")

    def _check_size(self, raw: bytes) -> None:
        limits = self._limits
        line = raw.find(b"\r\n")
        if limits.target_bytes is not None and line > limits.target_bytes and self._target_length(raw[:line]) > limits.target_bytes:
            raise limit_fault(414, f"the request target is over {limits.target_bytes} bytes")
        if limits.head_bytes is not None and len(raw) > limits.head_bytes:
            raise limit_fault(431, f"the request head is over {limits.head_bytes} bytes")
        if limits.head_fields is not None and raw.count(b"\r\n") - 2 > limits.head_fields:
            raise limit_fault(431, f"the request head has over {limits.head_fields} fields")

    @staticmethod
    def _target_length(line: bytes) -> int:
        return len(line.partition(b" ")[2].rpartition(b" ")[0])

    @property
    def started(self) -> bool:
        """Whether a part of a head has come, but not all of it."""
        return self._state == "head" and self.pending > 0


class ResponseReader(_Reader):
    """Upstream's bytes as responses. ``expect`` says which request the next one answers."""

    __slots__ = ("_limit", "_method")

    def __init__(self, head_bytes: int | None = 1 << 20) -> None:
        super().__init__()
        self._limit = head_bytes
        self._method = "GET"

    def expect(self, method: str) -> None:
        self._method, self._state = method, "head"

    def next(self) -> ResponseHead | bytes | End | None:
        """The next event; None: more bytes are needed.

        :raises UpstreamFault: what upstream sent cannot be read; the connection is of no more use.
        """
        if self._state == "head":
            return self._next_head()
        try:
            return self._next_of_body()
        except ValueError as error:
            raise UpstreamFault(f"upstream sent a malformed chunk: {error}") from None

    def _next_head(self) -> ResponseHead | None:
        raw = self._take_head()
        if raw is None:
            if self._partial is not None and (
                (self._limit is not None and len(self._partial) > self._limit) or _BARE_LF.search(self._partial)
            ):
                raise UpstreamFault("upstream sent a malformed or oversized head")
            return None
        match = _RESPONSE.fullmatch(raw) or _RESPONSE.fullmatch(_repaired(raw))
        if match is None:
            raise UpstreamFault("upstream sent a malformed head")
        head = ResponseHead(match[1][0] - 48, int(match[2]), match[3] or b"", match[4], self._method)
        if not head.interim:
            self._enter_body(head)
        return head

    def eof(self) -> End | None:
        """Upstream closed its side: the end of a body that only this delimits, else None (it was cut short)."""
        if self._state == "close":
            self._state = "end"
            return End()
        return None

    @property
    def clean(self) -> bool:
        """Whether nothing stands behind the message that has ended."""
        return self._state == "end" and not self.pending and not self._queue


# How a body goes on to the client, by how it came and by the client's minor version (RFC 9112 §6.1: no chunks in 1.0).
_ONWARD: dict[tuple[Framing, int], Framing] = {
    ("close", 1): "chunked",
    ("chunked", 0): "close",
}


def onward(head: ResponseHead, request: RequestHead) -> tuple[bytes, Framing]:
    """A response's status line and field lines as they go on to the client (no Connection field yet, no empty
    line), and how the body is delimited there."""
    framing = _ONWARD.get((head.framing, request.minor), head.framing)
    keep: set[bytes] = set()
    replace = {}
    if head.framing == "length":
        replace = {b"content-length": b"%d" % (head.length or 0)}
    elif head.framing == "none" and head.status != 204:
        keep = {b"content-length", b"transfer-encoding"} if request.method == "HEAD" and request.minor else {b"content-length"}
    elif head.framing == "chunked" == framing:
        keep = {b"transfer-encoding"}
    block = head.forwarded(replace=replace, keep=frozenset(keep))
    if head.framing == "close" and framing == "chunked":
        block += b"Transfer-Encoding: chunked\r\n"
    return b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, block), framing


def persistence(request: RequestHead, keep: bool) -> bytes:
    """The Connection field of an answer, where one is needed."""
    if not keep:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if request.minor == 0 else b""


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 §7.1). ``data`` must not be empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: bytes = b"") -> bytes:
    return b"0\r\n" + trailers + b"\r\n"
