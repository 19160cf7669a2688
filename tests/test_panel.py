"""The panel: real widgets on a real session; once in a real kernel."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

import nbproxy
from nbproxy.controls import Controls, Sight, Snapshot
from nbproxy.panel import Panel
from nbproxy.remote import Remote

from .test_searches import backwards, search
from .upstreams import TIMEOUT, Json

Start = Callable[..., nbproxy.Session]
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202e\"'&"


class Seen:
    """A panel as a user has it: what it says, and its controls by their labels."""

    def __init__(self, widget: Any) -> None:
        row, self.html = widget.children
        self.controls = {child.description: child for child in row.children if child.description}
        self.model = self.controls["Model"]

    @property
    def text(self) -> str:
        return str(self.html.value)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what is shown, after any change of it, is so."""
        changed, everything = threading.Event(), (self.html, *self.controls.values())

        def note(_: Any) -> None:
            changed.set()

        for widget in everything:
            widget.observe(note)
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert changed.wait(end - time.monotonic()), self.text
            changed.clear()
        for widget in everything:
            widget.unobserve(note)

    def says(self, text: str) -> None:
        self.until(lambda: text in self.text)


class Watched:
    """A session's controls; counts how often they were asked."""

    def __init__(self, session: Controls) -> None:
        self._session = session
        self.url, self.name = session.url, session.name
        self.asked = threading.Semaphore(0)
        self.before: Callable[[], None] = lambda: None

    def snapshot(self, lines: int = 50) -> Snapshot:
        self.before()
        self.asked.release()
        return self._session.snapshot(lines)

    def sight(self, exchange_id: str) -> Sight | None:
        return self._session.sight(exchange_id)

    def set_model(self, name: str | None) -> None:
        self._session.set_model(name)

    def looks(self, n: int) -> None:
        for _ in range(n):
            assert self.asked.acquire(timeout=TIMEOUT)


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    return start(json_upstream.url, model=backwards, depth=20)


@pytest.fixture
def watched(session: nbproxy.Session) -> Watched:
    return Watched(session)


@pytest.fixture
def panel(watched: Watched) -> Iterator[Panel]:
    panel = Panel(watched)
    yield panel
    panel.close()


def test_it_shows_the_session_before_any_traffic(session: nbproxy.Session) -> None:
    seen = Seen(session.panel())
    assert f"<code>{session.url}</code>" in seen.text
    assert "● running" in seen.text
    assert "no exchanges yet" in seen.text
    assert seen.model.options == ("none", "original", "bm25", "backwards")
    assert seen.model.value == "backwards"
    assert session.panel() is session.panel()


def test_traffic_comes_by_itself_with_its_moves(session: nbproxy.Session) -> None:
    seen = Seen(session.panel())
    search(session)
    seen.says("red shoes")
    assert "reranked by backwards" in seen.text
    assert '<span title="up 19">▲19</span>' in seen.text
    assert "▼" not in seen.text.split("▲11")[0]  # the first ten of the served order all came up
    assert "1 request," in seen.text


def test_the_dropdown_switches_the_model_live(session: nbproxy.Session) -> None:
    seen = Seen(session.panel())
    for name, served in (("bm25", "bm25"), ("none", None), ("original", "original")):
        seen.model.set_state({"index": seen.model.options.index(name)})  # what the notebook's page sends
        seen.says(f"model <b>{name}</b>")
        assert (session.model.name if session.model else None) == served
        assert seen.model.value == name


def test_a_swap_in_a_cell_shows_in_the_dropdown_and_is_not_undone(session: nbproxy.Session, panel: Panel) -> None:
    seen = Seen(panel.widget)
    session.models["mine"] = backwards
    session.model = "bm25"
    seen.until(lambda: seen.model.options == ("none", "original", "bm25", "mine") and seen.model.value == "bm25")
    seen.says("model <b>bm25</b>")
    assert session.model.name == "bm25"


def test_a_loading_model_blocks_nobody_and_its_failure_is_shown(session: nbproxy.Session, watched: Watched) -> None:
    began, release = threading.Event(), threading.Event()

    def loading(name: str | None) -> None:
        began.set()
        assert release.wait(TIMEOUT)
        raise OSError(f"no weights {HOSTILE}")

    watched.set_model = loading  # type: ignore[method-assign]
    panel = Panel(watched)
    seen = Seen(panel.widget)
    seen.model.value = "bm25"  # comes back at once
    assert began.wait(TIMEOUT)
    seen.says("loading bm25 …")
    search(session)
    seen.says("red shoes")
    assert seen.model.value == "bm25"
    release.set()
    seen.says("bm25 cannot be served: OSError: no weights &lt;/td&gt;")
    seen.until(lambda: seen.model.value == "backwards")
    assert session.model.name == "backwards"
    panel.close()


def test_of_several_choices_the_last_one_serves(session: nbproxy.Session, watched: Watched) -> None:
    began, release, served = threading.Event(), threading.Event(), list[str | None]()

    def loading(name: str | None) -> None:
        served.append(name)
        began.set()
        assert release.wait(TIMEOUT)
        session.set_model(name)

    watched.set_model = loading  # type: ignore[method-assign]
    panel = Panel(watched)
    seen = Seen(panel.widget)
    seen.model.value = "bm25"
    assert began.wait(TIMEOUT)
    seen.model.value = "original"
    seen.model.value = "none"
    release.set()
    seen.says("model <b>none</b>")
    assert served == ["bm25", None]
    panel.close()


def test_older_searches_can_be_looked_at(session: nbproxy.Session) -> None:
    for word in ("one", "two", "three"):
        search(session, {"query": {"match": {"title": word}}})
    seen = Seen(session.panel())
    steps = [("◀ older", "two"), ("◀ older", "one"), ("◀ older", "one"), ("newer ▶", "two"), ("newest", "three")]
    for button, word in steps:
        seen.controls[button].click()
        seen.says(f"“{word}”")
        assert ("held" in seen.text) == (button != "newest")
    search(session, {"query": {"match": {"title": "four"}}})
    seen.says("“four”")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_recorded_becomes_html(start: Start, json_upstream: Json) -> None:
    def hit(n: int) -> dict[str, Any]:
        return {"_index": HOSTILE, "_id": HOSTILE + str(n), "_score": 1.0, "_source": {"title": HOSTILE}}

    def answer(method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        return 200, {"hits": {"total": {"value": 2, "relation": "eq"}, "hits": [hit(0), hit(1)]}}

    def raising(query: str, texts: list[str]) -> list[float]:
        raise ValueError(HOSTILE)

    json_upstream.answer = answer
    session = start(json_upstream.url, name=HOSTILE, model=raising)
    body = {"query": {"match": {"title": HOSTILE}}}
    search(session, body)
    session.models[HOSTILE] = backwards
    session.set_model(HOSTILE)
    search(session, body)
    seen = Seen(session.panel())
    assert "&lt;script&gt;" in seen.text
    tags = _Tags()
    tags.feed(seen.text)
    assert tags.found == {
        "div",
        "b",
        "code",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "ul",
        "li",
    }
    assert tags.attributes == {"style", "role", "aria-label", "scope", "title"}
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", seen.text)


def test_nothing_is_sent_where_nothing_changed_and_little_in_any_traffic(
    session: nbproxy.Session, watched: Watched, panel: Panel
) -> None:
    seen, sent = Seen(panel.widget), list[str]()
    search(session)
    seen.says("red shoes")
    seen.says("0.0/s")
    watched.looks(1)
    seen.html.observe(lambda change: sent.append(change["new"]), "value")
    while watched.asked.acquire(blocking=False):
        pass
    watched.looks(6)
    assert sent == []
    began = time.monotonic()
    for n in range(40):
        search(session, {"query": {"match": {"title": f"number {n}"}}})
    seen.says("number 39")
    assert 1 <= len(sent) <= 4 * (time.monotonic() - began) + 2


def test_a_proxy_that_cannot_be_seen_is_told_and_looked_for_again(watched: Watched, panel: Panel) -> None:
    def broken() -> None:
        raise OSError("gone <b>")

    seen = Seen(panel.widget)
    watched.before = broken
    seen.says("the proxy cannot be seen: gone &lt;b&gt;")
    watched.before = lambda: None
    seen.until(lambda: "cannot be seen" not in seen.text)


def test_widgets_are_made_in_the_callers_thread_only(session: nbproxy.Session, panel: Panel) -> None:
    made: list[str] = []
    ipywidgets.Widget.on_widget_constructed(lambda widget: made.append(threading.current_thread().name))
    try:
        seen = Seen(panel.widget)
        search(session)
        seen.says("red shoes")
        Panel(session).close()
    finally:
        ipywidgets.Widget.on_widget_constructed(None)
    assert set(made) == {threading.current_thread().name}


def test_it_ends_with_its_session_and_keeps_its_last_view(session: nbproxy.Session) -> None:
    seen = Seen(session.panel())
    search(session)
    session.stop()
    assert "■ stopped" in seen.text
    assert "red shoes" in seen.text
    assert "model <b>backwards</b>" in seen.text
    assert all(control.disabled for control in seen.controls.values())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nbproxy-panel")]


def test_closing_twice_does_nothing_more(session: nbproxy.Session, watched: Watched) -> None:
    panel = Panel(watched)
    panel.close()
    last = Seen(panel.widget).text
    search(session)
    panel.close()
    assert Seen(panel.widget).text == last
    Seen(panel.widget).model.value = "bm25"
    assert session.model.name == "backwards"


def test_it_works_onto_a_proxy_elsewhere(session: nbproxy.Session) -> None:
    panel = Panel(Remote(session.url, session.token))
    seen = Seen(panel.widget)
    search(session)
    seen.says("red shoes")
    assert "_nbproxy" not in seen.text
    seen.model.value = "bm25"
    seen.says("model <b>bm25</b>")
    assert session.model.name == "bm25"
    panel.close()


def test_it_says_nothing_by_colour_alone_and_takes_the_themes(session: nbproxy.Session) -> None:
    search(session)
    seen = Seen(session.panel())
    colours = set(re.findall(r"color:[^;\"]*", seen.text))
    assert colours == {
        "color:inherit",
        "color:var(--jp-content-font-color1,var(--vscode-foreground,inherit))",
    }
    assert all(control.description and control.tooltip for control in seen.controls.values())


def test_importing_the_module_loads_no_widgets() -> None:
    code = "import sys, nbproxy.panel; print('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


CELLS = [
    """
import sys, threading
sys.path.insert(0, {root!r})
import nbproxy, nbproxy.live
from tests.upstreams import Json
from tests.test_searches import search, backwards
upstream = Json()
session = nbproxy.start(upstream.url, model=backwards, record=False)
""",
    "session.panel()",
    """
assert nbproxy.live.in_notebook()
assert session.live() is session.panel()
html = session.panel().children[1]
shown = threading.Event()
html.observe(lambda change: "evil" in change["new"] and shown.set(), "value")
search(session, {{"query": {{"match": {{"title": "<script>evil</script>"}}}}}})
assert shown.wait(20)
""",
    """
dropdown = session.panel().children[0].children[0]
dropdown.value = "bm25"
served = threading.Event()
html.observe(lambda change: "model <b>bm25</b>" in change["new"] and served.set(), "value")
assert served.wait(20)
session.stop()
upstream.__exit__()
""",
]


def test_in_a_real_kernel(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    root = str(Path(__file__).resolve().parents[1])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.format(root=root)) for c in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert [[output.output_type for output in cell] for cell in outputs] == [["stream"], ["execute_result"], [], []]
    assert outputs[0][0].text.startswith("nbproxy: http://127.0.0.1:")
    view = outputs[1][0].data["application/vnd.jupyter.widget-view+json"]
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    assert view.model_id in states
    kinds = {state.model_name for state in states.values()}
    assert "OutputModel" not in kinds
    (text,) = (state.state.value for state in states.values() if state.model_name == "HTMLModel")
    assert "&lt;script&gt;evil&lt;/script&gt;" in text
    assert "<script" not in text
    assert "■ stopped" in text
    assert "model <b>bm25</b>" in text
