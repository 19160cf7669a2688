"""The panel as a person sees it: the quickstart in a real JupyterLab and Notebook 7, and documents that mean ill."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("selenium")

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from .. import browser
from ..browser import Page, chromium, jupyterlab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.missing()), reason=f"there is no {browser.missing()}"),
]
ROOT = Path(__file__).resolve().parents[2]
code = nbformat.v4.new_code_cell


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[str]:
    with jupyterlab(home) as address:
        yield address


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as page:
        yield page


def ask(page: Page, query: str) -> None:
    address = page.panel.find_element("css selector", "code").text
    body = json.dumps({"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}}).encode()
    request = urllib.request.Request(f"{address}/household/_search", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    pytest.importorskip("notebook")
    with jupyterlab(tmp_path, "notebook") as address:
        yield address, tmp_path


@pytest.mark.engine
@pytest.mark.model
def test_the_quickstart_and_a_swap_by_the_dropdown(lab: str, home: Path, page: Page) -> None:
    quickstart(lab, home, page, "panel")


@pytest.mark.engine
@pytest.mark.model
def test_the_same_in_notebook_7(notebook: tuple[str, Path], page: Page) -> None:
    quickstart(*notebook, page, "panel-notebook7")
    assert "/notebooks/" in page.script("return location.pathname")


def quickstart(lab: str, home: Path, page: Page, picture: str) -> None:
    cells = nbformat.read(ROOT / "notebooks" / "01-quickstart.ipynb", as_version=4).cells
    last = max(n for n, cell in enumerate(cells) if "session.panel(" in cell.source)
    page.open(lab, home, "quickstart.ipynb", cells[: last + 1])
    page.run_all()
    page.says("reranked by all-MiniLM-L6-v2")
    page.picture(f"{picture}-quickstart")
    Select(page.control("Model")).select_by_visible_text("shortest" if "shortest" in page.text else "bm25")
    name = Select(page.control("Model")).first_selected_option.text
    page.until(lambda: f"model {name}" in page.text.replace("\n", " "))
    ask(page, "how do I clean a burnt pan")
    page.says(f"“how do I clean a burnt pan”, reranked by {name}")
    page.picture(f"{picture}-swapped")


START = """
import nbproxy
from tests.upstreams import Json
from tests.test_searches import search, backwards
upstream = Json()
session = nbproxy.start(upstream.url, model=backwards, record=False, name="vscode")
search(session)
session.flush()
"""


def test_what_vs_code_shows_widgets_with_shows_it_too(lab: str, home: Path, page: Page) -> None:
    """Its own widget manager, loading no script but its own."""
    page.open(lab, home, "vscode.ipynb", [code(START)])
    page.run_all()
    page.in_vs_code("session.panel()")
    page.says("reranked by backwards")
    Select(page.control("Model")).select_by_visible_text("bm25")
    page.until(lambda: "model bm25" in page.text.replace("\n", " "))
    page.row(0).click()
    page.button("Exchange").click()
    page.says("as curl")
    page.picture("panel-vscode")


CELLS = (
    """
import sys, threading
import nbproxy
from tests.upstreams import Json
from tests.test_searches import search, backwards
EVIL = "<img src=x onerror=window.pwned=1><script>window.pwned=2</script></td></svg><svg onload=window.pwned=3>"
upstream = Json()
def answer(method, path, headers, body):
    known = {"_index": EVIL, "_score": 1.0, "_source": {"title": EVIL + " evil word"}}
    hits = [{"_id": EVIL + str(n), **known} for n in range(20)]
    return 200, {"hits": {"total": {"value": 20, "relation": "eq"}, "hits": hits}}
upstream.answer = answer
session = nbproxy.start(upstream.url, model=backwards, record=False, name=EVIL)
session.models[EVIL] = "bm25"
session.shadow[EVIL] = "bm25"
for n in range(20):
    search(session, {"query": {"match": {"title": f"{EVIL} evil {n}"}}})
session.flush()
""",
    "session.panel()",
)


def test_documents_that_mean_ill_are_only_shown(lab: str, home: Path, page: Page) -> None:
    page.open(lab, home, "hostile.ipynb", [code(cell) for cell in CELLS])
    page.run_all()
    for view in ("Side by side", "Exchange", "Quality", "Side by side"):
        page.button(view).click()
        page.row(2).click()
        if view == "Exchange":
            page.says("as curl")
        if view == "Quality":
            page.says("No judgments yet")
    page.says("<img src=x onerror=window.pwned=1>")
    page.picture("panel-hostile")
    assert page.script("return window.pwned") is None
    assert page.script("return arguments[0].querySelectorAll('img,script,iframe,object,[onload],[onerror]').length",
                       page.panel) == 0  # fmt: skip


def test_it_can_be_used_with_the_keyboard_and_in_the_dark(lab: str, home: Path, page: Page) -> None:
    page.theme("JupyterLab Dark")
    page.script("arguments[0].focus()", page.row(0))
    page.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)

    def current() -> list[str | None]:
        return [row.get_attribute("aria-current") for row in page.all(".nbproxy-grid tbody tr")][:3]

    page.until(lambda: current() == [None, "true", None])
    page.button("Exchange").click()
    page.says("as curl")
    page.picture("panel-dark-exchange")
    page.button("newest").click()
    page.button("Side by side").click()
    page.says("“")
    page.picture("panel-dark")
    page.driver.set_window_size(900, 1500)  # a narrow one: each button still lies over its row
    tops = [page.script("return arguments[0].getBoundingClientRect().top", one)
            for one in (page.row(3), page.all(".nbproxy-grid tbody tr")[3])]  # fmt: skip
    assert abs(tops[0] - tops[1]) < 2
    page.picture("panel-narrow")
    page.driver.set_window_size(1500, 1500)
    named = "e.innerText || e.title || e.getAttribute('aria-label') || (e.labels && e.labels.length)"
    found = f"[...arguments[0].querySelectorAll('button,select,input')].filter(e => !({named}))"
    unnamed = page.script(f"return {found}.map(e => e.outerHTML)", page.panel)
    assert unnamed == []
    page.theme("JupyterLab Light")
