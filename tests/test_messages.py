"""Messages as values."""

from __future__ import annotations

from nbproxy.messages import Headers, Request

HEADERS = Headers([(b"X-A", b"1"), (b"Host", b"h"), (b"x-a", b"2")])


def test_fields_keep_order_case_and_repeats() -> None:
    assert HEADERS.encode() == b"X-A: 1\r\nHost: h\r\nx-a: 2\r\n"
    assert Headers.parse(HEADERS.encode()) == HEADERS
    assert HEADERS.all("x-A") == ["1", "2"]
    assert HEADERS.get("X-a") == "1"
    assert HEADERS.get("no", "default") == "default"


def test_changed_copies() -> None:
    assert HEADERS.without("x-a").encode() == b"Host: h\r\n"
    assert HEADERS.with_value("x-A", "3").encode() == b"X-A: 3\r\nHost: h\r\n"
    assert HEADERS.with_value("New", "4").encode().endswith(b"New: 4\r\n")


def test_a_repr_shows_no_value() -> None:
    assert "h" not in repr(Headers([(b"Authorization", b"h")])).removeprefix("Headers")


def test_a_request_knows_its_path_and_parameters() -> None:
    request = Request("GET", "/a%2Fb/_search?q=red+shoes&size=3&q=blue&pretty&&x=%C3%A9")
    assert request.path == "/a%2Fb/_search"
    assert request.params == {"q": "blue", "size": "3", "pretty": "", "x": "é"}
    assert request.replace(target="/b").params == {}
