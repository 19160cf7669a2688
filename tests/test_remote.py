"""A proxy in another process, asked by its own routes: a real session, real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nbproxy
from nbproxy import ConfigError, SessionClosed
from nbproxy.places import runtime_directory
from nbproxy.remote import Note, Remote, _is_loopback, announce, find_running, notes

from .test_searches import backwards, search
from .upstreams import Json, Scripted

Start = Callable[..., nbproxy.Session]


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(params=["memory", "disk"])
def session(request: pytest.FixtureRequest, start: Start, json_upstream: Json, tmp_path: Path) -> nbproxy.Session:
    record = tmp_path / "recording" if request.param == "disk" else False
    return start(json_upstream.url, name=f"remote-{request.param}", model=backwards, record=record)


def test_the_token_is_found_and_the_controls_are_the_sessions(session: nbproxy.Session) -> None:
    search(session)
    remote = Remote(session.url)
    assert (remote.url, remote.name) == (session.url, session.name)
    far, near = remote.snapshot(), session.snapshot()
    exchange_id = near.last.exchange_id if near.last else ""
    assert far.last == near.last
    assert exchange_id in {line.exchange_id for line in far.lines}
    assert far.models == near.models
    assert remote.sight(exchange_id) == session.sight(exchange_id)
    assert remote.sight("no such/ä&exchange") is None


def test_the_token_is_found_where_tokens_lie_without_the_sessions_note(session: nbproxy.Session) -> None:
    for path in runtime_directory().glob("proxy-*"):
        path.unlink()
    assert Remote(session.url.replace("127.0.0.1", "localhost")).snapshot(1).status["name"] == session.name


def test_models_are_switched(session: nbproxy.Session) -> None:
    remote = Remote(session.url, session.token)
    for name, served in (("bm25", "bm25"), ("none", None), ("original", "original"), (None, None)):
        remote.set_model(name)
        assert (session.model.name if session.model else None) == served
    with pytest.raises(ConfigError, match="no model is called 'nothing'"):
        remote.set_model("nothing")


def test_a_wrong_token_says_what_to_give(session: nbproxy.Session) -> None:
    for wrong in ("wrong", "wröng"):
        remote = Remote(session.url, wrong)
        assert remote.status()["state"] == "running"
        with pytest.raises(ConfigError, match="token"):
            remote.snapshot()


def test_where_no_token_lies_one_must_be_given(session: nbproxy.Session, tmp_path: Path) -> None:
    for path in tmp_path.rglob("token-*"):
        path.unlink()
    with pytest.raises(ConfigError, match="give token="):
        Remote(session.url)


def test_a_session_that_came_back_on_the_same_port_has_a_new_token(start: Start, json_upstream: Json) -> None:
    first = start(json_upstream.url)
    remote = Remote(first.url)
    first.stop()
    with pytest.raises(SessionClosed, match="nothing answers at"):
        remote.snapshot()
    second = start(json_upstream.url)
    assert second.url == first.url
    assert second.token != first.token
    assert remote.snapshot().status["state"] == "running"


def test_what_is_no_nbproxy_says_so(json_upstream: Json) -> None:
    with pytest.raises(ConfigError, match="is not an nbproxy: give the proxy's address"):
        Remote(json_upstream.url)


def test_what_is_no_http_says_so(upstream: Scripted) -> None:
    upstream.handler = lambda talk: (talk.head(), talk.send(b"+OK hello\r\n"))
    with pytest.raises(SessionClosed, match="nothing answers"):
        Remote(upstream.url)


def test_a_proxy_that_does_not_answer_is_not_waited_for(upstream: Scripted) -> None:
    upstream.handler = lambda talk: talk.until(b"never")
    with pytest.raises(SessionClosed, match=r"did not answer within 0\.05 s"):
        Remote(upstream.url, timeout=0.05)


@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1:1", "http://127.0.0.1:port", "127.0.0.1:99999"])
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a proxy's address"):
        Remote(url)


def test_a_token_is_looked_for_only_on_this_machine(session: nbproxy.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbproxy.remote._is_loopback", lambda url: False)
    with pytest.raises(ConfigError, match="on another machine: give token="):
        Remote(session.url)
    assert Remote(session.url, session.token).snapshot(1).status["name"] == session.name


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("[::1]", True), ("localhost", True), ("127.evil.example", False),
     ("127.0.0.1.evil.example", False), ("localhost.evil.example", False), ("10.0.0.1", False), ("[::2]", False)],
)  # fmt: skip
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    assert _is_loopback(f"http://{host}:9") == loopback


def test_looking_adds_nothing_to_the_recording(session: nbproxy.Session) -> None:
    search(session)
    remote = Remote(session.url)
    remote.status()
    remote.sight(remote.snapshot().last.exchange_id)  # type: ignore[union-attr]
    assert find_running() == session.url
    assert session.frame.route.tolist() == ["search"]


def test_the_newest_running_proxy_is_found(start: Start, json_upstream: Json) -> None:
    assert find_running() is None
    one = start(json_upstream.url, name="one")
    assert find_running() == one.url
    two = start(json_upstream.url, name="two")
    assert {note.url for note in notes()} == {one.url, two.url}
    assert find_running() == two.url
    two.stop()
    assert find_running() == one.url
    assert Remote(find_running() or "").name == "one"
    one.stop()
    assert find_running() is None
    assert not list(runtime_directory().glob("*-*"))


def test_a_note_is_private_and_goes_once_its_process_has(tmp_path: Path) -> None:
    left = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    path = announce("dead", url="http://127.0.0.1:9", name="dead", token_file=tmp_path / "token-dead")
    assert path.stat().st_mode & 0o777 == 0o600
    assert notes() == [
        Note(url="http://127.0.0.1:9", name="dead", pid=os.getpid(), token_file=str(tmp_path / "token-dead"))
    ]
    path.write_bytes(path.read_bytes().replace(str(os.getpid()).encode(), left.stdout.strip()))
    assert find_running() is None
    announce("alive", url="http://127.0.0.1:9", name="alive", token_file=tmp_path / "token-alive")
    assert [note.name for note in notes()] == ["alive"]


def test_notes_that_are_not_ours_to_trust_are_left_alone(tmp_path: Path) -> None:
    true = announce("x", url="http://127.0.0.1:9", name="x", token_file=tmp_path / "t")
    moved = tmp_path / "elsewhere.json"
    true.rename(moved)
    true.symlink_to(moved)
    (true.parent / "proxy-broken.json").write_text("{")
    assert notes() == []
