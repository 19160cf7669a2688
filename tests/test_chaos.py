"""Hard to break: an upstream that misbehaves, clients that leave, signals, forks, floods, stops in the middle of it.

``NBPROXY_CHAOS_SECONDS=60`` lets the first test run that long (as ``python -m tests.chaos`` does), and
``NBPROXY_IDLE=10000`` says how many connections idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h11
import pytest

import nbproxy
from nbproxy import Limits, Timeouts, background

from .chaos.load import report, run, tasks_of
from .chaos.upstream import Chaotic
from .processes import line_of, said, settled
from .upstreams import TIMEOUT, Client, Conversation, Json, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SEARCH = b'{"query":{"match":{"title":"red"}}}'
both = pytest.mark.usefixtures("both_loops")
SECONDS = float(os.environ.get("NBPROXY_CHAOS_SECONDS", "0"))
IDLE = int(os.environ.get("NBPROXY_IDLE", "2000"))
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks")


@both
@pytest.mark.parametrize("seed", [1, 2])
def test_no_answer_is_lost_or_crossed_and_nothing_leaks(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("nbproxy"), "disabled", True)  # pytest keeps records, and so tracebacks
    with Chaotic(seed) as upstream:
        result = run(upstream, str(tmp_path), requests=None if SECONDS else 800, seconds=SECONDS)
    assert report(result) == 0
    assert result.grown < 300_000_000


# -- upstream


@both
@pytest.mark.parametrize("end", [b"", b"0\r\n", b"zz\r\n"])
def test_a_cut_answer_is_seen_to_be_cut_by_http10_too(start: Start, upstream: Scripted, end: bytes) -> None:
    """There the end of the connection is the end of the body: only a reset tells the difference."""
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n" + end
    upstream.handler = lambda talk: (talk.request(), talk.send(cut))[1]
    session = start(upstream.url)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError), client.socket.makefile("rb") as file:
            file.read()


def test_nothing_is_printed_when_an_upload_breaks(
    start: Start, upstream: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "new_loop", asyncio.new_event_loop)  # uvloop does not log it
    upstream.handler = lambda talk: (talk.head(), talk.reset(), None)[2]
    session = start(upstream.url)
    for _ in range(4):
        with Client(session.url) as client:
            chunks = b"1\r\nx\r\n" * 20_000
            with contextlib.suppress(ConnectionError):
                client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")
            client.read(b"PUT")
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@both
def test_an_upstream_that_restarts_is_used_again_at_once(start: Start, opened: Callable[..., Client]) -> None:
    with Scripted() as upstream:
        upstream.answers(OK)
        session = start(upstream.url, model="original")
        clients = [opened(session) for _ in range(8)]
        assert [client.ask(b"GET").status for client in clients] == [200] * 8
    for target in (b"/", b"/books/_search"):
        assert [client.ask(b"POST", target, SEARCH).status for client in clients] == [502] * 8
        assert [client.ask(b"DELETE", target + b"x").status for client in clients] == [502] * 8
    with Scripted(port=upstream.port) as again:
        again.answers(OK)
        assert [client.ask(b"POST", b"/", SEARCH).status for client in clients] == [200] * 8
        assert [client.ask(b"GET", b"/books/_search").status for client in clients] == [200] * 8
    assert session.frame.status.tolist() == [200] * 8 + [502] * 32 + [200] * 16


SERVER = """
    import sys
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        do_POST = do_GET
        def log_message(self, *_): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@unix
@both
def test_a_stopped_upstream_is_504_and_hurts_nobody_else(
    start: Start, upstream: Scripted, process: Callable[[str], Any]
) -> None:
    upstream.answers(OK)
    child = process(SERVER)
    options: dict[str, Any] = dict(timeout=Timeouts(connect=0.3, read=0.3), model="original")
    session = start(f"http://127.0.0.1:{line_of(child)}", **options)
    other = start(upstream.url, name="other", model="original")
    with ThreadPoolExecutor(8) as pool, Client(other.url) as beside, Client(session.url) as known:
        assert known.ask(b"GET").status == 200
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)  # the signal takes its time

        def ask(n: int) -> int:
            with Client(session.url) as client:
                return client.ask(b"POST", (b"/", b"/books/_search")[n % 2], SEARCH).status

        waiting = [pool.submit(ask, n) for n in range(8)]
        assert known.ask(b"GET").status == 504
        for _ in range(20):
            assert beside.ask(b"POST", b"/books/_search", SEARCH).status == 200
            with Client(session.url) as client:
                assert client.ask(b"GET", b"/_nbproxy/status").status == 200
        assert [future.result() for future in waiting] == [504] * 8
        child.send_signal(signal.SIGCONT)
        while ask(0) != 200 or ask(1) != 200:
            pass  # it wakes up with a queue before it


@pytest.mark.parametrize("target", [b"/", b"/books/_search"])
def test_a_signing_callable_that_fails_is_told(start: Start, json_upstream: Json, target: bytes) -> None:
    def sign(request: object) -> dict[str, str]:
        raise RuntimeError("no key")

    session = start(json_upstream.url, model="original", auth=sign)
    with Client(session.url) as client:
        client.socket.settimeout(1)
        assert client.ask(b"POST", target, SEARCH).status in (500, 502)
    assert len(session.frame) == 1
    assert "could not sign" in session.errors[-1].message


@both
def test_an_upload_is_read_no_faster_than_it_is_taken(start: Start, upstream: Scripted) -> None:
    go, size = threading.Event(), 60_000_000

    def handler(talk: Conversation) -> None:
        talk.head()
        go.wait(TIMEOUT)
        left = size - len(talk.buffer)
        while left:
            left -= len(talk.socket.recv(min(left, 1 << 20)))
        talk.send(OK)

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(read=None))
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.socket.settimeout(0.2)
        sent, piece = 0, b"x" * 1_000_000
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.socket.send(piece[: size - sent])
        assert sent < size  # what sockets hold, and little more
        client.socket.settimeout(TIMEOUT)
        go.set()
        client.send(b"x" * (size - sent))
        assert client.read(b"PUT").status == 200


# -- clients


def backwards(query: str, texts: list[str]) -> list[float]:
    return [float(n) for n in range(len(texts))]


UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nfirst"
ASKED = b"POST /books/_search HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SEARCH), SEARCH)
MOMENTS = {
    "in its upload": (UPLOAD, b""),
    "in its search": (ASKED[:-1], None),
    "before an answer": (GET, b""),
    "in an answer's head": (GET, b"HTTP/1.1 200 OK\r\nContent-"),
    "in an answer's body": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    "before a search's answer": (ASKED, b""),
    "in a search's answer": (ASKED, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
}


@both
@pytest.mark.parametrize(
    ("moment", "how"),
    [*((moment, "reset") for moment in MOMENTS), *((moment, "close") for moment in list(MOMENTS)[:2])],
)
def test_who_leaves_takes_its_upstream_connection_along(
    start: Start, upstream: Scripted, moment: str, how: str
) -> None:
    raw, answer = MOMENTS[moment]
    reached, freed = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        if upstream.accepted > 1:
            talk.request()
            talk.send(OK)
            talk.closed()
            return
        talk.until(b"first" if raw is UPLOAD else b"\r\n\r\n" if raw is GET else b"red")
        talk.send(answer or b"")
        reached.set()
        while not talk.closed():
            pass
        freed.set()

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    client = Client(session.url)
    client.send(raw)
    if answer is not None:
        assert reached.wait(TIMEOUT)
    getattr(client, how)()
    if answer is not None:
        assert freed.wait(TIMEOUT)
    with Client(session.url) as after:
        if answer is None:
            upstream.answers(OK)
        assert after.ask(b"GET").body == b"ok"
    assert settled(session, lambda: len(session.frame) == 2)
    assert session.frame.error[0] == "the client closed the connection"
    assert upstream.accepted == (1 if answer is None else 2)
    assert settled(session, lambda: tasks_of(session) == 0)


@both
def test_who_leaves_while_we_connect_leaves_nothing(start: Start) -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [stack.enter_context(socket.socket()) for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        session = start(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=Timeouts(connect=0.5), model=backwards)
        for raw in (GET, ASKED, UPLOAD):
            client = Client(session.url)
            client.send(raw)
            settled(session, lambda: tasks_of(session) > 0)
            client.reset()
        assert settled(session, lambda: len(session.frame) == 3)
        assert set(session.frame.error) == {"the client closed the connection"}
        assert settled(session, lambda: tasks_of(session) == 0)


@both
def test_who_leaves_while_a_model_scores_is_recorded(start: Start, json_upstream: Json) -> None:
    scoring, go = threading.Event(), threading.Event()

    def slow(query: str, texts: list[str]) -> list[float]:
        scoring.set()
        go.wait(TIMEOUT)
        return backwards(query, texts)

    session = start(json_upstream.url, model=slow, deadline=None)
    client = Client(session.url)
    client.send(ASKED)
    assert scoring.wait(TIMEOUT)
    client.reset()
    assert settled(session, lambda: len(session.frame) == 1)
    assert session.frame.error[0] == "the client closed the connection"
    assert settled(session, lambda: tasks_of(session) == 0)
    go.set()
    with Client(session.url) as after:
        assert after.ask(b"POST", b"/books/_search", SEARCH).json["hits"]["hits"][0]["_id"] == "49"
    assert session.frame.reranked.tolist() == [False, True]


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


@both
@pytest.mark.parametrize(
    "who",
    [
        "client resets",
        "client closes",
        "upstream resets",
        "upstream closes",
        "stop",
    ],
)
def test_a_tunnel_ends_on_both_sides(start: Start, upstream: Scripted, who: str) -> None:
    ended = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(SWITCH)
        talk.exactly(4)
        if who.startswith("upstream"):
            talk.reset() if who.endswith("resets") else talk.close()
        else:
            talk.closed()
        ended.set()

    upstream.handler = handler
    session = start(upstream.url, drain=0)
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert talk.head() == SWITCH
        talk.send(b"ping")
        if who == "stop":
            session.stop()
        elif who.startswith("client"):
            client.reset() if who.endswith("resets") else client.close()
        assert ended.wait(TIMEOUT)
        if not who.startswith("client"):
            assert client.rest() == b""
    assert settled(session, lambda: len(session.frame) == 1)
    assert session.frame.status.tolist() == [101]
    assert who == "stop" or settled(session, lambda: tasks_of(session) == 0)


@both
def test_pipelined_and_half_closed_is_answered_in_order(start: Start, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        while True:
            target = talk.request()[0].split()[1]
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    upstream.handler = handler
    session = start(upstream.url)
    with Client(session.url) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(300)))
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.read().body for _ in range(300)] == [b"/%d" % n for n in range(300)]
        assert client.rest() == b""


@both
def test_a_flood_is_refused_and_those_inside_go_on(start: Start, upstream: Scripted) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=10))
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(Client(session.url)) for _ in range(10)]
        assert [client.ask(b"GET").status for client in inside] == [200] * 10
        for _ in range(5):
            flood = [stack.enter_context(Client(session.url)) for _ in range(100)]
            for client in flood:
                client.send(GET)
            assert [client.ask(b"GET").status for client in inside] == [200] * 10
            assert {client.read().status for client in flood} == {503}
    assert len(session.frame) == 60


@both
def test_thousands_idle_and_one_is_served(start: Start, upstream: Scripted) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE, (hard if hard > 0 else 1 << 20) // 2 - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * count + 200), hard))
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=None))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Client(session.url)) for _ in range(count)]
        for client in (idle[0], idle[count // 2], idle[-1]):
            assert client.ask(b"GET").status == 200
        with Client(session.url) as one:
            assert {one.ask(b"GET").status for _ in range(50)} == {200}
        for client in idle[:: count // 100]:
            assert client.ask(b"GET").status == 200
        session.stop()
        assert {client.rest() for client in idle} == {b""}
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@unix
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_when_descriptors_run_out_it_goes_on_once_there_are_some(
    process: Callable[[str], Any], upstream: Scripted, loop: str
) -> None:
    """And it says so once for each time that it looks, which asyncio does once a second: it does not spin."""
    upstream.answers(OK)
    child = process(
        f"""
        import asyncio, logging, resource, nbproxy
        from nbproxy import background
        if {loop == "asyncio"}:
            background.new_loop = asyncio.new_event_loop
        noted = []
        def note(record):
            if not noted:
                print("full", flush=True)
            noted.append(record)
        logging.getLogger("asyncio").addFilter(note)
        session = nbproxy.start({upstream.url!r}, record=False, model=lambda query, texts: [0.0] * len(texts))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        print(session.port, flush=True)
        input()
        print(len(noted), flush=True)
        session.stop()
        print("stopped", flush=True)
        """
    )
    line_of(child)
    url = f"http://127.0.0.1:{line_of(child)}"
    clients = [Client(url) for _ in range(100)]
    for client in clients:
        client.send(GET)
    if loop == "asyncio":  # it leaves them in the queue
        said(child, "full")
    else:  # it drops them
        assert not all(answered(client) for client in clients)
    for client in clients:
        client.close()
    assert any(served(url) for _ in range(1000))  # at the latest when the last of them is noticed to have gone
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    notes = int(line_of(child))
    assert 0 < notes < 1000 if loop == "asyncio" else notes == 0
    said(child, "stopped")


def served(url: str) -> bool:
    with contextlib.suppress(ConnectionError), Client(url) as client:
        client.send(GET)
        return answered(client)
    return False


def answered(client: Client) -> bool:
    with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
        return client.read().status == 200
    return False
