"""Messages as an attacker, or a broken program, would write them: by dice, so that a seed gives the same ones again.

Each is built from parts of which most are well formed. Half of the requests and answers have odd parts, some a byte
changed, and many have something behind them that must not become a message of its own.
"""

from __future__ import annotations

from random import Random

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
_BLANKS = [b"", b" ", b"\t", b"  ", b"\x0b", b"\x0c", b"\r", b"\n", b"\x00", b"\r\n ", b"\r\n\t"]
_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b" \r\n", b"", b"\x0b\r\n"]
_LENGTHS = [
    b"+%d", b"-%d", b"0%d", b"0x%d", b"%d,", b"%d_0", b"%d ", b"%d;a", b"%d.0", b"00000000000000000000%d", b"%d, %d",
    b"1844674407370955161%d", b"999999999999999999999%d",
]  # fmt: skip
_SIZES = [
    b"0%x", b"00000000000000000000%x", b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x;a=b", b"%x ;a", b"%x; a",
    b"%x;", b'%x;a="b"', b'%x;a="\r\n0\r\n\r\n"', b"%x_0", b"10000000000000000%x", b"1%08x", b"%xg", b"%x\x00", b"%x\n",
    b"\n%x", b"%x\r", b"%x;\n", b"%x;a\r\x0b",
]  # fmt: skip
_CODINGS = [
    b"Chunked", b"identity", b"gzip, chunked", b"chunked, identity", b"xchunked", b"chunked,", b'"chunked"', b"",
    b"\x0bchunked", b"chunked\x00", b"chun\r\n ked", b"chunked;q=1", b"chunked\r\nX: y", b"chunked, chunked",
]  # fmt: skip
_BYTES = [b"", b"\r", b"\n", b"\x00", b" ", b":", b"0", b"\t", b","]


class _Parts:
    """Parts of a message; ``odd``: how many of a hundred are malformed."""

    def __init__(self, dice: Random) -> None:
        self.dice, self.odd = dice, dice.choice([0, 0, 4, 8])

    def chance(self, percent: float) -> bool:
        return self.dice.random() * 100 < percent

    def one(self, usual: bytes, others: list[bytes], times: int = 1) -> bytes:
        return self.dice.choice(others) if self.chance(self.odd * times) else usual

    def number(self, n: int, forms: list[bytes], usual: bytes) -> bytes:
        form = self.one(usual, forms, 2)
        return form % ((n,) * form.count(b"%"))

    def line(self, data: bytes) -> bytes:
        return data + self.one(b"\r\n", _ENDS)

    def field(self, name: bytes, value: bytes) -> bytes:
        name = self.one(name, [name.lower(), name.upper(), name + self.dice.choice(_BLANKS), b" " + name])
        return self.line(name + b":" + self.one(b" ", _BLANKS) + value + self.one(b"", _BLANKS))

    def chunks(self, body: bytes) -> bytes:
        out = b""
        while body:
            n = self.dice.randint(1, len(body))
            out += self.line(self.number(n, _SIZES, b"%x")) + self.line(body[:n])
            body = body[n:]
        out += self.line(self.number(0, _SIZES, b"%x"))
        if self.chance(10):
            out += self.line(self.dice.choice([b"X: y", b"Content-Length: 5", b"X : y", b" X: y", b"X: \x00", b"X"]))
        return self.line(out)

    def framed(self, body: bytes) -> tuple[list[bytes], bytes]:
        """The fields that say where a body ends, and the body so framed."""
        length = self.field(b"Content-Length", self.number(len(body), _LENGTHS, b"%d"))
        coding = self.field(b"Transfer-Encoding", self.one(b"chunked", _CODINGS, 3))
        if self.chance(self.odd):
            return [length, coding], self.dice.choice([body, self.chunks(body)])
        if self.chance(self.odd):
            return [length, self.field(b"Content-Length", b"%d" % (len(body) + self.dice.choice([0, 1])))], body
        return ([length], body) if self.chance(60) else ([coding], self.chunks(body))

    def changed(self, raw: bytes) -> bytes:
        if raw and self.chance(self.odd):
            at = self.dice.randrange(len(raw))
            raw = raw[:at] + self.dice.choice(_BYTES) + raw[at + 1 :]
        return raw


def request(dice: Random, tag: bytes) -> bytes:
    """A request whose target has this in it, as a rule, and up to two more behind it that have nothing odd."""
    parts = _Parts(dice)
    canary = b"GET /canary%b HTTP/1.1\r\nHost: a\r\n\r\n" % tag
    long = b"x" * dice.randint(1, 9000)
    body = dice.choice([b"", b"hello", canary, b"0\r\n\r\n" + canary, b"\r\n\r\n" + canary, long])
    fields, wire = parts.framed(body) if parts.chance(80) else ([], b"")
    fields += [parts.field(b"Host", parts.one(b"a", [b"", b"a,b", b"a b", b"a:x", b"u@a", b"a/b"], 2))]
    if parts.chance(parts.odd):
        fields += dice.choice([[], fields[-1:], [b"Host: b\r\n"]])
    for _ in range(dice.choice([0, 0, 1, 2])):
        usual = dice.choice([b"Connection: close", b"Expect: 100-continue", b"TE: trailers", b"X: y"])
        odd = [b"Connection: Content-Length", b"X: y\rContent-Length: 3", b"X: y\nZ: 1", b" fold", b"nothing", b": y"]
        fields.append(parts.line(parts.one(usual, odd, 2)))
    dice.shuffle(fields)
    method = parts.one(dice.choice([b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE"]), [b"G\x00T", b"P(T", b""])
    target = parts.one(b"/", [b"/a ", b"//a/", b"/\x00", b"*", b"http://a/", b"x", b"/\t", b""]) + tag
    version = parts.one(b"HTTP/1.1", [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b"HTTP/1.01"])
    head = parts.line(method + parts.one(b" ", _BLANKS) + target + parts.one(b" ", _BLANKS) + version)
    return parts.changed(head + b"".join(fields) + parts.line(b"") + wire) + canary * dice.choice([0, 1, 1, 2])


def answer(dice: Random, method: bytes) -> bytes:
    """An answer to a request of this method, and perhaps something behind it."""
    parts = _Parts(dice)
    status = dice.choice([200] * 6 + [204, 304, 404, 500, 101, 103, 205, 426])
    long = b"x" * dice.randint(1, 9000)
    body = dice.choice([b"", b"hello", POISON, b"0\r\n\r\n" + POISON, b"\r\n\r\n" + POISON, long])
    fields, wire = parts.framed(body) if parts.chance(90) else ([], body)
    if (method == b"HEAD" or status in (101, 103, 204, 304)) and parts.chance(80):
        wire = b""
    fields.append(parts.field(b"X", parts.one(b"y", [b"y\rContent-Length: 3", b"y\nZ: 1", b"\x00"])))
    if parts.chance(20):
        fields.append(parts.line(dice.choice([b"Connection: close", b"Connection: Content-Length", b"Upgrade: x"])))
    dice.shuffle(fields)
    interim = b"HTTP/1.1 10%d X\r\n%b\r\n" % (dice.choice([0, 2, 3]), dice.choice([b"", b"Content-Length: 5\r\n"]))
    line = parts.one(b"HTTP/1.1", [b"HTTP/1.0", b"HTTP/2.0", b"ICY", b"http/1.1"]) + b" %d" % status
    head = parts.line(line + parts.one(b" OK", [b"", b" ", b"OK", b" a\rb"]))
    raw = interim * dice.choice([0, 0, 0, 1, 2]) + head + b"".join(fields) + parts.line(b"") + wire
    if parts.chance(10):
        return raw[: dice.randrange(len(raw))]
    behind = [POISON, b"\r\n", b"x", b"\r\n" + POISON, POISON[:-1], b"HTTP/1.1 100 C\r\n\r\n"]
    return parts.changed(raw) + (dice.choice(behind) if parts.chance(20) else b"")
