"""What the clients ask, and how they read the answers: a reader of its own, that notices every cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sent:
    """One request."""

    number: int
    method: bytes
    raw: bytes
    search: bool = False
    minor: int = 1
    alone: bool = False  # a search that is passed through as it is


def asked(rng: random.Random, number: int) -> Sent:
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    method, body, field_line = kind[0], b"x" * kind[1], kind[2]
    target, minor = b"/p%d/doc?x=1" % number, kind[3]
    search, size = kind[4], rng.choice((0, 1, 10, 10, 20))
    if search and method == b"POST":
        query = {"query": {"match": {"title": f"about i{number} "}}, "size": size}
        target, body = b"/i%d/_search" % number, json.dumps(query).encode()
    elif search:
        target = b"/i%d/_search?q=title:about&size=10" % number
    framing = b""
    if b"chunked" in field_line:
        body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[i : i + 999] for i in range(0, len(body), 999)))
        body += b"0\r\n\r\n"
    elif body:
        framing = b"Content-Length: %d\r\n" % len(body)
    head = b"%b %b HTTP/1.%d\r\nHost: a\r\n%b%b\r\n" % (method, target, minor, framing, field_line)
    return Sent(number, method, head + body, search, minor, alone=search and method == b"POST" and not size)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
# (method, size of the body, a field, minor version, search) → weight
KINDS: dict[tuple[bytes, int, bytes, int, bool], float] = {
    (b"GET", 0, b"", 1, False): 30,
    (b"GET", 0, b"", 0, False): 3,
    (b"HEAD", 0, b"", 1, False): 4,
    (b"DELETE", 0, b"", 1, False): 4,
    (b"POST", 50, b"", 1, False): 15,
    (b"POST", 300_000, b"", 1, False): 3,
    (b"PUT", 5_000, CHUNKED, 1, False): 6,
    (b"PUT", 300_000, CHUNKED, 1, False): 2,
    (b"PUT", 500, b"Expect: 100-continue\r\n", 1, False): 2,
    (b"POST", 1, b"", 1, True): 25,
    (b"GET", 0, b"", 1, True): 4,
}


@dataclass
class Answer:
    """What a client saw: ``whole`` or visibly cut."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False

    @property
    def closes(self) -> bool:
        return not self.whole or self.fields.get(b"connection", b"").lower() == b"close"


class Closed(Exception):
    """The connection closed before an answer began."""


class Wrong(Exception):
    """What came is no answer."""


async def read_answer(reader: asyncio.StreamReader, sent: Sent) -> Answer:
    """The final answer to ``sent``.

    :raises Closed: there is none.
    """
    answer = Answer()
    while answer.status < 200:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise (Wrong("half a head") if error.partial else Closed()) from None
        except ConnectionError:
            raise Closed from None
        lines = head[:-4].split(b"\r\n")
        answer.status = int(lines[0].split(b" ")[1])
        answer.fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        async for piece in _body(reader, sent, answer):
            answer.body += piece
        answer.whole = True
    return answer


async def _body(reader: asyncio.StreamReader, sent: Sent, answer: Answer) -> AsyncIterator[bytes]:
    if sent.method == b"HEAD":
        return
    if b"content-length" in answer.fields:
        left = int(answer.fields[b"content-length"])
        while left:
            piece = await reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    elif answer.fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    else:
        answer.fields[b"connection"] = b"close"  # its end is the connection's
        yield await reader.read()
