"""The terminal view: screens of every size, keys on a real pseudo-terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

import nbproxy
from nbproxy import ConfigError, SessionClosed, live, views
from nbproxy.controls import Sight, Snapshot
from nbproxy.live import Scene, attach, in_notebook, run, screen

from .test_searches import backwards, search
from .test_views import HOSTILE, line, place
from .upstreams import TIMEOUT, Json

Start = Callable[..., nbproxy.Session]
ROOT = Path(__file__).resolve().parents[1]
STATUS = {
    "state": "running", "uptime_s": 9.0, "upstream": "http://127.0.0.1:9200", "errors": 0,
    "model": {"name": "mini", "fingerprint": "x"}, "counts": {"route": {"search": 1200}},
    "latency_ms": {name: {"p50": 1.0, "p95": 2.0} for name in ("upstream", "rerank", "total")},
    "recording": {"path": None, "exchanges": 1200, "bytes": 5_000_000, "dropped": 0},
}  # fmt: skip


def scene(lines: int = 60, places: int = 50, text: str = "red shoes", errors: int = 0, **more: Any) -> Scene:
    ranks = [*range(2, places + 1), 1]
    known = [place(n + 1, rank, text=f"{text} {n}", doc_id=text) for n, rank in enumerate(ranks)]
    snapshot = Snapshot(
        status={**STATUS, "upstream": text, "model": {"name": text, "fingerprint": "x"}},
        lines=tuple(line(exchange_id=str(n), query=text, model=text) for n in range(lines)),
        last=Sight(exchange_id="0", query=text, model=text, places=tuple(known)) if places else None,
        models=("none", text),
        errors=(f"model: {text}",) * errors,
    )
    return Scene(snapshot, "http://127.0.0.1:9999", text, rate=12.34, now=4.0, **more)


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    """The lines that a terminal of this size shows; nothing but text and colours may have been sent."""
    file = io.StringIO()
    console = Console(
        width=width, height=height, file=file, force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(screen(scene, width, height))
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    return text.removesuffix("\n").split("\n")


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (120, 40), (40, 12), (20, 5)], ids=str)
@pytest.mark.parametrize(
    "what", [{}, {"lines": 0}, {"places": 0}, {"lines": 0, "places": 0}, {"errors": 5}, {"places": 1}], ids=str
)
@pytest.mark.parametrize(
    "text", ["red shoes", HOSTILE, "寿司" * 60, "[red]" * 30], ids=["plain", "hostile", "wide", "markup"]
)
def test_a_screen_fills_the_terminal_and_no_more(size: tuple[int, int], what: dict[str, int], text: str) -> None:
    width, height = size
    lines = drawn(scene(text=text, **what), width, height)
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    assert height < 12 or lines[-1] == "p pause · q quit"


def test_a_screen_of_80_by_24() -> None:
    lines = drawn(scene(lines=2, places=9, errors=1), 80, 24)
    assert lines[0].startswith("nbproxy red shoes ● running · http://127.0.0.1:9999 → red shoes")
    assert lines[1] == "model red shoes (others: none)"
    assert lines[2] == "1,200 requests, 12.3/s · 1,200 recorded in memory, 5.0 MB · 0 errors"
    assert lines[3] == "p50/p95 in ms: total 1.0/2.0 · upstream 1.0/2.0 · rerank 1.0/2.0"
    assert lines[4] == "newest exchanges " + "─" * 63
    assert lines[6].split() == ["3", "s", "200", "12.3", "reranked", "by", "red", "shoes", "red", "shoes"]
    assert lines[8].startswith("“red shoes”, reranked by red shoes ─")
    assert re.fullmatch(r" +1 red shoes · red shoes 0 +▲8 red shoes · red shoes 8 +0\.500", lines[10])
    assert re.fullmatch(r" +2 red shoes · red shoes 1 +▼1 red shoes · red shoes 0 +0\.500", lines[11])
    assert lines[-2:] == ["⚠ model: red shoes", "p pause · q quit"]


def test_pausing_and_trouble_are_told() -> None:
    assert "PAUSED" in drawn(scene(paused=True), 80, 24)[0]
    assert "⚠ nothing answers" in drawn(scene(trouble="nothing answers"), 80, 24)[-2]


def test_markup_is_text() -> None:
    assert any("[red]" in shown for shown in drawn(scene(text="[red]x[/red]"), 80, 24))


# -- a real terminal

PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import nbproxy
from tests.upstreams import Json
from tests.test_searches import search, backwards
with Json() as upstream:
    session = nbproxy.start(upstream.url, model=backwards, record=False)
    search(session, {"query": {"match": {"title": "evil \\x1b[2J\\x1b]0;owned\\x07 shoes"}}})
    session.live()
    print("left with", session.status["state"], flush=True)
    session.stop()
"""


class Terminal:
    """A program on a pseudo-terminal of 80 by 24."""

    def __init__(self, program: str) -> None:
        fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
        self._mine, self._its = os.openpty()
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, bytes([24, 0, 80, 0, 0, 0, 0, 0]))
        self.modes = termios.tcgetattr(self._its)
        self._termios = termios
        self.output = ""
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": "", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, env=environment, start_new_session=True,
            stdin=self._its, stdout=self._its, stderr=self._its,
        )  # fmt: skip

    def until(self, text: str) -> str:
        """What came up to ``text`` since the last call."""
        end = time.monotonic() + 3 * TIMEOUT
        while text not in self.output:
            assert select.select([self._mine], [], [], end - time.monotonic())[0], self.output
            self.output += os.read(self._mine, 65536).decode("utf-8", "replace")
        before, _, self.output = self.output.partition(text)
        return before + text

    def type(self, keys: bytes) -> None:
        os.write(self._mine, keys)

    def close(self) -> int:
        """Wait for the end, and see that the terminal is as it was."""
        status = self.process.wait(3 * TIMEOUT)
        assert self._termios.tcgetattr(self._its) == self.modes
        return status

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._mine)
        os.close(self._its)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(PROGRAM) as terminal:
        assert "\x1b[?1049h" in terminal.until("p pause · q quit")
        yield terminal


def test_keys_pause_and_quit(terminal: Terminal) -> None:
    screen = terminal.until("p pause · q quit")
    assert "evil shoes" in re.sub(r"\x1b\[[0-9;]*m", "", screen)
    assert not re.search(r"\x1b\[2J|\x1b\]|owned", screen)
    terminal.type(b"x?")
    terminal.type(b"p")
    terminal.until("PAUSED")
    terminal.type(b"P")
    terminal.until("p pause · q quit")
    assert "PAUSED" not in terminal.until("p pause · q quit")
    terminal.type(b"q")
    end = terminal.until("left with running")
    assert end.index("\x1b[?1049l") < end.index("left with")
    assert "\x1b[?25h" in end
    assert terminal.close() == 0


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_it_ends_cleanly(terminal: Terminal, how: str) -> None:
    if how == "ctrl-c":
        terminal.type(b"\x03")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    end = terminal.until("left with running")
    assert {"\x1b[?1049l", "\x1b[?25h"} <= set(re.findall(r"\x1b\[\?[0-9]+[hl]", end))
    assert "Traceback" not in end
    assert terminal.close() == 0


# -- plain lines


class Paper(io.StringIO):
    """A file on which a reader can wait for a text."""

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()

    def write(self, text: str) -> int:
        with self._written:
            self._written.notify_all()
            return super().write(text)

    def until(self, text: str) -> str:
        with self._written:
            assert self._written.wait_for(lambda: text in self.getvalue(), TIMEOUT), self.getvalue()
        return self.getvalue()


class Running:
    """A view on a thread of its own, which is joined."""

    def __init__(self, view: Callable[..., None], *args: Any) -> None:
        self.paper, self.stop = Paper(), threading.Event()
        options = {"console": Console(file=self.paper, width=80), "refresh": 50, "stop": self.stop}
        self._thread = threading.Thread(target=view, args=args, kwargs=options)
        self._thread.start()

    def join(self) -> str:
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        return self.paper.getvalue()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    return start(json_upstream.url, model=backwards)


def test_without_a_terminal_each_exchange_is_a_line(session: nbproxy.Session) -> None:
    search(session, {"query": {"match": {"title": HOSTILE.replace("\ud800", "")}}})
    with Running(run, session) as running:
        running.paper.until("next gnp.exe")
        search(session, path=b"/books/_doc/1")
        running.paper.until("POST /books/_doc/1")
    lines = running.join().splitlines()
    assert (
        lines[0]
        == f"nbproxy {views.plain(session.name, 40)} ● running · {session.url} → {session.upstream} · model backwards"
    )
    assert len(lines) == 3
    assert re.fullmatch(r"\d\d:\d\d:\d\d  200  [0-9.]+ ms  reranked by backwards  <script>alert.*", lines[1])
    assert "\x1b" not in "".join(lines)


def test_it_ends_with_its_session(session: nbproxy.Session) -> None:
    with Running(run, session) as running:
        running.paper.until("running")
        session.stop()
        running.join()


def test_attached_it_shows_a_proxy_elsewhere_and_not_its_own_questions(session: nbproxy.Session) -> None:
    with Running(attach, session.url) as running:
        running.paper.until("running")
        search(session)
        running.paper.until("red shoes")
        session.stop()
        assert "ended: nothing answers at" in running.join()
    assert "_nbproxy" not in running.join()


def test_attached_without_an_address_it_finds_the_running_proxy(
    session: nbproxy.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "find_running", lambda: session.url)
    with Running(attach) as running:
        running.paper.until(session.url)
    monkeypatch.setattr(live, "find_running", lambda: None)
    with pytest.raises(ConfigError, match="give its address"):
        attach()


def test_attaching_to_nothing_raises(session: nbproxy.Session) -> None:
    url = session.url
    session.stop()
    with pytest.raises(SessionClosed, match="nothing answers"):
        attach(url)


def test_a_reader_that_leaves_ends_it(session: nbproxy.Session) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as file:  # noqa: PTH123 - a file descriptor; its closing must not fail either
        run(session, console=Console(file=file))


def test_a_terminal_that_cannot_write_a_sign_gets_a_question_mark(session: nbproxy.Session) -> None:
    paper, stop = io.BytesIO(), threading.Event()
    stop.set()
    file = io.TextIOWrapper(paper, "ascii", write_through=True)
    run(session, console=Console(file=file), stop=stop)
    assert b" ? running ? http://" in paper.getvalue()


def test_full_screen_outlives_a_proxy_that_is_gone_for_a_while(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    view = live._View(live.Remote(session.url), session.snapshot())
    session.stop()
    view.look()
    assert view.trouble.startswith("nothing answers")
    assert not view.ended
    session = start(json_upstream.url)
    view.look()
    assert (view.trouble, view.ended) == ("", False)


def test_here_is_no_notebook() -> None:
    assert not in_notebook()
