"""How fast the notebook's panel is while 1,000 searches a second are reranked and recorded: a real kernel, asked as a
notebook's page asks it, by messages; what a browser takes to draw is not in it.

A click's detail: from the message of a press on a row until the message that brings its side-by-side view, or its
exchange with headers and bodies. The first row: from the message that runs the cell ``session.panel()`` until one that
has a row of the table. wrk is the client, in a process of its own; the model takes no time.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple, Self

from ..kernels import Kernel
from . import peers
from .load import SCRIPT
from .machine import ROOT, program, temporary_folder
from .report import table

NEEDS = ("nginx", "wrk")
RATE, CONNECTIONS = 1_000, 32
WAIT_S = 60.0
VIEWS = {"Side by side": "“{}”", "Exchange": "{}&quot;"}  # and how each names its search
START = """
import sys
sys.path.insert(0, {root!r})
import nbproxy
from tests.benchmarks.searches import backwards
session = nbproxy.start("http://127.0.0.1:{upstream}", model=backwards, record={record!r}, name="bench")
"""
IDS = """
w = session._panel._widgets
print(*(one.model_id for one in (w.table, w.detail, w.view, w.newest, w.older, *w.rows)))
"""


class Page(Kernel):
    """What stands in for the notebook's page.

    :ivar values: each widget's value, as far as the messages that were read say.
    """

    def __enter__(self) -> Self:
        self.values: dict[str, str] = {}
        return super().__enter__()

    def send(self, widget: str, data: dict[str, Any]) -> float:
        """A message of a widget's; when it was sent."""
        message = self._client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        sent = time.perf_counter()
        self._client.shell_channel.send(message)
        return sent

    def press(self, button: str) -> float:
        return self.send(button, {"method": "custom", "content": {"event": "click"}})

    def until(self, condition: Callable[[], bool]) -> None:
        """Read messages until it is so."""
        end = time.monotonic() + WAIT_S
        while not condition():
            self._read(end - time.monotonic())

    def rest(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        end = time.monotonic() + seconds
        with contextlib.suppress(Empty):
            while True:
                self._read(end - time.monotonic())

    def _read(self, seconds: float) -> None:
        content = self._client.get_iopub_msg(timeout=max(0.0, seconds))["content"]
        value = content.get("data", {}).get("state", {}).get("value") if "comm_id" in content else None
        if value is not None:
            self.values[content["comm_id"]] = str(value)

    def shown(self, words: str, code: str) -> float:
        """Seconds from a cell's beginning until words stand in some widget."""
        begun = time.perf_counter()
        self._client.execute(code)
        self.until(lambda: any(words in value for value in self.values.values()))
        return time.perf_counter() - begun


class Watched(NamedTuple):
    """The rate meanwhile, seconds until the first row, and those of each click."""

    rate: float
    first_row: float
    clicks: list[float]


def main(quick: bool = False) -> None:
    heads = (
        "reranked and recorded",
        "clicked",
        "searches a second",
        "first row",
        "detail: median",
        "worst",
        "the first",
    )
    rows = []
    for case, path in (("10 hits of 6.6 KB", "/short/_search"), ("50 hits of 33 KB", "/idx/_search")):
        for view in VIEWS:
            seen = measured(path, view, *((3, 1.0) if quick else (10, 10.0)))
            times = (statistics.median(seen.clicks), max(seen.clicks), seen.clicks[0])
            row = (case, view, f"{seen.rate:,.0f}", f"{seen.first_row:.2f} s")
            rows.append((*row, *(f"{1e3 * each:.0f} ms" for each in times)))
    print(table(heads, rows))


def measured(path: str, view: str, clicks: int, warm_s: float) -> Watched:
    with temporary_folder() as folder, peers.upstream(folder) as upstream, Page() as page:
        page.run(START.format(root=str(ROOT), upstream=upstream.port, record=str(folder / "recording")))
        port = int(page.run("print(session.port)")["stdout"])
        with _searched(folder, port, path):
            time.sleep(warm_s)
            before, begun = _count(page), time.perf_counter()
            first_row = page.shown("lamp river", "session.panel()")
            times = list(_clicked(page, view, clicks))
            rate = (_count(page) - before) / (time.perf_counter() - begun)
    return Watched(rate, first_row, times)


def _count(page: Page) -> int:
    return int(page.run("print(session.status['counts']['route']['search'])")["stdout"])


def _clicked(page: Page, view: str, clicks: int) -> Iterator[float]:
    """Each time on a page that stands still, a little older than the newest."""
    table_, detail, views, newest, older, *buttons = page.run(IDS)["stdout"].split()
    page.send(views, {"method": "update", "state": {"index": list(VIEWS).index(view)}, "buffer_paths": []})
    for n in range(clicks):
        page.press(newest)
        page.rest(1.0)
        before = page.values.get(table_)
        page.press(older)
        page.until(lambda before=before: page.values.get(table_) != before)  # type: ignore[misc]
        page.rest(1.5)
        query = re.findall(r"lamp river \d+", page.values[table_])[n]
        sent = page.press(buttons[n])
        page.until(lambda query=query: VIEWS[view].format(query) in page.values.get(detail, ""))  # type: ignore[misc]
        yield time.perf_counter() - sent


@contextmanager
def _searched(folder: Path, port: int, path: str) -> Iterator[None]:
    script = folder / "panel.lua"
    script.write_text(SCRIPT.read_text() + Path(__file__).with_name("panel.lua").read_text())
    options = ["-t1", f"-c{CONNECTIONS}", "-d600s", "--timeout=30s", "-s", str(script)]
    command = [program("wrk"), *options, f"http://127.0.0.1:{port}{path}", "--", str(RATE), path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
        try:
            yield
        finally:
            client.terminate()
