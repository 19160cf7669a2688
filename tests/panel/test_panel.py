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
import pandas as pd
import pytest
from msgspec import structs

import nbproxy
from nbproxy.panel import Panel
from nbproxy.ranking import Hit, Ranking

from ..test_searches import backwards, search
from ..upstreams import TIMEOUT, Client, Json

Start = Callable[..., nbproxy.Session]
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202e\"'&"


class Seen:
    """A panel as a user has it: what it says, and its controls."""

    def __init__(self, panel: Panel) -> None:
        self.panel, self.w = panel, panel._widgets
        self._changed = threading.Event()
        look = panel._looking.look

        def seen() -> None:
            look()
            self._changed.set()  # the session may have changed where no widget does

        panel._looking.look = seen  # type: ignore[method-assign]

    @property
    def text(self) -> str:
        w = self.w
        return "".join(str(part.value) for part in (w.address, w.header, w.table, w.detail))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so, after any change of what is shown and any look of the panel."""
        changed = self._changed
        everything = (*self.w.controls(), self.w.address, self.w.header, self.w.table, self.w.detail, self.w.shadows)

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

    def says(self, *texts: str) -> None:
        self.until(lambda: all(text in self.text for text in texts))

    def has_chosen(self, dropdown: Any, value: str) -> None:
        self.until(lambda: dropdown.value == value)

    def choose(self, dropdown: Any, value: str) -> None:
        """What the notebook's page sends."""
        self.until(lambda: value in dropdown.options)
        dropdown.set_state({"index": dropdown.options.index(value)})


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    return start(json_upstream.url, model=backwards, depth=20)


@pytest.fixture
def seen(session: nbproxy.Session) -> Seen:
    session.panel()
    return Seen(session._panel)


def looks(seen: Seen, n: int) -> None:
    """Wait until the panel has looked so often more."""
    looked, real = threading.Semaphore(0), seen.panel._looking.look

    def look() -> None:
        real()
        looked.release()

    seen.panel._looking.look = look  # type: ignore[method-assign]
    for _ in range(n):
        assert looked.acquire(timeout=TIMEOUT)
    seen.panel._looking.look = real  # type: ignore[method-assign]


def test_it_shows_the_session_before_any_traffic(session: nbproxy.Session, seen: Seen) -> None:
    assert session.url in seen.text
    assert "<b>running</b>" in seen.text
    assert "no exchanges yet" in seen.text
    assert seen.w.model.options == ("none", "original", "bm25", "words", "backwards")
    assert (seen.w.model.value, seen.w.depth.value) == ("backwards", 20)
    assert session.panel() is session.panel()


def test_traffic_comes_by_itself_with_its_moves(session: nbproxy.Session, seen: Seen) -> None:
    search(session)
    seen.says("red shoes", "1 request,", "1 recorded", "reranked by backwards", "▲19", 'title="up 19"')


def test_the_dropdown_switches_the_model_live(session: nbproxy.Session, seen: Seen) -> None:
    for name, served in (("bm25", "bm25"), ("none", None), ("original", "original")):
        seen.choose(seen.w.model, name)
        seen.says(f"model <b>{name}</b>")
        assert (session.model.name if session.model else None) == served
        seen.has_chosen(seen.w.model, name)


def test_a_swap_in_a_cell_shows_in_the_dropdown_and_is_not_undone(session: nbproxy.Session, seen: Seen) -> None:
    session.models["mine"] = backwards
    session.model = "bm25"
    model = seen.w.model
    seen.until(lambda: model.options == ("none", "original", "bm25", "words", "mine") and model.value == "bm25")
    seen.says("model <b>bm25</b>")
    assert session.model.name == "bm25"


def test_a_loading_model_blocks_nobody_and_its_failure_is_shown(
    session: nbproxy.Session, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()

    def loading(name: str | None) -> None:
        began.set()
        assert release.wait(TIMEOUT)
        raise OSError(f"no weights {HOSTILE}")

    monkeypatch.setattr(session, "set_model", loading)
    seen.choose(seen.w.model, "bm25")
    assert began.wait(TIMEOUT)
    seen.says("loading bm25 …", "<progress")
    search(session)
    seen.says("red shoes")
    release.set()
    seen.says("bm25 cannot be set: OSError: no weights &lt;/td&gt;&lt;script&gt;")
    seen.has_chosen(seen.w.model, "backwards")


def test_only_the_last_of_several_wishes_is_loaded(
    session: nbproxy.Session, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release, served = threading.Event(), threading.Event(), list[str | None]()
    real = session.set_model

    def loading(name: str | None) -> None:
        served.append(name)
        began.set()
        assert release.wait(TIMEOUT)
        real(name)

    monkeypatch.setattr(session, "set_model", loading)
    seen.choose(seen.w.model, "bm25")
    assert began.wait(TIMEOUT)
    seen.choose(seen.w.model, "original")
    seen.choose(seen.w.model, "none")
    release.set()
    seen.says("model <b>none</b>")
    assert served == ["bm25", None]


def test_the_depth_slider_and_the_shadow_toggles_set_the_session(session: nbproxy.Session, seen: Seen) -> None:
    seen.until(
        lambda: [toggle.description for toggle in seen.w.shadows.children] == ["original", "bm25", "words", "backwards"]
    )
    seen.w.depth.set_state({"value": 30})
    seen.w.toggles[1].set_state({"value": True})
    seen.until(lambda: session.depth == 30 and "bm25" in session.shadow and not seen.panel._changes.pending("shadows"))
    session.depth = 500
    seen.until(lambda: seen.w.depth.value == 500)
    seen.w.toggles[1].set_state({"value": False})
    seen.until(lambda: "bm25" not in session.shadow)


def test_more_models_than_toggles_are_listed(session: nbproxy.Session, seen: Seen) -> None:
    names = [f"mine {n}" for n in range(20)]
    session.models.update(dict.fromkeys(names, backwards))
    listed = seen.w.shadow_list
    seen.until(lambda: seen.w.shadows.children == (listed,) and {*names} <= {*listed.options})
    listed.set_state({"index": [listed.options.index("mine 3"), listed.options.index("mine 17")]})
    seen.until(lambda: set(session.shadow) == {"mine 3", "mine 17"} and not seen.panel._changes.pending("shadows"))
    session.shadow["mine 5"] = backwards
    seen.until(lambda: listed.value == ("mine 3", "mine 5", "mine 17"))
    listed.set_state({"index": [listed.options.index("mine 5")]})
    seen.until(lambda: set(session.shadow) == {"mine 5"})
    for name in names[:10]:
        session.models.pop(name)
    session.shadow.clear()
    for name in names[10:]:
        session.models.pop(name)
    seen.until(lambda: seen.w.shadows.children == seen.w.toggles[:4])


def test_a_choice_of_what_is_there_no_longer_is_none(session: nbproxy.Session, seen: Seen) -> None:
    seen.w.model.set_state({"index": 99})
    seen.w.shadow_list.set_state({"index": [0]})
    looks(seen, 2)
    assert seen.w.model.value == "backwards"


def test_a_replays_order_stands_beside_the_served_and_the_shadows(session: nbproxy.Session, seen: Seen) -> None:
    session.shadow["bm25"] = "bm25"
    search(session)
    session.flush()
    served = session.hits.query("role == 'served'").iloc[0]
    hits = tuple(Hit(rank=n + 1, doc_id=str(n), index="books", text=f"red replayed {n}") for n in range(3))
    replay = Ranking(hits=hits, ranks=(2, 3, 1), scores=(0.5, 0.25, 0.75), role="replay", model="mine",
                     model_fingerprint="f", returned=(True,) * 3)  # fmt: skip
    session._recorder.append_ranking(served["exchange_id"], None, served["query_id"], served["query"], replay)
    session.flush()
    seen.until(lambda: seen.w.ranking.options == ("served", "shadow bm25", "replay mine"))
    for order, words in (("replay mine", "replayed 2"), ("shadow bm25", "shadow bm25"), ("served", "▲19")):
        seen.choose(seen.w.ranking, order)
        seen.says(words, "reranked by backwards" if order == "served" else f"“red shoes”, {order}")
    seen.choose(seen.w.ranking, "replay mine")
    seen.says('title="up 2"', "3 hits, 1 up, 2 down", "0.750")


def test_what_was_recorded_before_is_found_before_the_first_click(
    session: nbproxy.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(session)
    found, sights = threading.Event(), session.sights

    def seen(exchange_id: str, part: int | None = None) -> Any:
        assert exchange_id == session.frame.exchange_id[0]
        found.set()
        return sights(exchange_id, part)

    monkeypatch.setattr(session, "sights", seen)
    session.panel()
    assert found.wait(TIMEOUT)


def test_orders_of_shadows_can_be_chosen(session: nbproxy.Session, seen: Seen) -> None:
    session.shadow["bm25"] = "bm25"
    search(session)
    session.flush()
    seen.choose(seen.w.ranking, "shadow bm25")
    seen.says("“red shoes”, shadow bm25")


def asked(session: nbproxy.Session, n: int) -> None:
    for number in range(n):
        search(session, {"query": {"match": {"title": f"number {number:02}"}}})


def test_pages_a_row_and_back(session: nbproxy.Session, seen: Seen) -> None:
    asked(session, 30)
    seen.says("number 29", "rows 19 to 30 of 30")
    seen.w.older.click()
    seen.says("rows 7 to 18 of 30")
    seen.w.rows[1].click()
    seen.says("“number 16”")
    search(session, {"query": {"match": {"title": "later"}}})
    seen.says("31 requests")
    assert "“number 16”" in seen.text
    seen.w.newer.click()
    seen.says("rows 19 to 30 of 31")
    seen.w.scroll.set_state({"value": 0.0})
    seen.says("rows 1 to 12 of 31")
    seen.w.newest.click()
    seen.says("“later”", "rows 20 to 31 of 31")
    seen.until(lambda: seen.w.scroll.value == 100)


def test_a_click_waits_for_nobody(session: nbproxy.Session, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the recorder, nor for a look that waits for it."""
    asked(session, 20)
    seen.says("rows 9 to 20 of 20")
    waits, release, real = threading.Event(), threading.Event(), session._recorder.flush

    def flush(timeout: float | None = None) -> bool:
        waits.set()
        return release.wait(TIMEOUT) and real(timeout)

    monkeypatch.setattr(session._recorder, "flush", flush)
    assert waits.wait(TIMEOUT)
    seen.w.rows[3].click()
    seen.says("“number 16”")
    seen.w.view.set_state({"index": 1})
    seen.says("as curl", "number 16&quot;")
    seen.w.older.click()
    seen.says("rows 1 to 8 of 20")
    release.set()


def test_a_press_on_a_row_means_what_stands_there(session: nbproxy.Session, seen: Seen) -> None:
    asked(session, 3)
    seen.says("rows 1 to 3 of 3")
    looking = seen.panel._looking
    looking.page, shown = looking.on_screen, looking.page  # what was read since is not shown yet
    looking.page = structs.replace(shown, lines=shown.lines[::-1])
    assert looking.choose(0) == (shown.lines[0].exchange_id, None)


def test_filters(session: nbproxy.Session, seen: Seen, opened: Callable[[nbproxy.Session], Client]) -> None:
    asked(session, 3)
    opened(session).ask(b"GET", b"/elsewhere")
    seen.w.filters["text"].set_state({"value": "NUMBER 01"})
    seen.says("rows 2 to 2 of 4")
    assert "number 02" not in seen.w.table.value
    seen.w.filters["text"].set_state({"value": ""})
    seen.choose(seen.w.filters["route"], "pass")
    seen.says("rows 4 to 4 of 4", "/elsewhere")
    seen.choose(seen.w.filters["route"], "any")
    seen.choose(seen.w.filters["reason"], "reranked")
    seen.says("rows 1 to 3 of 4")
    seen.w.filters["text"].set_state({"value": "nobody asked this"})
    seen.says("no exchange of this kind")


def test_the_exchange_whole(session: nbproxy.Session, seen: Seen) -> None:
    search(session)
    seen.says("red shoes")
    seen.w.rows[0].click()
    seen.w.view.set_state({"index": 1})
    seen.says("as curl", "request headers", "&quot;took&quot;: 3", "proxy and client")
    assert f"{session.url}/books/_search" in seen.text


def test_the_quality_once_there_are_judgments(session: nbproxy.Session) -> None:
    asked(session, 4)
    qrels = pd.DataFrame({"query_id": [f"number {n:02}" for n in range(4)], "doc_id": "3", "relevance": 1})
    session.panel(qrels)
    seen = Seen(session._panel)
    seen.says("nDCG@10", "over time", "n_queries", "backwards")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.handlers: set[str | None] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.handlers |= {value for name, value in attrs if name.startswith("on") or name in ("href", "src")}


def test_nothing_recorded_becomes_html(start: Start, json_upstream: Json) -> None:
    from nbproxy.panel.markup import COPY

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
    session.panel()
    seen = Seen(session._panel)
    for view, mark in ((0, "&lt;<mark"), (1, "as curl"), (2, "No judgments")):
        seen.w.view.set_state({"index": view})
        seen.says(mark)
        tags = _Tags()
        tags.feed(seen.text + session.panel()._repr_mimebundle_()["text/html"])
        assert not tags.found & {"script", "img", "iframe", "a", "object", "style", "link"}
        assert tags.handlers <= {COPY}
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", seen.text)


def test_nothing_is_sent_where_nothing_changed_and_little_in_any_traffic(
    session: nbproxy.Session, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(session)
    seen.says("red shoes", "0.0/s")
    seen.until(lambda: seen.panel._quiet >= 2)  # everything that was looked at is shown
    sent: list[float] = []
    real = ipywidgets.Widget._send

    def send(widget: Any, *arguments: Any, **options: Any) -> None:
        sent.append(time.monotonic())
        real(widget, *arguments, **options)

    monkeypatch.setattr(ipywidgets.Widget, "_send", send)
    looks(seen, 6)
    assert sent == []
    stop = threading.Event()

    def click() -> None:
        while not stop.wait(0.01):
            seen.w.rows[0].click()
            seen.w.newest.click()

    clicking = threading.Thread(target=click)
    clicking.start()
    asked(session, 300)
    looks(seen, 6)
    stop.set()
    clicking.join()
    seen.says("number 299")
    assert all(later - sooner >= 0.99 for sooner, later in zip(sent, sent[4:], strict=False))


def test_a_proxy_that_cannot_be_seen_is_told_and_looked_for_again(
    session: nbproxy.Session, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(lines: int = 50) -> None:
        raise OSError("gone <b>")

    with monkeypatch.context() as patch:
        patch.setattr(session, "snapshot", broken)
        seen.says("the proxy cannot be seen: gone &lt;b&gt;", "✖")
    seen.until(lambda: "cannot be seen" not in seen.text)


def test_the_widgets_are_core_ones_and_no_output(seen: Seen) -> None:
    modules = {type(widget)._model_module.default_value for widget in (*seen.w.controls(), seen.panel.widget)}
    assert modules == {"@jupyter-widgets/controls"}
    named = [control for control in seen.w.controls() if control not in (*seen.w.filters.values(), seen.w.view)]
    assert all(control.tooltip for control in named)


def test_widgets_are_made_in_the_callers_thread_only(session: nbproxy.Session) -> None:
    made: list[str] = []
    ipywidgets.Widget.on_widget_constructed(lambda widget: made.append(threading.current_thread().name))
    try:
        session.panel()
        search(session)
        Seen(session._panel).says("red shoes")
        Panel(session).close()
    finally:
        ipywidgets.Widget.on_widget_constructed(None)
    assert set(made) == {threading.current_thread().name}


def test_it_ends_with_its_session_and_keeps_its_last_view(session: nbproxy.Session, seen: Seen) -> None:
    search(session)
    session.stop()
    assert "<b>stopped</b>" in seen.text
    assert "red shoes" in seen.text
    assert "model <b>backwards</b>" in seen.text
    assert all(control.disabled for control in seen.w.controls())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nbproxy-panel")]


def test_closing_twice_does_nothing_more(session: nbproxy.Session) -> None:
    panel = Panel(session)
    panel.close()
    last = Seen(panel).text
    search(session)
    panel.close()
    assert Seen(panel).text == last
    Seen(panel).w.model.value = "bm25"
    assert session.model.name == "backwards"


@pytest.fixture
def elsewhere(session: nbproxy.Session) -> Iterator[nbproxy.ConnectedSession]:
    with nbproxy.connect(session.url, session.token) as connected:
        yield connected


def test_it_works_onto_a_proxy_elsewhere(session: nbproxy.Session, elsewhere: nbproxy.ConnectedSession) -> None:
    elsewhere.panel()
    seen = Seen(elsewhere._panel)
    session.shadow["bm25"] = "bm25"
    search(session)
    session.flush()
    seen.says("red shoes")
    assert "_nbproxy" not in seen.text
    seen.w.rows[0].click()
    seen.choose(seen.w.ranking, "shadow bm25")
    seen.says("shadow bm25")
    seen.w.view.set_state({"index": 1})
    seen.says("as curl")
    seen.choose(seen.w.model, "bm25")
    seen.says("model <b>bm25</b>")
    assert session.model.name == "bm25"
    seen.w.depth.set_state({"value": 7})
    seen.until(lambda: session.depth == 7)


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
widgets = session._panel._widgets
shown = threading.Event()
widgets.table.observe(lambda change: "evil" in change["new"] and shown.set(), "value")
search(session, {{"query": {{"match": {{"title": "<script>evil</script>"}}}}}})
assert shown.wait(20)
""",
    """
widgets.model.value = "bm25"
served = threading.Event()
widgets.header.observe(lambda change: "model <b>bm25</b>" in change["new"] and served.set(), "value")
assert "model <b>bm25</b>" in widgets.header.value or served.wait(20)
session.stop()
upstream.__exit__()
""",
]


def test_in_a_real_kernel(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    root = str(Path(__file__).resolve().parents[2])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.format(root=root)) for c in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert [[output.output_type for output in cell] for cell in outputs] == [["stream"], ["execute_result"], [], []]
    assert outputs[0][0].text.startswith("nbproxy: http://127.0.0.1:")
    data = outputs[1][0].data
    assert "no exchanges yet" in data["text/html"]
    assert data["text/plain"].startswith("nbproxy panel default: running")
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    assert data["application/vnd.jupyter.widget-view+json"].model_id in states
    assert "OutputModel" not in {state.model_name for state in states.values()}
    assert {state.model_module for state in states.values()} <= {"@jupyter-widgets/base", "@jupyter-widgets/controls"}
    text = "".join(state.state.value for state in states.values() if state.model_name == "HTMLModel")
    assert "&lt;script&gt;evil&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<b>stopped</b>" in text
    assert "model <b>bm25</b>" in text
