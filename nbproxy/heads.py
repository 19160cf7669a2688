"""The heads of HTTP/1.1 messages (RFC 9110, RFC 9112): read once, checked, and written for the next hop.

A head is scanned by one regular expression that says what we accept; what it does not match is refused. No object is
made per header field: only those that this layer or the proxy must look at are picked out. A head never changes once
it is read, so that readers may give out the same object for the same bytes (see ``wire.Memo``); what others derive
from it is kept on it.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from .errors import ClientFault, UpstreamFault
from .messages import Headers

Framing = Literal["none", "length", "chunked", "close"]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Possessive quantifiers: a head that does not match fails in linear time.
FIELD_LINES = rb"((?:" + TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
_REQUEST_LINE = rb"(" + TOKEN + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/1\.([0-9])"
REQUEST = re.compile(_REQUEST_LINE + rb"\r\n" + FIELD_LINES)
# A request's first line, and what may become one: who speaks another protocol, or HTTP/0.9, is told at once.
REQUEST_LINE = re.compile(_REQUEST_LINE)
REQUEST_LINE_SO_FAR = re.compile(rb"(?:" + TOKEN + rb"++(?: [\x21-\x7e\x80-\xff]*+(?: [HTP/0-9.]{0,8}\r?)?)?)?")
RESPONSE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + FIELD_LINES)
_SPECIAL = re.compile(
    rb"\n(host|connection|content-length|transfer-encoding|te|expect|upgrade|http2-settings|keep-alive"
    rb"|proxy-connection|proxy-authenticate|proxy-authorization|authorization|accept-encoding|content-encoding"
    rb"|x-nbproxy|x-nbproxy-model|etag|content-md5|digest|content-digest|repr-digest|last-modified|accept-ranges"
    rb"):([^\r]*)"
)
BARE_LF = re.compile(rb"(?<!\r)\n")
# With the blanks around it; a match begins where they do, so that many of them are not tried from each anew.
_FOLD = re.compile(rb"(?<![ \t])[ \t]*+(?:\r\n[ \t]++)++")
_LOOSE_COLON = re.compile(rb"(?m)^(" + TOKEN + rb"++)[ \t]+:")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_AUTHORITY = re.compile(  # RFC 3986 §3.2 without user information; an empty one is a Host's right
    rb"(?:(?:\[[0-9A-Fa-f:.]++\]|(?:[A-Za-z0-9.\-_~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++)(?::[0-9]{0,5})?)?"
)
_HTTP_PROTOCOL = re.compile(rb"(?:h2c?|http)(?:[/-].*)?", re.IGNORECASE)  # what HTTP itself may be upgraded to

# RFC 9110 §7.6.1: fields of one hop. Framing fields are among them: what we forward is framed anew.
HOP_BY_HOP = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"content-length"]
)
# A Connection field cannot nominate these away: what they mean is ours to say, or is for the recipient at the end.
_NOT_NOMINABLE = HOP_BY_HOP | {b"host", b"close", b"content-type", b"content-encoding", b"expect"}

_SCHEMES = frozenset([b"http", b"https"])
_CODING_FIELD = frozenset([b"transfer-encoding"])

Special = tuple[bytes, int, int, bytes]


class Head:
    """What both kinds of head share: the field lines, and the special fields among them with their places.

    :ivar block: the field lines as they came, ``Name: value\\r\\n`` each.
    :ivar specials: (name in lower case, start, end, value) in order.
    :ivar framing: how the body is delimited; ``length`` is its length where that is known, 0 for no body.
    :ivar options: the Connection field's, in lower case.
    :ivar persistent: whether the connection may serve another exchange (RFC 9112 §9.3).
    """

    __slots__ = ("block", "framing", "length", "minor", "options", "persistent", "specials")

    def __init__(self, minor: int, block: bytes) -> None:
        self.minor = min(minor, 1)  # a higher one is read as the highest that we know (RFC 9110 §2.5)
        self.block = block
        # Matched on a lower-case copy behind a line feed: several times faster than matching without regard to case.
        self.specials: list[Special] = [
            (match[1], match.start(), match.end() + 1, block[match.start(2) - 1 : match.end() - 1].strip(b" \t"))
            for match in _SPECIAL.finditer(b"\n" + block.lower())
        ]
        self.framing: Framing = "none"
        self.length: int | None = 0
        self.options = frozenset(self.items(b"connection"))
        self.persistent = b"close" not in self.options and (self.minor == 1 or b"keep-alive" in self.options)

    def values(self, name: bytes) -> list[bytes]:
        """The values of one of the special fields."""
        return [special[3] for special in self.specials if special[0] == name]

    def value(self, name: bytes) -> bytes | None:
        """The first value of one of the special fields."""
        return next((special[3] for special in self.specials if special[0] == name), None)

    def items(self, name: bytes) -> list[bytes]:
        """The members of a list-valued special field (RFC 9110 §5.6.1), in lower case."""
        return [item for value in self.values(name) for part in value.split(b",") if (item := part.strip().lower())]

    def stated(self, name: bytes, value: bytes) -> bool:
        """Whether a special field has this value to the letter: nobody can read it otherwise."""
        usual = b": " + value + b"\r\n"
        return all(self.block[start + len(name) : end] == usual for key, start, end, _ in self.specials if key == name)

    @property
    def headers(self) -> Headers:
        """The fields as a value."""
        return Headers.parse(self.block)

    def forwarded(
        self,
        drop: frozenset[bytes] = frozenset(),
        replace: dict[bytes, bytes] | None = None,
        keep: frozenset[bytes] = frozenset(),
    ) -> bytes:
        """The field lines without the fields of one hop (but for those in ``keep``), those that Connection names,
        and those in ``drop`` (special fields only); the first of each in ``replace`` has that value, others go."""
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
        named = self.options - _NOT_NOMINABLE
        return without(kept, named) if named else kept


class RequestHead(Head):
    """A request's head. ``target`` is in origin form, or ``*``; raw UTF-8 in it stands as Latin-1.

    :ivar authority: of a target in absolute form, whose scheme stands in ``scheme``.
    :ivar upgrade: the protocols that are asked for; HTTP's own are not offered (RFC 9113 withdrew ``h2c``).
    :ivar last: whether the connection that it goes upstream on serves none after it: the client ends its own, or
        asked to switch protocols, and servers (node's) then hand the connection to the program for good.
    :ivar plain: whether the answer goes on to the client with nothing of its own about the connection: HTTP/1.1, kept
        alive, with a body if upstream sends one.
    :ivar destination: room for the server: who answers such a request.
    :ivar before: room for the server: what goes upstream before the target, mostly nothing.
    :ivar outbound: room for the relay: the request as it goes upstream.
    :ivar recorded: room for the recording: the target and the field lines as they are stored.
    """

    __slots__ = (
        "authority", "before", "destination", "expects_continue", "last", "method", "outbound", "plain", "recorded",
        "scheme", "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, minor: int, block: bytes) -> None:
        super().__init__(minor, block)
        self.method = method.decode("ascii")
        self.authority: bytes | None = None
        self.scheme = b""
        self.before = ""
        self.target = self._origin_form(target)
        self._check_host()
        self._frame()
        self.expects_continue = self.minor == 1 and self.length != 0 and b"100-continue" in self.items(b"expect")
        self.upgrade = self._upgrade() if b"upgrade" in self.options and self.minor == 1 else None
        self.last = self.upgrade is not None or b"close" in self.options
        self.plain = self.minor == 1 and self.persistent and self.method != "HEAD"
        self.destination: Any = None
        self.outbound: bytes | None = None
        self.recorded: tuple[bytes, str] | None = None

    def _origin_form(self, target: bytes) -> str:
        if self.method == "CONNECT":
            raise ClientFault("CONNECT is not served", status=405, type="nbproxy_bad_method")
        if target[:1] == b"/":
            return target.decode("latin-1")
        if target == b"*" and self.method == "OPTIONS":
            return "*"
        scheme, found, rest = target.partition(b"://")
        if not found or scheme.lower() not in _SCHEMES:
            raise ClientFault("the request target must be a path, or an http:// URL of this proxy")
        self.scheme = scheme
        cut = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
        self.authority, path = rest[:cut], rest[cut:]
        if b"@" in self.authority or not self.authority or not _AUTHORITY.fullmatch(self.authority):
            raise ClientFault("the request target's authority cannot be used")
        if not path and self.method == "OPTIONS":
            return "*"  # RFC 9112 §3.2.4
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

    def _upgrade(self) -> bytes | None:
        asked = [part.strip() for value in self.values(b"upgrade") for part in value.split(b",")]
        return b", ".join(p for p in asked if p and not _HTTP_PROTOCOL.fullmatch(p)) or None

    def may_become(self, protocols: list[bytes]) -> bool:
        """Whether a 101 (Switching Protocols) that names these may be told on: some protocol was asked for, and HTTP's
        own were not offered. That it is another than was asked for is the client's to see."""
        return self.upgrade is not None and not any(map(_HTTP_PROTOCOL.fullmatch, protocols))


class _Unread:
    method = target = ""
    block = b""
    recorded = None


UNREAD = cast(RequestHead, _Unread())  # stands where a request's head could not be read; only recorded


class ResponseHead(Head):
    """A response's head; ``method`` is the request's, which decides whether there is a body.

    :ivar would_be: the length that the body of an answer to HEAD, or of a 304, would have.
    :ivar plain_answer: room for :func:`answer_head`.
    :ivar harmless: room for the relay: whether it may be stored as it is.
    """

    __slots__ = ("harmless", "plain_answer", "reason", "status", "would_be")

    def __init__(self, minor: int, status: int, reason: bytes, block: bytes, method: str) -> None:
        super().__init__(minor, block)
        self.status = status
        self.reason = reason
        self.plain_answer: tuple[bytes, Framing] | None = None
        self.harmless: bool | None = None
        self.would_be: int | None = None
        self._frame(method)
        # Not where the framing is odd: both lengths, or chunked in HTTP/1.0 (RFC 9112 §6.1).
        odd = self.framing == "chunked" and (self.minor == 0 or self.values(b"content-length"))
        self.persistent = self.persistent and self.framing != "close" and not odd

    @property
    def interim(self) -> bool:
        return self.status < 200 and self.status != 101

    @property
    def status_line(self) -> bytes:
        return b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)

    @property
    def interim_answer(self) -> bytes:
        """As an answer before the answer it goes on to the client."""
        return self.status_line + self.forwarded() + b"\r\n"

    def _frame(self, method: str) -> None:
        """RFC 9112 §6.3. Where there is no body, fields that say how long it would be are held to the same rules."""
        codings, lengths = self.values(b"transfer-encoding"), self.values(b"content-length")
        if self.status < 200 or self.status == 204:
            return  # and such fields go
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            raise UpstreamFault("upstream's Transfer-Encoding is not 'chunked'")
        length = _one_length(lengths) if lengths else None
        if self.status == 304 or method == "HEAD":
            self.would_be = None if codings else length
        elif codings:
            self.framing, self.length = "chunked", None
        elif length is not None:
            self.framing, self.length = "length", length
        else:
            self.framing, self.length = "close", None


def _one_length(values: list[bytes]) -> int:
    """Equal repeats may be collapsed (RFC 9110 §8.6); as we frame anew, that is what happens."""
    distinct = {part.strip() for value in values for part in value.split(b",")}
    if len(distinct) != 1 or not _LENGTH.fullmatch(length := distinct.pop()):
        raise UpstreamFault("upstream's Content-Length is ambiguous")
    return int(length)


def without(block: bytes, names: frozenset[bytes]) -> bytes:
    """Field lines without those of ``names`` (in lower case)."""
    lines = block.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in names)


def repaired(head: bytes) -> bytes:
    """A response head with each line fold as one space and no blanks before a colon (RFC 9112 §5.1 and §5.2). A fold of
    the status line stays, and is refused (RFC 9112 §2.2)."""
    line = head.find(b"\r\n") + 2
    return head[:line] + _LOOSE_COLON.sub(rb"\1:", _FOLD.sub(b" ", head[line:]))


def onward(head: ResponseHead, request: RequestHead, *, more: bool = False) -> tuple[bytes, Framing]:
    """A response's status line and field lines as they go on to the client (no Connection field yet, no empty
    line), and how the body is delimited there: as it came, but that HTTP/1.0 has no chunks (RFC 9112 §6.1), and that
    what only upstream's end would end is chunked for a client that has sent ``more`` requests already."""
    framing = head.framing
    if framing == "chunked" and not request.minor:
        framing = "close"
    elif framing == "close" and request.minor and more:
        framing = "chunked"
    replace: dict[bytes, bytes] = {}
    if head.status == 426:  # RFC 9110 §15.5.22
        replace = {b"connection": b"Upgrade", b"upgrade": b", ".join(head.values(b"upgrade"))}
    length = head.length if head.framing == "length" else head.would_be
    if length is not None:
        return restated(head, length, replace=replace), framing
    keep: frozenset[bytes] = frozenset()
    bodiless = head.framing == "none" and head.status != 204  # RFC 9112 §6.1: of a 204 it says nothing
    if framing == "chunked" or (bodiless and request.method == "HEAD" and request.minor):
        keep = _CODING_FIELD
        replace[b"transfer-encoding"] = b"chunked"
    block = head.forwarded(keep=keep, replace=replace)
    if head.framing == "close" and framing == "chunked":
        block += b"Transfer-Encoding: chunked\r\n"
    return head.status_line + block, framing


def answer_head(head: ResponseHead, request: RequestHead, *, keep: bool, more: bool = False) -> tuple[bytes, Framing]:
    """A response's head as it goes on to the client, whole, and how the body is delimited there. ``keep``: the
    client's connection stays open. ``more``: see :func:`onward`."""
    plain = keep and request.plain and head.framing != "close" and b"close" not in head.options
    if plain and head.plain_answer is not None:
        return head.plain_answer
    lines, framing = onward(head, request, more=more)
    field = persistence(request, keep, head.options) if framing != "close" or b"close" in head.options else b""
    made = lines + field + b"\r\n", framing
    if plain:
        head.plain_answer = made
    return made


def restated(
    head: ResponseHead, length: int, drop: frozenset[bytes] = frozenset(), replace: dict[bytes, bytes] | None = None
) -> bytes:
    """A response's status line and field lines with one Content-Length, in the place of upstream's or at the end."""
    stated = b"%d" % length
    block = head.forwarded(drop, {**(replace or {}), b"content-length": stated})
    if not head.values(b"content-length"):
        block += b"Content-Length: %b\r\n" % stated
    return head.status_line + block


def persistence(request: RequestHead, keep: bool, upstream: frozenset[bytes] = frozenset()) -> bytes:
    """The Connection field of an answer, where one is needed: for what is not the version's default, or where
    ``upstream`` said it of its own connection too (programs look for it, as the tests of JavaScript's clients do)."""
    if not keep:
        return b"Connection: close\r\n" if request.minor else b""
    if not request.minor:
        return b"Connection: Keep-Alive\r\n"
    return b"Connection: keep-alive\r\n" if b"keep-alive" in upstream else b""
