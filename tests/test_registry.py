"""``start``: identity by name, what changes live, what restarts, what is kept; ports, forks, exits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import nbproxy
from nbproxy import ConfigError, SessionClosed

from .upstreams import TIMEOUT, Client, Json, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def zero(query: str, texts: list[str]) -> list[float]:
    return [0.0] * len(texts)


def test_the_same_settings_are_the_same_session(
    start: Start, json_upstream: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    session = start(json_upstream.url, model=zero, depth=20)
    capsys.readouterr()
    assert start(json_upstream.url, model=zero, depth=20) is session
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert session.url in line


def test_an_argument_left_out_keeps_its_live_value(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=zero, depth=20)
    session.depth = 30
    session.model = "original"
    start(json_upstream.url)
    assert (session.depth, session.model.name) == (30, "original")
    start(json_upstream.url, model=None, depth=50)
    assert (session.depth, session.model) == (50, None)


def test_a_live_change_does_not_restart(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    with Client(session.url) as client:
        assert client.ask(b"GET", b"/_cat").status == 200
        start(json_upstream.url, model=zero, min_score=0.5, deadline=1.0, fields=["title"])
        assert client.ask(b"GET", b"/_cat").status == 200  # the same connection lives on
    assert (session.min_score, session.deadline, session.fields) == (0.5, 1.0, ["title"])


def test_another_upstream_restarts_on_the_same_port_and_the_recording_goes_on(
    start: Start, json_upstream: Json, upstream: Scripted
) -> None:
    upstream.answers(OK)
    session = start(json_upstream.url, model=zero)
    url = session.url
    with Client(url) as client:
        client.ask(b"GET", b"/one")
    assert start(upstream.url) is session
    assert (session.url, session.upstream, session.model.name) == (url, upstream.url, "zero")
    with Client(url) as client:
        assert client.ask(b"GET", b"/two").body == b"ok"
    start()  # None means keep
    assert session.upstream == upstream.url
    assert list(session.frame.target) == ["/one", "/two"]
    assert session.status["counts"]["route"] == {"pass": 2}


def test_names_run_side_by_side(start: Start, json_upstream: Json) -> None:
    one, two = start(json_upstream.url, name="one"), start(json_upstream.url, name="two")
    assert one is not two
    assert one.port != two.port


def test_after_stop_defaults_return_but_the_port_stays(start: Start, json_upstream: Json) -> None:
    first = start(json_upstream.url, depth=9)
    port = first.port
    first.stop()
    first.stop()
    second = start(json_upstream.url)
    assert second is not first
    assert (second.port, second.depth) == (port, 50)
    with pytest.raises(SessionClosed, match="stopped"):
        first.model = zero
    assert "stopped" in repr(first)
    assert len(first.frame) == 0


def test_a_port_in_use_names_its_owner(start: Start, json_upstream: Json) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is in use.*process {os.getpid()}"):
            start(json_upstream.url, port=port)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(upstream="ftp://a"), "http://host:port"),
        (dict(upstream="http://a:99999"), "port"),
        (dict(depth=0), "depth"),
        (dict(deadline=-1), "deadline"),
        (dict(timeout="soon"), "timeout"),
        (dict(dialect="sparql"), "elasticsearch"),
        (dict(model=object()), "callable"),
        (dict(model="/no/such/folder"), "/no/such/folder"),
        (dict(host_header="drop"), "preserve"),
        (dict(headers={"X": "a\r\nb"}), "headers"),
        (dict(headers=3), "headers"),
        (dict(record=3), "record"),
        (dict(drain=-1), "drain"),
        (dict(fingerprint="abc"), "64 hex"),
        (dict(auth=1), "auth"),
        (dict(port=70000), "port"),
        (dict(redact="yes"), "callable"),
        (dict(limits=3), "Limits"),
    ],
)
def test_bad_arguments_are_told_what_to_do_and_leave_nothing(
    start: Start, arguments: dict[str, object], message: str
) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigError, match=re.escape(message)):
        start(**{"upstream": "http://127.0.0.1:9", **arguments})
    assert threading.active_count() <= before


def test_unknown_arguments_are_a_type_error(start: Start) -> None:
    with pytest.raises(TypeError, match="dept"):
        nbproxy.start("http://127.0.0.1:9", dept=3)


def test_listening_for_all_is_warned_of(start: Start, json_upstream: Json) -> None:
    with pytest.warns(UserWarning, match="everybody who reaches this machine"):
        session = start(json_upstream.url, host="0.0.0.0")
    assert session.url.startswith("http://127.0.0.1:")


def test_with_stops_and_the_switch_interval_comes_back(json_upstream: Json) -> None:
    before = sys.getswitchinterval()
    with nbproxy.start(json_upstream.url, name="with", record=False) as session:
        assert sys.getswitchinterval() == pytest.approx(1e-5)
        assert session.running
    assert not session.running
    assert sys.getswitchinterval() == pytest.approx(before)


def script(code: str, tmp_path: Path) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_an_exit_is_not_held_up_by_a_model(tmp_path: Path, json_upstream: Json) -> None:
    process = script(
        f"""
        import threading, urllib.request, nbproxy
        scoring = threading.Event()
        def forever(query, texts):
            scoring.set()
            threading.Event().wait()
        session = nbproxy.start("{json_upstream.url}", model=forever, record=False, deadline=None)
        ask = lambda: urllib.request.urlopen(session.url + "/books/_search?q=red").read()
        threading.Thread(target=ask, daemon=True).start()
        scoring.wait()
        """,
        tmp_path,
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


def test_a_forks_child_closes_its_copies(tmp_path: Path, json_upstream: Json) -> None:
    process = script(
        f"""
        import os, socket, sys, warnings, nbproxy
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here
        session = nbproxy.start("{json_upstream.url}", record=False)
        ours, theirs = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                session.model = None
            except nbproxy.SessionClosed:
                os.write(ours[1], b"closed")
            os.read(theirs[0], 1)
            os._exit(0)
        assert os.read(ours[0], 6) == b"closed"
        port = session.port
        socket.create_connection(("127.0.0.1", port)).close()
        session.stop()
        with socket.create_server(("127.0.0.1", port)):  # the child holds no copy of the listening socket
            pass
        os.write(theirs[1], b"x")
        os.waitpid(pid, 0)
        print("done")
        """,
        tmp_path,
    )
    out, errors = process.communicate(timeout=30)
    assert out.endswith("done\n"), errors


def test_a_recording_survives_a_kill(tmp_path: Path, json_upstream: Json) -> None:
    process = script(
        f"""
        import os, signal, urllib.request, nbproxy
        session = nbproxy.start("{json_upstream.url}", model="bm25", record="{tmp_path / "rec"}")
        for n in range(30):
            urllib.request.urlopen(session.url + f"/books/_search?q=red+{{n}}").read()
        session.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    recording = nbproxy.load(tmp_path / "rec")
    assert list(recording.frame["query"]) == [f"red {n}" for n in range(30)]
    assert recording.hits.exchange_id.nunique() == 30
    assert recording.json(recording.frame.exchange_id.iloc[-1])["hits"]["hits"]
    assert recording.compare().summary.n_queries.tolist() == [30]


def test_wait_ends_with_the_session_and_an_interrupt_gets_through(tmp_path: Path, json_upstream: Json) -> None:
    process = script(
        f"""
        import nbproxy
        session = nbproxy.start("{json_upstream.url}", record=False)
        try:
            print("ready", flush=True)
            session.wait()
        except KeyboardInterrupt:
            session.stop()
            print("interrupted", session.wait())
        """,
        tmp_path,
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        pass
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=TIMEOUT * 3)
    assert out == "interrupted True\n", errors


@pytest.mark.parametrize(
    "arguments",
    [
        dict(timeout="soon"),
        dict(drain="long"),
        dict(host="192.0.2.1"),
        dict(ca="/no/such/file"),
        dict(depth=3, record="/dev/null/not/a/directory"),
        dict(model="original", depth=0),
        dict(depth=3, drain=-1),
    ],
)
def test_what_cannot_be_used_leaves_a_running_session_as_it_is(
    start: Start, json_upstream: Json, arguments: dict[str, Any]
) -> None:
    session = start(json_upstream.url, model="bm25")
    url = session.url
    changed = session.depth if "record" not in arguments else 3  # what can be used was applied before
    with pytest.raises(ConfigError):
        start(**arguments)
    assert (session.url, session.model.name, session.depth) == (url, "bm25", changed)
    with Client(url) as client:
        assert client.ask(b"GET", b"/still").status == 200
    assert list(session.frame.target) == ["/still"]


def test_a_port_that_is_taken_leaves_a_running_session_where_it_is(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="in use"):
        start(port=taken.getsockname()[1])
    with Client(session.url) as client:
        assert client.ask(b"GET", b"/still").status == 200


@pytest.mark.parametrize("record", [False, True])
def test_another_redaction_holds_from_then_on(start: Start, json_upstream: Json, tmp_path: Path, record: bool) -> None:
    def redact(exchange: nbproxy.Exchange) -> nbproxy.Exchange:
        return msgspec.structs.replace(exchange, target="/redacted")

    session = start(json_upstream.url, record=tmp_path if record else False)
    for change in (dict(redact=redact), dict(redact=None)):
        with Client(session.url) as client:
            client.ask(b"GET", b"/open")
        nbproxy.start(name=session.name, **change)
        with Client(session.url) as client:
            client.ask(b"GET", b"/later")
    assert list(session.frame.target) == ["/open", "/redacted", "/redacted", "/later"]


def test_another_recording_takes_the_token_with_it(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, record=tmp_path / "one")
    start(record=tmp_path / "two")
    assert not list((tmp_path / "one").glob("token-*"))
    assert session.token_file.parent == tmp_path / "two"
    with Client(session.url) as client:
        client.ask(b"GET", b"/two")
    start(record=str(tmp_path / "two"))  # the same directory: the recording goes on
    assert list(session.frame.target) == ["/two"]
    session.stop()
    assert not list(tmp_path.glob("*/token-*"))
