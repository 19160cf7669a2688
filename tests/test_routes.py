"""Our own routes: who may ask, what is refused, nothing of them goes upstream."""

from __future__ import annotations

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
        return answer.status, answer.json if answer.body else None


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
    if status >= 400:
        assert body["status"] == status  # type: ignore[index]
        assert body["error"]["type"].startswith("nbproxy_")  # type: ignore[index]
    assert not json_upstream.requests
    assert session.frame.route.iloc[-1] == "own"


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
