"""Stopping in the middle of it all; what a kernel goes through: interrupts and forks."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import h11
import pytest

import nbproxy

from .processes import line_of, said, settled
from .upstreams import TIMEOUT, Client, Conversation, Json, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SEARCH = b'{"query":{"match":{"title":"red"}}}'
UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nfirst"
ASKED = b"POST /books/_search HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SEARCH), SEARCH)
both = pytest.mark.usefixtures("both_loops")
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks")


def backwards(query: str, texts: list[str]) -> list[float]:
    return [float(n) for n in range(len(texts))]


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("nbproxy")}


@both
def test_stopping_in_traffic(start: Start, json_upstream: Json) -> None:
    """From several threads at once, in the middle of many exchanges: each answer is whole or has not begun."""
    session = start(json_upstream.url, model=backwards, drain=TIMEOUT)
    busy = threading.Barrier(13)
    answers: list[int] = []

    def ask(n: int) -> None:
        with Client(session.url) as client, contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
            answers.append(client.ask(b"GET").status)
            busy.wait(TIMEOUT)
            while True:
                answers.append(client.ask(b"POST", (b"/x", b"/books/_search")[n % 2], SEARCH).status)

    clients = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in clients:
        thread.start()
    busy.wait(TIMEOUT)
    stops = [threading.Thread(target=session.stop) for _ in range(4)]
    for thread in stops:
        thread.start()
    for thread in [*stops, *clients]:
        thread.join(3 * TIMEOUT)
        assert not thread.is_alive()
    assert set(answers) == {200}
    assert not session.running
    session.stop()
    port = session.port
    again = start(json_upstream.url, model=backwards, port=port)
    assert again.port == port
    with Client(again.url) as client:
        assert client.ask(b"POST", b"/books/_search", SEARCH).status == 200
    assert len(session.frame) >= len(answers)


@both
@pytest.mark.parametrize("drain", [0, 0.2])
def test_stopping_while_nothing_moves(
    start: Start, upstream: Scripted, opened: Callable[..., Client], drain: float
) -> None:
    """Whatever is waited for, and for whom: what is left after ``drain`` is dropped, and recorded."""
    asked, scoring, go = threading.Semaphore(0), threading.Event(), threading.Event()
    others = ours()
    full = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"

    def handler(talk: Conversation) -> None:
        head = talk.head()
        asked.release()
        if b"/large" in head:
            talk.send(full, *[b"x" * 1_000_000] * 1000)
        elif b"_search" in head:
            talk.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(ONE), ONE))
        elif b"/upload" in head:
            talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1000)
            go.wait(TIMEOUT)
        while not talk.closed():
            pass

    def forever(query: str, texts: list[str]) -> list[float]:
        scoring.set()
        go.wait(TIMEOUT)
        return [0.0] * len(texts)

    upstream.handler = handler
    session = start(upstream.url, model=forever, deadline=None, drain=drain)
    for raw in (GET, GET.replace(b"/ ", b"/large "), UPLOAD, ASKED):
        opened(session).send(raw)
    for raw in (b"", b"GET /", ASKED[:-1]):
        opened(session).send(raw)
    flooding = opened(session)
    flooding.socket.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        flooding.send(
            b"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", *[b"x" * 1_000_000] * 100
        )
    for _ in range(5):
        assert asked.acquire(timeout=TIMEOUT)
    assert scoring.wait(TIMEOUT)
    stopping = threading.Thread(target=session.stop)
    stopping.start()
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    go.set()
    gc.collect()  # what an exchange cut short had in hand lets go of the model, and so of its thread
    assert settled(session, lambda: not ours() - others)
    assert len(session.frame) == 6
    assert session.frame.error.notna().all()


@pytest.mark.parametrize("how", ["served", "shadow", "swapped out", "fields"])
def test_stopping_whatever_a_model_is_doing(start: Start, json_upstream: Json, how: str) -> None:
    """A call that never ends holds up neither the end nor, when it ends after all, anything else."""
    asked, go = threading.Event(), threading.Event()
    others = ours()

    def stuck(query: Any, texts: Any = None) -> Any:
        asked.set()
        go.wait(TIMEOUT)
        return "text" if texts is None else backwards(query, texts)

    model = backwards if how in ("shadow", "fields") else stuck
    session = start(json_upstream.url, model=model, deadline=None, drain=0.1)
    if how == "fields":
        session.fields = stuck
    if how == "shadow":
        session.shadow = {"stuck": stuck}
    with Client(session.url) as client:
        client.send(ASKED)
        assert asked.wait(TIMEOUT)
        if how == "swapped out":
            session.model = backwards
        stopping = threading.Thread(target=session.stop)
        stopping.start()
        stopping.join(TIMEOUT / 2)  # long before the call ends
        assert not stopping.is_alive()
        assert not go.is_set()
    go.set()
    gc.collect()
    assert settled(session, lambda: not ours() - others)
    assert len(session.frame) == 1


@unix
@pytest.mark.parametrize("call", ["threading.Event().wait()", "ctypes.CDLL(None).pause()"])
def test_an_exit_whatever_a_model_is_doing(process: Callable[[str], Any], json_upstream: Json, call: str) -> None:
    """In Python or in C: at the interpreter's end nobody waits for it, however long ``drain`` is."""
    child = process(
        f"""
        import ctypes, threading, nbproxy
        from tests.upstreams import Client
        began = threading.Event()
        def stuck(query, texts):
            began.set()
            {call}
        session = nbproxy.start("{json_upstream.url}", model=stuck, record=False, deadline=None, drain=3600)
        session.shadow = {{"also": lambda query, texts: stuck(query, texts)}}
        client = Client(session.url)
        client.send({ASKED!r})
        began.wait()
        print("leaving", flush=True)
        """
    )
    said(child, "leaving")
    assert child.wait(TIMEOUT) == 0


ONE = b'{"hits":{"hits":[{"_id":"1","_index":"b","_source":{"title":"x"}}]}}'


@unix
def test_an_interrupt_is_not_for_the_proxy(process: Callable[[str], Any], upstream: Scripted) -> None:
    """Interrupting a kernel signals its whole process group."""
    upstream.answers(OK)
    child = process(
        f"""
        import nbproxy
        session = nbproxy.start("{upstream.url}", record=False)
        print(session.url, flush=True)
        for _ in range(3):
            try:
                print("busy", flush=True)
                while True:
                    sum(range(1000))
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        session.stop()
        print("stopped", flush=True)
        """
    )
    line_of(child)
    url = line_of(child)
    with Client(url) as client:
        for _ in range(3):
            said(child, "busy")
            assert client.ask(b"GET").status == 200
            os.killpg(child.pid, signal.SIGINT)
            said(child, "interrupted")
    said(child, "stopped")


@unix
def test_an_interrupted_stop_ends_at_once_and_leaves_nothing(process: Callable[[str], Any], upstream: Scripted) -> None:
    asked, go = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        asked.set()
        go.wait(TIMEOUT)
        talk.send(OK)
        talk.closed()

    upstream.handler = handler
    child = process(
        f"""
        import threading, nbproxy
        session = nbproxy.start("{upstream.url}", record=False, drain=60)
        print(session.url, flush=True)
        try:
            input()
            session.stop()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        session.stop()
        print([t.name for t in threading.enumerate() if t.name.startswith("nbproxy")], session.running, flush=True)
        """
    )
    line_of(child)
    url = line_of(child)
    with Client(url) as client:
        client.send(GET)
        assert asked.wait(TIMEOUT)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        while served(url):
            pass
        os.killpg(child.pid, signal.SIGINT)
        said(child, "interrupted")
        assert line_of(child) == "[] False"
        go.set()
        with pytest.raises((ConnectionError, h11.RemoteProtocolError)):
            client.read()


def served(url: str) -> bool:
    """Whether it still accepts connections."""
    with contextlib.suppress(ConnectionError), Client(url):
        return True
    return False


@both
def test_another_upstream_in_traffic(start: Start, upstream: Scripted) -> None:
    """The restart that it takes: exchanges end where they began, clients come again."""
    upstream.answers(OK)
    with Scripted() as second:
        second.answers(OK.replace(b"ok", b"OK"))
        session = start(upstream.url, drain=TIMEOUT)
        ended = threading.Event()
        answers: queue.Queue[bytes] = queue.Queue()

        def ask() -> None:
            while not ended.is_set():
                with contextlib.suppress(ConnectionError, h11.RemoteProtocolError), Client(session.url) as client:
                    for _ in range(5):
                        answers.put(client.ask(b"GET").body)

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for thread in clients:
            thread.start()
        for place, answer in ((upstream, b"ok"), (second, b"OK"), (upstream, b"ok"), (second, b"OK")):
            assert start(place.url) is session
            while answers.get(timeout=TIMEOUT) != answer:
                pass
        ended.set()
        for thread in clients:
            thread.join(2 * TIMEOUT)
            assert not thread.is_alive()


@unix
def test_the_parent_of_a_fork_goes_on(process: Callable[[str], Any], upstream: Scripted) -> None:
    upstream.answers(OK)
    child = process(
        f"""
        import multiprocessing, os, sys, warnings, nbproxy
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here
        from tests.upstreams import Client
        session = nbproxy.start("{upstream.url}", record=False)
        def work(queue):
            for act in (lambda: session.frame, lambda: setattr(session, "depth", 3), lambda: session.status):
                try:
                    act()
                except nbproxy.SessionClosed as error:
                    queue.put(str(error))
            session.stop()  # another process's: nothing
            own = nbproxy.start("{upstream.url}", record=False)
            with Client(own.url) as client:
                queue.put(client.ask(b"GET").status)
            own.stop()
        with Client(session.url) as client:
            assert client.ask(b"GET").status == 200
            for method in ("fork", "fork", "fork"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                process = context.Process(target=work, args=(queue,))
                process.start()
                said = [queue.get() for _ in range(4)]
                process.join()
                assert process.exitcode == 0
                assert all("forked" in text for text in said[:3]), said
                assert said[3] == 200
                assert client.ask(b"GET").status == 200
                with Client(session.url) as another:
                    assert another.ask(b"GET").status == 200
        pid = os.fork()
        if pid == 0:
            sys.exit(7)  # by way of its exit handlers
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        with Client(session.url) as client:
            assert client.ask(b"GET").status == 200
        assert session.token_file.exists()
        assert len(session.frame) == 8
        session.stop()
        print("done", flush=True)
        """
    )
    said(child, "done")


def test_asyncios_logger_stays_quiet(start: Start, json_upstream: Json, caplog: pytest.LogCaptureFixture) -> None:
    """Stopping with clients in every state leaves no "Task was destroyed" or "exception was never retrieved"."""
    caplog.set_level(logging.WARNING, "asyncio")
    session = start(json_upstream.url, model=backwards, drain=0.1)
    with contextlib.ExitStack() as stack:
        for raw in (b"", b"GET /", GET, UPLOAD, ASKED, ASKED[:-1], GET * 3):
            stack.enter_context(Client(session.url)).send(raw)
        with Client(session.url) as client:
            assert client.ask(b"GET").status == 200
        session.stop()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
