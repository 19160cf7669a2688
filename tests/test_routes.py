"""Our own routes: who may ask, what is refused, nothing of them goes upstream."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

import nbproxy

from .test_searches import backwards, search
from .upstreams import TIMEOUT, Client, Json

Start = Callable[..., nbproxy.Session]


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    return start(json_upstream.url, model=backwards)


def ask(
    session: nbproxy.Session,
    method: bytes,
    route: bytes,
    body: bytes | None = None,
    token: str | None = "right",
    host: bytes | None = None,
) -> tuple[int, object]:
    given = session.token if token == "right" else token
    fields = b"" if given is None else b"Authorization: Bearer %b\r\n" % given.encode()
    with Client(session.url) as client:
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        client.send(
            b"%b /_nbproxy/%b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n%b"
            % (method, route, host or client.authority, fields, length, body or b"")
        )
        answer = client.read(method)
        is_json = answer.body and answer.all(b"content-type") == [b"application/json"]
        return answer.status, answer.json if is_json else None


@pytest.mark.parametrize(
    ("method", "route", "token", "host", "status"),
    [
        (b"GET", b"status", None, None, 200),
        (b"GET", b"status", None, b"evil.example", 200),
        (b"HEAD", b"status", None, None, 200),
        (b"POST", b"status", None, None, 405),
        (b"GET", b"snapshot", "right", None, 200),
        (b"GET", b"snapshot?lines=3", "right", b"localhost", 200),
        (b"GET", b"snapshot?lines=x", "right", None, 400),
        (b"GET", b"snapshot", None, None, 401),
        (b"GET", b"snapshot", "wrong", None, 401),
        (b"GET", b"snapshot", "right", b"evil.example:80", 401),
        (b"GET", b"sight?exchange_id=no", "right", None, 404),
        (b"GET", b"nothing", "right", None, 404),
        (b"GET", b"nothing", None, None, 401),
        (b"GET", b"", "right", None, 404),
        (b"GET", b"session", "right", None, 200),
        (b"GET", b"errors", "right", None, 200),
        (b"GET", b"errors", None, None, 401),
        (b"GET", b"rows?since=0&bulky=1", "right", None, 200),
        (b"HEAD", b"rows", "right", None, 200),
        (b"HEAD", b"rows", None, None, 401),
        (b"GET", b"rows", None, None, 401),
        (b"GET", b"rows", "right", b"evil.example", 401),
        (b"GET", b"rows?since=x", "right", None, 400),
        (b"POST", b"rows", "right", None, 405),
        (b"GET", b"hits", "right", None, 200),
        (b"GET", b"hits", "wrong", None, 401),
        (b"GET", b"events", "right", None, 200),
        (b"GET", b"events", None, None, 401),
        (b"GET", b"click", None, None, 405),
        (b"OPTIONS", b"click", None, None, 405),
        (b"POST", b"click", None, None, 400),
        (b"POST", b"click", None, b"evil.example", 400),
        (b"GET", b"row?exchange_id=no", "right", None, 200),
        (b"GET", b"row?exchange_id=no&part=x", "right", None, 400),
        (b"GET", b"row?exchange_id=no", None, None, 401),
        (b"GET", b"flush?ms=1000", "right", None, 200),
        (b"GET", b"flush", None, None, 401),
        (b"GET", b"settings", "right", None, 405),
        (b"HEAD", b"load", "right", None, 405),
        (b"DELETE", b"load", "right", None, 405),
        (b"POST", b"load", None, None, 401),
        (b"POST", b"settings", "wrong", None, 401),
        (b"POST", b"score", None, None, 401),
        (b"POST", b"stop", None, None, 401),
        (b"POST", b"stop", "right", b"evil.example", 401),
    ],
)
def test_who_may_ask_what(
    session: nbproxy.Session,
    json_upstream: Json,
    method: bytes,
    route: bytes,
    token: str | None,
    host: bytes | None,
    status: int,
) -> None:
    got, body = ask(session, method, route, None, token, host)
    assert got == status
    if status >= 400 and method != b"HEAD":
        assert body["status"] == status  # type: ignore[index]
        assert body["error"]["type"].startswith("nbproxy_")  # type: ignore[index]
    assert not json_upstream.requests
    looks = method in (b"GET", b"HEAD") and not route.startswith(b"status")
    assert session.frame.route.tolist() == ([] if looks and status == 200 else ["own"])  # a look adds nothing


WRONG_BODIES = [
    (b"settings", b"depth=3", "must be JSON"),
    (b"settings", b"", "must be JSON"),
    (b"settings", b'{"name": "upstream", "value": 3}', "Invalid enum value 'upstream'"),
    (b"settings", b'{"name": "depth"}', "missing required field `value`"),
    (b"settings", b'{"name": "depth", "value": 0}', "depth must be a whole number of at least 1, not 0"),
    (b"settings", b'{"name": "depth", "value": true}', "depth must be a whole number"),
    (b"settings", b'{"name": "deadline", "value": "5"}', "deadline must be a number"),
    (b"settings", b'{"name": "min_score", "value": "5"}', "min_score must be a number"),
    (b"settings", b'{"name": "fields", "value": 5}', "fields must be"),
    (b"settings", b'{"name": "fields", "value": "{title"}', "cannot be read"),
    (b"load", b"[]", "must be JSON"),
    (b"load", b'{"role": "model", "source": 3}', "must be JSON"),
    (b"load", b'{"role": "no"}', "Invalid enum value"),
    (b"load", b'{"role": "model", "code": "import os"}', "unknown field `code`"),
    (b"load", b'{"role": "model", "source": "/nothing-here"}', "nothing-here"),
    (b"load", b'{"role": "model", "source": "no_such:thing"}', "No module named 'no_such'"),
    (b"load", b'{"role": "model", "source": {"name": "x", "fingerprint": "y"}}', "no longer"),
    (b"load", b'{"role": "model", "source": "\xff"}', "must be JSON"),
    (b"score", b"{}", "must be JSON"),
    (b"model", b"\xff", "the body must be"),
]


@pytest.mark.parametrize(("route", "body", "reason"), WRONG_BODIES)
def test_a_body_that_says_nothing_is_refused_and_changes_nothing(
    session: nbproxy.Session, route: bytes, body: bytes, reason: str
) -> None:
    before = (session.model, session.options)
    status, answer = ask(session, b"POST", route, body)
    assert (status, answer["status"]) == (400, 400)  # type: ignore[index]
    assert reason in answer["error"]["reason"]  # type: ignore[index]
    assert (session.model, session.options) == before


def test_a_body_that_is_too_large_is_refused(session: nbproxy.Session) -> None:
    status, answer = ask(session, b"POST", b"settings", b" " * (2**20 + 1))
    assert (status, answer["error"]["reason"]) == (400, "the body is too large")  # type: ignore[index]


@pytest.mark.parametrize(("method", "route", "allowed"), [(b"GET", b"load", b"POST"), (b"PUT", b"rows", b"GET, HEAD")])
def test_a_wrong_method_is_told_the_right_ones(
    session: nbproxy.Session, method: bytes, route: bytes, allowed: bytes
) -> None:
    with Client(session.url) as client:
        answer = client.ask(method, b"/_nbproxy/" + route, None, b"Authorization: Bearer " + session.token.encode())
    assert (answer.status, answer.all(b"allow")) == (405, [allowed])


def test_head_tells_the_size_and_sends_nothing(session: nbproxy.Session) -> None:
    search(session)
    with Client(session.url) as client:
        field = b"Authorization: Bearer " + session.token.encode()
        head = client.ask(b"HEAD", b"/_nbproxy/rows?bulky=1", None, field)
        got = client.ask(b"GET", b"/_nbproxy/rows?bulky=1", None, field)
    assert head.body == b""
    assert head.fields == got.fields
    assert got.all(b"content-type") == [b"application/vnd.apache.arrow.stream"]
    assert got.all(b"content-length") == [b"%d" % len(got.body)]


HOSTS = [
    ("127.0.0.1", (), b"search.team.example:80", 401),
    ("127.0.0.1", ("Search.Team.Example", "10.1.2.3"), b"search.team.example:80", 200),
    ("127.0.0.1", ("Search.Team.Example", "10.1.2.3"), b"SEARCH.TEAM.EXAMPLE", 200),
    ("127.0.0.1", ("search.team.example", "10.1.2.3"), b"10.1.2.3:9201", 200),
    ("127.0.0.1", ("search.team.example",), b"other.team.example", 401),
    ("127.0.0.1", ("search.team.example",), b"search.team.example.evil.example", 401),
    ("127.0.0.1", (), b"localhost:1", 200),
    ("127.0.0.1", (), b"127.0.0.1", 200),
    ("127.0.0.1", (), b"[::1]:80", 200),
    ("127.0.0.1", (), b"127.evil.example", 401),
    ("127.0.0.1", (), b"localhost.evil.example", 401),
    ("127.0.0.2", (), b"127.0.0.2:80", 200),
]


@pytest.mark.parametrize(("listening", "allowed", "host", "status"), HOSTS)
def test_a_host_must_be_loopback_or_allowed(
    start: Start, json_upstream: Json, listening: str, allowed: tuple[str, ...], host: bytes, status: int
) -> None:
    session = start(json_upstream.url, host=listening)
    session.allowed_hosts = allowed
    assert ask(session, b"GET", b"session", host=host)[0] == status
    assert ask(session, b"GET", b"session", None, "wrong", host)[0] == 401


def test_what_ends_an_interpreter_ends_no_proxy(session: nbproxy.Session) -> None:
    for error in (SystemExit(3), StopIteration("over"), KeyboardInterrupt()):

        def fail(name: str | None, error: BaseException = error) -> None:
            raise error

        session.set_model = fail  # type: ignore[method-assign]
        status, answer = ask(session, b"POST", b"model", b'{"model": "bm25"}')
        assert (status, type(error).__name__ in answer["error"]["reason"]) == (500, True)  # type: ignore[index]
    assert search(session).status == 200


def exits(query: str, texts: list[str]) -> list[float]:
    raise SystemExit(3)


def test_a_model_that_exits_fails_open(session: nbproxy.Session) -> None:
    session.model = exits
    session.fields = lambda hit: sys.exit(4)
    assert search(session).status == 200
    session.fields = None
    assert search(session).status == 200
    row = session.frame.iloc[-1]
    assert (row.reason, row.error) == ("model-error", "RuntimeError: SystemExit: 3")
    assert session.running


def test_a_page_that_nobody_reads_holds_up_the_next(start: Start, json_upstream: Json) -> None:
    """One page at most waits for a client: the next request of its connection is not begun before."""
    session = start(json_upstream.url, model=backwards)
    json_upstream.answer = lambda *_: (200, {"hits": {"hits": []}, "padding": "x" * 4_000_000})
    for _ in range(3):
        search(session)
    asked = threading.Event()
    count = [0]
    read = session.pages.read

    def counted(*args: object, **options: object) -> object:
        count[0] += 1
        asked.set()
        return read(*args, **options)  # type: ignore[arg-type]

    session.pages.read = counted  # type: ignore[method-assign,assignment]
    request = b"GET /_nbproxy/rows?bulky=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
    with Client(session.url) as client:
        client.send(request % session.token.encode() * 3)
        assert asked.wait(TIMEOUT)
        assert ask(session, b"GET", b"errors")[0] == 200  # behind it on the same worker
        assert count == [1]
        assert [client.read().status for _ in range(3)] == [200, 200, 200]
    assert count == [3]


def test_the_model_is_switched_by_its_route(session: nbproxy.Session) -> None:
    assert ask(session, b"POST", b"model", b'{"model": "original"}')[1]["name"] == "original"  # type: ignore[index]
    assert session.model.name == "original"
    assert ask(session, b"POST", b"model", b'{"model": null}') == (200, None)
    assert session.model is None
    status, body = ask(session, b"POST", b"model", b'{"model": "unknown"}')
    assert (status, body["error"]["type"]) == (400, "nbproxy_unknown_model")  # type: ignore[index]
    assert ask(session, b"POST", b"model", b"[]")[0] == 400
    assert session.model is None


def test_a_view_that_polls_pushes_nothing_out(session: nbproxy.Session) -> None:
    search(session)
    with Client(session.url) as client:
        for _ in range(300):
            client.ask(b"GET", b"/_nbproxy/status")
    snapshot = session.snapshot()
    assert snapshot.last is not None
    assert [line.route for line in snapshot.lines] == ["search"]
    assert snapshot.status["recording"]["exchanges"] == 301
    own = session.frame[session.frame.route == "own"]
    assert own.response_body.isna().all()
    assert own.response_truncated.all()
    assert (own.bytes_out > 0).all()


def test_what_a_model_was_given_by_is_not_recorded(session: nbproxy.Session) -> None:
    body = b'{"role": "model", "source": "http://user:s3cret@localhost/?api_key=s3cret"}'
    assert ask(session, b"POST", b"load", body)[0] == 400
    row = session.frame.iloc[-1]
    assert (row.route, row.bytes_in, row.request_truncated) == ("own", len(body), True)
    assert row[["request_body", "response_body"]].isna().all()


def test_a_loading_model_holds_nobody_up(session: nbproxy.Session) -> None:
    loading, release = threading.Event(), threading.Event()

    def slow(name: str | None) -> None:
        loading.set()
        release.wait(TIMEOUT)

    session.set_model = slow  # type: ignore[method-assign]
    switched: list[int] = []
    switching = threading.Thread(
        target=lambda: switched.append(ask(session, b"POST", b"model", b'{"model": "bm25"}')[0])
    )
    switching.start()
    assert loading.wait(TIMEOUT)
    assert ask(session, b"GET", b"snapshot")[0] == 200
    assert search(session).status == 200
    release.set()
    switching.join(TIMEOUT)
    assert switched == [200]


def test_a_sight_is_one_search_side_by_side(session: nbproxy.Session) -> None:
    search(session)
    exchange_id = session.frame.exchange_id.iloc[0]
    status, sight = ask(session, b"GET", b"sight?exchange_id=" + exchange_id.encode())
    assert (status, sight["query"], len(sight["places"])) == (200, "red shoes", 50)  # type: ignore[index]


def test_who_waits_to_be_told_to_go_on_is_told(session: nbproxy.Session) -> None:
    with Client(session.url) as client:
        body = b'{"doc_id": "1", "query_id": "q", "position": 1}'
        client.send(
            b"POST /_nbproxy/click HTTP/1.1\r\nHost: %b\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % (client.authority, len(body))
        )
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.read(b"POST").status == 202
