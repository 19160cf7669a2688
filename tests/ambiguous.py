"""Requests that could be read in two ways, or in none: bytes by name, for the wire alone and for the whole proxy.

All of them are refused with 400. They go by RFC 9110 and RFC 9112, and by what is known of servers that disagree.
``OURS`` stands for the proxy's own authority.
"""

from __future__ import annotations

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
NOTHING = b"0\r\n\r\n"


def get(*fields: bytes, line: bytes = b"GET /x HTTP/1.1", body: bytes = b"", host: bytes = b"Host: a\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return get(*fields, line=b"POST /x HTTP/1.1", body=body)


def chunked(body: bytes, *fields: bytes) -> bytes:
    return post(*fields, b"Transfer-Encoding: chunked", body=body)


LENGTHS = {
    f"length {value!r}": post(b"Content-Length: " + value, body=b"hello")
    for value in [
        b"+5", b"-5", b"0x5", b"1e1", b"5.0", b"5, 5", b"5,6", b"5,", b",5", b"5 5", b"5;", b'"5"', b"'5'", b"5_0",
        b"", b" ", b"five", b"\xb2", b"5\xa0", b"\xc2\xa05", b"5\x0b", b"\x0c5", b"5\x00", b"18446744073709551621",
        b"9" * 40,
    ]
}  # fmt: skip
LENGTHS |= {
    "equal lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "two lengths": post(b"Content-Length: 5", b"content-length: 0", body=b"hello"),
    "a length behind a blank": post(b"Content-Length : 5", body=b"hello"),
    "a length behind a tab": post(b"Content-Length\t: 5", body=b"hello"),
    "a length behind a NUL": post(b"Content-Length\x00: 5", body=b"hello"),
    "a folded length": post(b"Content-Length:\r\n 5", body=b"hello"),
    "a length in a fold": post(b"X: y\r\n Content-Length: 5", body=b"hello"),
    "a length behind a bare CR": post(b"X: y\rContent-Length: 5", body=b"hello"),
    "a length behind a bare LF": post(b"X: y\nContent-Length: 5", body=b"hello"),
}

CODINGS = {
    f"coding {value!r}": post(b"Transfer-Encoding: " + value, body=NOTHING)
    for value in [
        b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, identity", b"identity, chunked",
        b"chunked, chunked", b"chunked chunked", b"chunked,", b",chunked", b"chunked;q=1", b'"chunked"', b"xchunked",
        b"chunkedx", b"chun ked", b"\x0bchunked", b"chunked\x0b", b"chunked\x0c", b"chunked\x00", b"\x00chunked",
        b"chunked\xa0", b"\xa0chunked", b"chun\xcbed", b"chunked\r", b"trailers, chunked", b"chunk", b"[chunked]",
    ]
}  # fmt: skip
CODINGS |= {
    "a length and a coding": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=NOTHING + HIDDEN),
    "a coding and a length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=NOTHING + HIDDEN),
    "a length and an unknown coding": post(b"Content-Length: 5", b"Transfer-Encoding: cow", body=b"hello"),
    "a length and identity": post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"),
    "a length and an empty coding": post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello"),
    "equal codings": post(b"Transfer-Encoding: chunked", b"transfer-encoding: chunked", body=NOTHING),
    "two codings": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=NOTHING),
    "two codings, chunked last": post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=NOTHING),
    "a coding behind a blank": post(b"Transfer-Encoding : chunked", body=NOTHING),
    "a coding behind a tab": post(b"Transfer-Encoding\t: chunked", body=NOTHING),
    "a coding behind a blank line's start": post(b" Transfer-Encoding: chunked", body=NOTHING),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", body=NOTHING),
    "a coding folded on": post(b"Transfer-Encoding: chunked\r\n , cow", body=NOTHING),
    "a coding in a fold": post(b"X: y\r\n\tTransfer-Encoding: chunked", b"Content-Length: 5", body=NOTHING + HIDDEN),
    "a coding behind a bare CR": post(b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 5", body=NOTHING),
    "a coding behind a bare LF": post(b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 5", body=NOTHING),
    "a coding behind LF CR": post(b"X: y\n\rTransfer-Encoding: chunked", b"Content-Length: 5", body=NOTHING),
    "a coding before the first line": b"Transfer-Encoding: chunked\r\n" + post(body=NOTHING),
    "a coding in HTTP/1.0": get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0", body=NOTHING),
    "a coding in HTTP/1.0, kept alive": get(
        b"Connection: keep-alive", b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0", body=NOTHING
    ),
    "a coding and a length in HTTP/1.0": get(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0", body=NOTHING
    ),
}

CHUNKS = {
    f"chunk {body!r}"[:60]: chunked(body + NOTHING)
    for body in [
        b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b" 5\r\nhello\r\n", b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n", b"5_0\r\nhello\r\n", b"5h\r\nhello\r\n", b"5,\r\nhello\r\n", b"\r\nhello\r\n",
        b";a\r\nhello\r\n", b"g\r\nhello\r\n", b"\xb2\r\nhello\r\n", b"5\x00\r\nhello\r\n",
        b"fffffffffffffffff\r\nhello\r\n", b"10000000000000005\r\nhello\r\n", b"5\nhello\r\n", b"5\rhello\r\n",
        b"5\r\r\nhello\r\n", b"5\n\r\nhello\r\n", b"5\r\n\r\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello\r",
        b"5\r\nhello", b"5\r\nhelloXX", b"4\r\nhello\r\n", b"6\r\nhello\r\n", b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n", b"5;a\x00\r\nhello\r\n", b'5;a="b\r\nhello\r\n', b'5;a="\n"\r\nhello\r\n',
        b"5;\r\nhello\r\n", b"5;;\r\nhello\r\n", b"5 a\r\nhello\r\n", b"-0\r\n\r\n", b"0x0\r\n\r\n", b"0 \r\n\r\n",
        b"0\n\n", b"0\r\n\n", b"0\n\r\n", b"0\r\n\rX", b"0\r\nX",
    ]
}  # fmt: skip
CHUNKS |= {
    "a chunk's line without end": chunked(b"5;a=" + b"b" * 200_000 + b"\r\nhello\r\n" + NOTHING),
}

TRAILERS = {
    f"trailer {line!r}": chunked(b"0\r\n" + line + b"\r\n\r\n")
    for line in [
        b"X: 1\r\n 2", b"X: 1\x00", b"X: 1\r2", b"X: 1\n", b"X: 1\x0b", b"X : 1", b" X: 1", b"X", b": 1", b"X Y: 1",
        b"GET /hidden HTTP/1.1\r\nHost: a",
    ]
}  # fmt: skip

LINES = {
    f"line {line!r}"[:70]: get(line=line)
    for line in [
        b"GET /x", b"GET /x ", b"GET", b"", b"GET /x HTTP/2.0", b"GET /x HTTP/0.9", b"GET /x HTTP/1.10",
        b"GET /x HTTP/1.01", b"GET /x HTTP/01.1", b"GET /x HTTP/11.1", b"GET /x HTTP/1", b"GET /x HTTP/1.",
        b"GET /x HTTP/.1", b"GET /x HTTP/1,1", b"GET /x HTTP/a.b", b"GET /x http/1.1", b"GET /x Http/1.1",
        b"GET /x HTTPS/1.1", b"GET /x ICY/1.1", b"GET /x HTTP 1.1", b"GET /x HTTP/1.1 ", b"GET /x HTTP/1.1\t",
        b"GET /x HTTP/1.1x", b"GET /x HTTP/1.1\r", b"GET  /x HTTP/1.1", b"GET /x  HTTP/1.1", b"GET\t/x HTTP/1.1",
        b"GET /x\tHTTP/1.1", b"GET\x0b/x HTTP/1.1", b" GET /x HTTP/1.1", b"GET /x y HTTP/1.1",
        b"GET /x HTTP/1.1 HTTP/1.1", b"GET /\x00 HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /\x7f HTTP/1.1",
        b"GET /x\ry HTTP/1.1", b"GET /x\ny HTTP/1.1", b"G\x00T /x HTTP/1.1", b"GE(T /x HTTP/1.1", b"GET: /x HTTP/1.1",
        b"G\xc3\x89T /x HTTP/1.1", b"\x00GET /x HTTP/1.1", b"\xef\xbb\xbfGET /x HTTP/1.1", b"/x HTTP/1.1",
        b"PRI * HTTP/2.0", b"GET x HTTP/1.1", b"GET ?x HTTP/1.1", b"GET \\x HTTP/1.1", b"GET @b/x HTTP/1.1",
        b"GET :80/x HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS *x HTTP/1.1", b"GET a:80 HTTP/1.1",
        b"GET file:///x HTTP/1.1", b"GET ftp://a/x HTTP/1.1", b"GET http: HTTP/1.1", b"GET http:/x HTTP/1.1",
        b"GET http:///x HTTP/1.1", b"GET http://b@a/x HTTP/1.1", b"GET http://a\\@b/x HTTP/1.1",
        b"GET http://b/x HTTP/1.1", b"GET http://a#b/x HTTP/1.1",
    ]
}  # fmt: skip

HOSTS = {
    f"host {value!r}": get(host=b"Host: " + value + b"\r\n")
    for value in [
        b"a b", b"a, b", b"u@a", b"a/b", b"a#b", b"a?b", b"a\\b", b"<a>", b'"a"', b"http://a", b"\xc3\xa9", b"a\x00",
        b"a:x", b"a:-1", b"a:+1", b"a:1:2", b":80", b"[::1", b"::1", b"[a]b", b"a%zz", b"a%",
    ]
}  # fmt: skip
HOSTS |= {
    "no host": get(host=b""),
    "two hosts": get(b"Host: b"),
    "equal hosts": get(b"host: a"),
    "two hosts in HTTP/1.0": get(b"Host: b", line=b"GET / HTTP/1.0"),
    "a host behind a blank": get(host=b"Host : a\r\n"),
    "a folded host": get(host=b"Host:\r\n a\r\n"),
    "a host in a fold": get(b"X: y\r\n Host: b"),
    "a host before the first line": b"Host: b\r\n" + get(),
    "our host against Host": get(line=b"GET http://OURS/x HTTP/1.1"),
    "another's host against ours": get(line=b"GET http://b/x HTTP/1.1", host=b"Host: OURS\r\n"),
    "our host and an empty Host": get(line=b"GET http://OURS/x HTTP/1.1", host=b"Host:\r\n"),
    "our host and no Host": get(line=b"GET http://OURS/x HTTP/1.1", host=b""),
    "our host behind a user": get(line=b"GET http://u:p@OURS/x HTTP/1.1", host=b"Host: OURS\r\n"),
}

FIELDS = {
    f"field {line!r}": get(line)
    for line in [
        b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tz", b"X: y\r\n ", b"X : y", b"X\t: y", b"X\x0b: y", b"X",
        b": y", b"X Y: z", b"X\x00: y", b"X\x7f: y", b"X\xc3\xa9: y", b"X(y): z", b"X;y: z", b"X/y: z", b"[X]: y",
        b"{X}: y", b'"X": y', b"X@y: z", b"X,y: z", b"X: \x00", b"X: \x01", b"X: \x0b", b"X: \x1b", b"X: \x7f",
        b"X: y\rz", b"X: y\r", b"X: y\nZ: 1", b"X: y\n", b"X: y\n\r", b"X: y\r\r", b"\r", b"X: y\x85\n",
    ]
}  # fmt: skip
FIELDS |= {
    "LF only": get().replace(b"\r\n", b"\n"),
    "LF behind the first line": get().replace(b"\r\n", b"\n", 1),
    "LF as the empty line": get()[:-2] + b"\n",
    "LF LF at the end": get()[:-4] + b"\n\n",
    "CR CR LF": get().replace(b"\r\n", b"\r\r\n"),
    "an empty line that is a blank": get()[:-2] + b" \r\n\r\n",
    "an LF before it all": b"\n" + get(),
    "a CR before it all": b"\r" + get(),
    "a blank line before it all": b" \r\n" + get(),
    "a PROXY line before it all": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "the empty lines of a bored client": b"\r\n" * 40_000 + get(),
}

REFUSED = {**LENGTHS, **CODINGS, **CHUNKS, **TRAILERS, **LINES, **HOSTS, **FIELDS}
