"""What must never be stored, and that nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.redact import redact_head, redact_target

HIDDEN = [
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Api-Key", "apikey", "X_API_KEY",
    "X-Amz-Security-Token", "es-secondary-authorization", "ES-Client-Authentication", "X-Auth-Token", "X-Secret",
    "Ocp-Apim-Subscription-Key", "X-Typesense-API-Key", "X-Forwarded-Access-Token", "Key",
]  # fmt: skip
KEPT = [
    "Host",
    "WWW-Authenticate",
    "Surrogate-Key",
    "Sec-WebSocket-Key",
    "Idempotency-Key",
    "X-Turkey",
    "Keep-Alive",
    "Tokens-Left",
]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_credentials_headers_are_hidden(name, change):
    block = f"Host: a\r\n{change(name)}: s3cret with=more\r\nAccept: */*\r\n".encode()
    assert redact_head(block) == f"Host: a\r\n{change(name)}: [redacted]\r\nAccept: */*\r\n".encode()


@pytest.mark.parametrize("name", KEPT)
def test_other_headers_stay(name):
    block = f"{name}: value; a=b\r\n".encode()
    assert redact_head(block) is block


HEADS = [
    (b"Authorization: Basic \xff\xa0\r\n", b"Authorization: [redacted]\r\n"),
    (b"Authorization:\xa0secret\r\n", b"Authorization: [redacted]\r\n"),
    (b"Authorization : secret\r\n", b"Authorization : [redacted]\r\n"),
    (b"Cookie: a\r\n b=c\r\n\td\r\nHost: x\r\n", b"Cookie: [redacted]\r\nHost: x\r\n"),
    (b"Cookie:\r\n secret\r\nHost: x\r\n", b"Cookie: [redacted]\r\nHost: x\r\n"),
    (b"X: a\r\n b\r\nToken: c", b"X: a\r\n b\r\nToken: [redacted]"),
    (b"Cookie: a\rb\r\n", b"Cookie: [redacted]\r\n"),
    (b"Cookie: \r\n", b"Cookie: \r\n"),
    (b"X: a\nCookie: b\n", b"X: a\nCookie: [redacted]\n"),
    (b"Location: https://me:pw@h/a?token=t&b=c\r\n", b"Location: https://[redacted]@h/a?token=[redacted]&b=c\r\n"),
    (b"Link: <https://h/?sig=t>; rel=next\r\n", b"Link: <https://h/?sig=[redacted]>; rel=next\r\n"),
    (b"", b""),
]


@pytest.mark.parametrize(("block", "expected"), HEADS)
def test_heads(block, expected):
    assert redact_head(block) == expected
    assert redact_head(expected) == expected


TARGETS = [
    ("/a/_search?api_key=1&q=2", "/a/_search?api_key=[redacted]&q=2"),
    ("/multi_search?x-typesense-api-key=1&q=2", "/multi_search?x-typesense-api-key=[redacted]&q=2"),
    ("/1/indexes/a?X-Algolia-API-Key=1&x-agent=u", "/1/indexes/a?X-Algolia-API-Key=[redacted]&x-agent=u"),
    ("/a?api-key=1&x-request-id=2&x-apikey=3", "/a?api-key=[redacted]&x-request-id=2&x-apikey=[redacted]"),
    ("/a?APIKEY=1", "/a?APIKEY=[redacted]"),
    ("/a?q=x&token=a=b&c", "/a?q=x&token=[redacted]&c"),
    ("/a?access_token=1#frag", "/a?access_token=[redacted]#frag"),
    ("/a?key=a;b", "/a?key=[redacted]"),
    ("/a?x=1;password=b", "/a?x=1;password=[redacted]"),
    ("/a?secret=a b\"c", "/a?secret=[redacted]"),
    ("/a?sig=1&signature=2&SigV4=3", "/a?sig=[redacted]&signature=[redacted]&SigV4=[redacted]"),
    ("/a?%61pi%5Fkey=1&%6Bey=2", "/a?%61pi%5Fkey=[redacted]&%6Bey=[redacted]"),
    ("/a?X-Amz-Signature=1&X-Amz-Date=2", "/a?X-Amz-Signature=[redacted]&X-Amz-Date=2"),
    ("http://me:pw@host:9200/a", "http://[redacted]@host:9200/a"),
    ("http://me@x:pw@host/a@b", "http://[redacted]@host/a@b"),
    ("/a?url=http://h/?token=1", "/a?url=http://h/?token=[redacted]"),
]  # fmt: skip
UNTOUCHED = [
    "/", "*", "/a?", "/a?q=key&keyword=x&tokens=1&monkey=2&passwords=3&secrets", "/a?key", "/a?key=&token=",
    "/me@host/_search?q=a@b", "/a?q=%26key%3D1&%71=100%", "/key=1/token=2",
]  # fmt: skip


@pytest.mark.parametrize(("target", "expected"), TARGETS)
def test_targets(target, expected):
    assert redact_target(target) == expected
    assert redact_target(expected) == expected


@pytest.mark.parametrize("target", UNTOUCHED)
def test_other_targets_stay(target):
    assert redact_target(target) is target


@given(st.text(), st.text(alphabet="ab%4&=;#?/:@[]", max_size=60))
def test_any_text_is_taken(one, other):
    for target in (one, other, one + other):
        assert redact_target(redact_target(target)) == redact_target(target)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(block):
    assert redact_head(redact_head(block)) == redact_head(block)


def test_a_hostile_target_costs_no_more_than_its_length():
    for target in ("/?" + "%" * 65_536, "/" + "://" * 20_000, "/?" + "a;" * 30_000, "/?" + "%41=&" * 15_000):
        redact_target(target)  # quadratic, this would take minutes
    redact_head(b"a-" * 32_768 + b"\r\n" + b"token" * 10_000 + b": x\r\n")
