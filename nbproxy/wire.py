"""Bytes ⇄ HTTP/1.1 messages (RFC 9112), with no I/O.

Laws of this layer:

1. Where a body ends is said by its framing alone, never by another field of its head, and bytes after a message are
   known. A client's chunks are httptools' to read, fed with the body only, behind a head of our own making: as
   strictly as the strictest server behind us. An answer's are read by the RFC's grammar (``chunks``): engines write
   what httptools refuses.
2. A message that could be read in two ways is refused (a request with 400, a response with 502). What we forward
   is framed anew, so nobody behind us can read it otherwise than we did.
3. Readers are pulled: ``receive`` takes bytes, ``next`` gives one event, and nothing is read ahead of the message
   in hand. Events are a head, ``bytes`` of a body, and :class:`End`.
4. ``whole`` is the short way for what most reads bring, one message from its first byte to its last. It says None
   where the bytes are anything else, and has then done nothing.
5. Clients and engines repeat their heads, so a head is looked up before it is scanned (:class:`Memo`).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

import httptools

from . import chunks
from .chunks import NO_TRAILER
from .errors import ClientFault, UpstreamFault, limit_fault
from .heads import (
    BARE_LF,
    REQUEST,
    REQUEST_LINE,
    REQUEST_LINE_SO_FAR,
    RESPONSE,
    Head,
    RequestHead,
    ResponseHead,
    repaired,
)
from .settings import Limits

_BLANK_LINES = re.compile(rb"(?:\r\n)*+")
_MOST_BLANK = 128  # bytes of blank lines before a request
_MOST_PIECES = 64  # of what one read brings of a body: who sends it byte by byte must not cost a write each
_CHUNK_EXTRAS = 256  # bytes beside its data that a chunk may have on the average, beyond what a head may have


class End:
    """The end of a message. ``trailers``: the trailer section's lines, mostly empty."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: bytes = b"") -> None:
        self.trailers = trailers


LARGE = 1 << 13  # bytes that it pays not to copy

T = TypeVar("T")


class Memo(dict[bytes, T]):
    """Heads that were read, or what was made of them, by their bytes; bounded in number and size."""

    HEADS, BYTES = 1024, 4096

    def keep(self, raw: bytes, head: T) -> T:
        if len(raw) <= self.BYTES:
            if len(self) >= self.HEADS:
                self.clear()  # rarely: what is still in use comes back by itself
            self[raw] = head
        return head


class Counted:
    """A body of known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """As :meth:`nbproxy.chunks.Chunked.feed`."""
        self._left -= len(data)
        if self._left > 0:
            return [data], None
        return ([data], b"") if not self._left else ([data[: self._left]], data[self._left :])

    def trailers(self) -> bytes:
        return b""


class Chunked:
    """Finds the end of a client's chunked body, by httptools.

    :param limits: of its trailer section; chunk extensions are bounded by them too.
    :param nominated: fields that the Connection field names: they are of one hop in trailers too.
    """

    __slots__ = ("_done", "_extras", "_inside", "_limits", "_nominated", "_parser", "_pieces", "_tail", "_trailers")

    def __init__(self, limits: Limits, nominated: frozenset[bytes] = frozenset()) -> None:
        self._limits, self._nominated = limits, nominated
        self._pieces: list[bytes] = []
        self._trailers: list[tuple[bytes, bytes]] = []
        self._tail, self._done = b"", False
        self._inside = False  # behind a chunk's line: in its data, or behind the last one's
        self._extras = 0  # bytes that were neither data nor the usual few around them
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._trailers.clear()  # our own head's field came by the same callback

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """As :meth:`nbproxy.chunks.Chunked.feed`."""
        self._pieces = []
        rest = self._feed(data)
        used = len(data) - len(rest or b"")
        self._extras += used - sum(map(len, self._pieces)) - _CHUNK_EXTRAS * len(self._pieces)
        most, fields = self._limits.head_bytes, self._limits.head_fields
        if most is not None and self._extras > most:
            if not self._inside and not self._done:
                raise ValueError(f"chunk extensions are over {most} bytes")
            raise limit_fault(431, f"the trailer section is over {most} bytes")
        if fields is not None and len(self._trailers) > fields:
            raise limit_fault(431, f"the trailer section has over {fields} fields")
        self._extras = max(self._extras, 0)
        return self._pieces, rest

    def trailers(self) -> bytes:
        """The trailer section's lines, without fields that may not stand there (RFC 9110 §6.5.1)."""
        gone = NO_TRAILER | self._nominated
        return b"".join(b"%s: %s\r\n" % pair for pair in self._trailers if pair[0].lower() not in gone)

    def _feed(self, data: bytes) -> bytes | None:
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
        if not data:  # httptools would give an empty piece out, which is another's last chunk
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from None

    # httptools calls these; they only note what happened (an exception in them would come out wrapped).
    def on_header(self, name: bytes, value: bytes) -> None:
        self._trailers.append((name, value))

    def on_body(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def on_chunk_header(self) -> None:
        self._inside = True

    def on_chunk_complete(self) -> None:
        self._inside = False

    def on_message_complete(self) -> None:
        self._done = True


class _Reader:
    """What both readers share: the bytes in hand, and the body being read."""

    __slots__ = ("_body", "_data", "_partial", "_queue", "_scanned", "_state")
    _chunked: Callable[[Limits, frozenset[bytes]], Chunked | chunks.Chunked]

    def __init__(self) -> None:
        self._data = b""
        self._partial: bytearray | None = None  # an unfinished head: grows in place
        self._scanned = 0
        self._body: Counted | Chunked | chunks.Chunked | None = None
        self._queue: deque[bytes | End] = deque()
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

    def _enter_body(self, head: Head, limits: Limits) -> None:
        if head.length == 0:
            self._queue.append(End())
            self._state = "end"
        elif head.framing == "close":
            self._state = "close"
        else:
            self._body = self._chunked(limits, head.options) if head.length is None else Counted(head.length)
            self._state = "framed"

    def _next_of_body(self) -> bytes | End | None:
        if self._queue:
            return self._queue.popleft()
        data, self._data = self._data, b""
        if not data or self._state == "end":
            self._data = data
            return None
        if self._state == "close":
            return data
        assert self._body is not None
        pieces, rest = self._body.feed(data)
        if len(pieces) > _MOST_PIECES:
            pieces = [b"".join(pieces)]
        if rest is not None:
            self._data, self._state = rest, "end"
            pieces = [*pieces, End(self._body.trailers())]  # type: ignore[list-item]
            self._body = None
        self._queue.extend(pieces)
        return self._queue.popleft() if self._queue else None


class RequestReader(_Reader):
    """A client's bytes as requests.

    :ivar asks_head: whether the newest head that was not known by heart begins as one of HEAD: where it could not be
        read, that is all that is known of it.
    """

    __slots__ = ("_blank", "_limits", "_memo", "asks_head")
    _chunked = Chunked

    def __init__(self, limits: Limits, memo: Memo[RequestHead] | None = None) -> None:
        super().__init__()
        self._blank = 0
        self.asks_head = False
        self._limits = limits
        self._memo: Memo[RequestHead] = Memo() if memo is None else memo

    def whole(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """The request that ``data`` is, head and body, if it is one, whole, of a body whose length is known."""
        if self._data or self._partial is not None or self._state != "head":
            return None
        end = data.find(b"\r\n\r\n") + 4
        raw = data[:end]
        head = self._memo.get(raw)
        if head is None:
            if not 4 < end <= Memo.BYTES:
                return None
            try:
                head = self._parsed(raw)
            except ClientFault:  # ``next`` will say so, if it is one
                return None
        if head.length != len(data) - end:
            return None
        self._blank = 0
        return head, data[end:]

    def go_on(self, head: RequestHead, body: bytes) -> None:
        """Read on behind a head that ``whole`` has given, though its body was not taken with it."""
        self._enter_body(head, self._limits)
        self._data = body

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
        if self._partial is None and self._data[:1] in (b"\r", b"\n"):
            self._skip_blank_lines()
        if self._partial is None and self._data in (b"", b"\r"):
            return None
        searched = self._scanned
        raw = self._take_head()
        if raw is None:
            self._check_unfinished(searched)
            return None
        head = self._memo.get(raw) or self._parsed(raw)
        self._blank = 0
        self._enter_body(head, self._limits)
        return head

    def _parsed(self, raw: bytes) -> RequestHead:
        self.asks_head = raw.startswith(b"HEAD ")
        self._check_size(raw)
        match = REQUEST.fullmatch(raw)
        if match is None:
            raise ClientFault("malformed request head")
        return self._memo.keep(raw, RequestHead(match[1], match[2], match[3][0] - 48, match[4]))

    def _skip_blank_lines(self) -> None:
        """RFC 9112 §2.2: empty lines before a request line are ignored; not for ever."""
        blank = _BLANK_LINES.match(self._data)
        end = blank.end() if blank else 0
        self._data = self._data[end:]
        self._blank += end
        if self._data[:1] == b"\n":
            raise ClientFault("lines must end in CRLF")
        if self._blank > _MOST_BLANK:
            raise ClientFault("too many empty lines before a request")

    def _check_unfinished(self, searched: int) -> None:
        if self._partial is None:
            return
        self.asks_head = self._partial.startswith(b"HEAD ")
        if BARE_LF.search(self._partial, max(0, searched - 1)):
            raise ClientFault("lines must end in CRLF")
        self._check_line(self._partial, searched)
        limit = self._limits.target_bytes
        if limit is not None and b"\r\n" not in self._partial and len(self._partial) > limit + 64:
            raise limit_fault(414, f"the request target is over {limit} bytes")
        limit = self._limits.head_bytes
        if limit is not None and len(self._partial) > limit:
            raise limit_fault(431, f"the request head is over {limit} bytes")

    @staticmethod
    def _check_line(head: bytearray, searched: int) -> None:
        end = head.find(b"\r\n")
        if 0 <= end < searched - 1:
            return  # it was looked at before
        if not (REQUEST_LINE_SO_FAR.fullmatch(head) if end < 0 else REQUEST_LINE.fullmatch(head, 0, end)):
            raise ClientFault("malformed request line")

    def _check_size(self, raw: bytes) -> None:
        limits = self._limits
        line = raw.find(b"\r\n")
        if (
            limits.target_bytes is not None
            and line > limits.target_bytes
            and self._target_length(raw[:line]) > limits.target_bytes
        ):
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
        return self._state == "head" and (self._partial is not None or bool(self._data))


Memos = defaultdict[str, Memo[ResponseHead]]  # those that answer HEAD are framed otherwise


_ANSWERS = Limits(head_bytes=1 << 20, head_fields=10_000)


class ResponseReader(_Reader):
    """Upstream's bytes as responses. ``expect`` says which request the next one answers."""

    __slots__ = ("_heads", "_limits", "_memo", "_memos", "_method")
    _chunked = staticmethod(partial(chunks.Chunked, padded=True))  # many engines write blanks behind a chunk's size

    def __init__(self, limits: Limits = _ANSWERS, memos: Memos | None = None) -> None:
        super().__init__()
        self._limits = limits
        self._heads = 0  # bytes of heads before the final one is whole
        self._memos: Memos = defaultdict(Memo) if memos is None else memos
        self._method, self._memo = "GET", self._memos[""]

    def expect(self, method: str) -> None:
        """The next response answers a request of this method."""
        self._state, self._heads = "head", 0
        if method != self._method:
            self._method, self._memo = method, self._memos["HEAD" if method == "HEAD" else ""]

    def whole(self, data: bytes, size: int) -> tuple[ResponseHead, int] | None:
        """The head of the response that ``size`` bytes are, which begin with ``data``, and where its body begins: if
        they are one, whole and final, of a body whose length is known.

        :raises UpstreamFault: its head cannot be read.
        """
        if self._data or self._partial is not None or self._state != "head":
            return None
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        raw = data[:end]
        head = self._memo.get(raw) or self._parsed(raw)
        if head.length != size - end or head.status < 200:
            return None
        self._state = "end"
        return head, end

    def next(self) -> ResponseHead | bytes | End | None:
        """The next event; None: more bytes are needed.

        :raises UpstreamFault: what upstream sent cannot be read; the connection is of no more use.
        """
        if self._state == "head":
            return self._next_head()
        try:
            return self._next_of_body()
        except (ValueError, ClientFault) as error:
            raise UpstreamFault(f"upstream sent a malformed chunk: {error}") from None

    def _next_head(self) -> ResponseHead | None:
        searched = self._scanned
        raw = self._take_head()
        limit = self._limits.head_bytes
        size = self._heads + len(raw or self._partial or b"")  # interim heads count: there is no end of them else
        if limit is not None and size > limit:
            raise UpstreamFault(f"upstream sent more than {limit} bytes of heads")
        if raw is None:
            if self._partial is not None and BARE_LF.search(self._partial, max(0, searched - 1)):
                raise UpstreamFault("upstream sent a malformed head")
            return None
        self._heads = size
        head = self._memo.get(raw) or self._parsed(raw)
        if not head.interim:
            self._enter_body(head, self._limits)
        return head

    def _parsed(self, raw: bytes) -> ResponseHead:
        match = RESPONSE.fullmatch(raw) or RESPONSE.fullmatch(repaired(raw))
        if match is None:
            raise UpstreamFault("upstream sent a malformed head")
        head = ResponseHead(match[1][0] - 48, int(match[2]), match[3] or b"", match[4], self._method)
        return self._memo.keep(raw, head)

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


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 §7.1); none for no data, as an empty one would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    return b"0\r\n" + trailers + b"\r\n"
