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
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from rich.text import Text

import nbproxy
from nbproxy import ConfigError, SessionClosed, live, views
from nbproxy.controls import Sight, Snapshot
from nbproxy.live import attach, in_notebook, run
from nbproxy.live_view import View
from nbproxy.remote import Remote

from .terminals import Tmux
from .test_searches import backwards, search
from .test_views import HOSTILE, line, snapshot
from .upstreams import TIMEOUT, Json

Start = Callable[..., nbproxy.Session]
ROOT = Path(__file__).resolve().parents[1]


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
        screen = terminal.until("p pause · q quit")
        assert "\x1b[?1049h" in screen
        assert "evil shoes" in re.sub(r"\x1b\[[0-9;]*[mH]", "", screen)
        assert not re.search(r"\x1b\]|owned", screen)
        yield terminal


def test_keys_pause_and_quit(terminal: Terminal) -> None:
    terminal.type(b"x?")
    terminal.type(b"p")
    terminal.until("PAUSED")
    terminal.type(b"P")
    terminal.until("running")
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


# -- the command beside a proxy, in tmux

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture(params=SIZES, ids=lambda size: "x".join(map(str, size)))
def beside(request: pytest.FixtureRequest, start: Start, json_upstream: Json, tmp_path: Path) -> Iterator[Beside]:
    """`nbproxy live` in a terminal beside a proxy that has had a few exchanges."""
    session = start(json_upstream.url, model=backwards)
    session.models["upside"] = backwards
    search(session, {"query": {"match": {"title": HOSTILE.replace("\ud800", "")}}})
    search(session, path=b"/books/_doc/1")
    command = f"echo before; {sys.executable} -m nbproxy live {session.url}"
    with Tmux(command, *request.param, folder=tmp_path) as tmux:
        tmux.until(lambda shown: shown[-1].startswith("p pause · q quit"))
        yield Beside(session, tmux)


class Beside(NamedTuple):
    session: nbproxy.Session
    tmux: Tmux


def test_it_is_clean_at_every_size(beside: Beside) -> None:
    session, tmux = beside
    shown = tmux.lines()
    assert len(shown) == tmux.height
    assert shown[0].startswith(f"nbproxy {views.plain(session.name, 40)} ● running · ")
    assert shown[1].startswith("model backwards")
    assert shown[2].startswith("2 requests, ")
    assert any(re.search("reranked by backwards +<script>alert", one) for one in shown)
    assert any(re.search("passed on +POST /books/_doc/1", one) for one in shown)
    assert any(re.fullmatch(r" +1 0 · document 0 +▲\d+ \d+ · document \d+ +[0-9.]+", one) for one in shown)
    assert not any("owned" in one or "\u202e" in one or "before" in one for one in shown)
    assert any(one.startswith("models ─") for one in shown) == (tmux.height >= 32)


def test_keys_do_what_the_last_line_says(beside: Beside) -> None:
    session, tmux = beside
    tmux.press("p")
    tmux.until(lambda shown: "PAUSED" in shown[0])
    search(session, {"query": {"match": {"title": "blue boots"}}})
    tmux.press("x")
    assert not any("blue boots" in one for one in tmux.lines())
    tmux.press("p")
    tmux.until(lambda shown: any("blue boots" in one for one in shown))

    tmux.press("/", "_doc", "Enter")
    shown = tmux.until(lambda shown: any("filtered by “_doc”" in one for one in shown))
    assert sum("passed on" in one or "reranked by" in one for one in shown[5:]) >= 1
    assert not any(re.search("reranked by backwards +blue", one) for one in shown)
    tmux.press("Down")
    tmux.until(lambda shown: any(one.startswith("▸") and "_doc/1" in one for one in shown))
    assert any(re.search("in all: upstream [0-9.]+, reranking –", one) for one in tmux.lines())
    tmux.press("Escape")
    tmux.until(lambda shown: "PAUSED" not in shown[0])
    tmux.press("Escape")
    tmux.until(lambda shown: not any("filtered" in one for one in shown))

    tmux.press("m")
    tmux.until(lambda shown: "▸ backwards  (serving)" in shown)
    names = session.snapshot().models
    for name in reversed(names[names.index("upside") : names.index("backwards")]):
        tmux.press("Up")
        tmux.until(lambda shown, name=name: f"▸ {name}" in shown)
    tmux.press("Enter")
    tmux.until(lambda shown: shown[1].startswith("model upside"))
    assert session.model is not None
    assert session.model.name == "upside"

    tmux.press("q")
    tmux.until(lambda shown: shown[:2] == ["before", "left with 0"])


def test_another_size_is_drawn_anew(beside: Beside) -> None:
    _, tmux = beside
    tmux.resize(100, 30)

    def whole(shown: list[str]) -> bool:
        heads = [sum(one.startswith(name) for one in shown) for name in ("nbproxy ", "newest exchanges", "p pause")]
        return heads == [1, 1, 1] and shown[-1].startswith("p pause")

    assert len(tmux.until(whole)) == 30


def test_it_can_be_put_aside_and_taken_up_again(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    """Ctrl-Z gives the shell its terminal back, `fg` the view its own, keys included."""
    session = start(json_upstream.url, model=backwards)
    with Tmux("env PS1='shell> ' bash --norc", 80, 24, folder=tmp_path) as tmux:
        tmux.until(lambda shown: shown[0] == "shell>")
        tmux.press(f"{sys.executable} -m nbproxy live {session.url}", "Enter")
        tmux.until(lambda shown: shown[-1].startswith("p pause"))
        tmux.press("C-z")
        tmux.until(lambda shown: any("Stopped" in one for one in shown) and "shell>" in shown)
        assert not any("newest exchanges" in one for one in tmux.lines())
        tmux.press("fg", "Enter")
        tmux.until(lambda shown: shown[-1].startswith("p pause") and shown[0].startswith("nbproxy "))
        tmux.press("p")
        tmux.until(lambda shown: "PAUSED" in shown[0])
        tmux.press("C-l", "q")
        tmux.until(lambda shown: [one for one in shown if one][-1] == "shell>" and not shown[-1])


WIDE = ("日本語の検索", "👩‍👩‍👧‍👦 🇩🇪 ☠️", "שלום עולם", "مرحبا", "क्षि देवनागरी", "กำลัง", "é̂̃", "ＦＵＬＬ")


def test_writing_of_any_width_stays_in_its_line(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    def answer(*_: object) -> tuple[int, Any]:
        hits = [{"_index": "b", "_id": f"d{n}", "_score": 1.0, "_source": {"title": 9 * one}}
                for n, one in enumerate(WIDE)]  # fmt: skip
        return 200, {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}

    json_upstream.answer = answer
    session = start(json_upstream.url, model=backwards)
    for one in WIDE:
        search(session, {"query": {"match": {"title": 9 * one}}})
    with Tmux(f"{sys.executable} -m nbproxy live {session.url}", 80, 24, folder=tmp_path) as tmux:
        tmux.until(lambda shown: shown[-1].startswith("p pause"))
        tmux.press("p")  # what is drawn now goes over what was drawn before
        shown = tmux.until(lambda shown: "PAUSED" in shown[0])
        heads = [place for place, one in enumerate(shown) if re.match("newest exchanges|rank upstream", one)]
        assert all(re.match(r" +\d+ s +200 ", one) for one in shown[heads[0] + 2 : heads[1] - 1])
        ranked = [one for one in shown[heads[1] + 1 :] if re.match(r" +\d+ d\d", one)]
        assert [int(one.split()[0]) for one in ranked] == list(range(1, len(ranked) + 1))
        assert len(ranked) >= 5


@pytest.mark.parametrize("no_color", [False, True])
def test_a_line_is_drawn_as_rich_would_print_it(no_color: bool) -> None:
    made = Console(file=io.StringIO(), force_terminal=True, color_system="256", width=20, no_color=no_color)
    line = Text("a [b] 寿司", "bold").append(" up", "green").append(" and on and on and on", "reverse")
    printed = line.copy()
    printed.truncate(20, overflow="ellipsis", pad=True)
    with made.capture() as caught:
        made.print(printed, end="", soft_wrap=True)
    assert live._Paper(made)._ansi(line, 20) == caught.get()


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


class Busy:
    """Controls of a proxy that has had more between two looks than a snapshot lists."""

    url, name = "http://127.0.0.1:9", "default"

    def __init__(self) -> None:
        self.looks = 0

    def snapshot(self, lines: int = 50) -> Snapshot:
        self.looks += 1
        seen = tuple(line(exchange_id=f"{self.looks}-{n}", query=f"look {self.looks}") for n in range(3))
        status = {"state": "running" if self.looks < 3 else "stopped"}
        return snapshot(float(self.looks), search=100 * self.looks, status=status, lines=seen)

    def sight(self, exchange_id: str) -> Sight | None:
        return None

    def set_model(self, name: str | None) -> None:
        raise NotImplementedError


def test_lines_that_were_missed_are_counted() -> None:
    with Running(run, Busy()) as running:
        lines = running.join().splitlines()
    assert [one for one in lines if one.startswith("…")] == ["… 97 more …"] * 2
    assert sum("look" in one for one in lines) == 9


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
    view = View(Remote(session.url), session.snapshot())
    session.stop()
    view.look()
    assert view.trouble.startswith("nothing answers")
    assert (view.lost, view.ended) == (True, False)
    session = start(json_upstream.url)
    view.look()
    assert (view.trouble, view.lost, view.ended) == ("", False, False)


def test_here_is_no_notebook() -> None:
    assert not in_notebook()
