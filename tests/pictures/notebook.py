"""The notebook's panel, in a JupyterLab, in a browser."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat

from ..browser import Page, chromium, jupyterlab
from .household import STAR
from .kept import shot

CELLS = (
    """
import threading
import nbproxy
from nbproxy.rerankers import packaged_minilm
from tests.pictures.household import Asking

session = nbproxy.start(name="household", record=False, deadline=30)
session.models["all-MiniLM-L6-v2"] = packaged_minilm()
asking = Asking(session)
for model in ("original", "bm25", session.models["all-MiniLM-L6-v2"]):
    session.model = model
    asking.all()
session.shadow["bm25"] = "bm25"
asking.all()
session.flush()
""",
    "session.panel()",
    "session.panel(nbproxy.datasets.load('household').qrels)",
    "threading.Thread(target=asking.steadily, args=(300,), daemon=True).start()",
)


def panel() -> list[Path]:
    """Both orders of one search in both themes, and one exchange."""
    with shown((CELLS[0], CELLS[1], CELLS[3])) as page:
        page.until(lambda: STAR in page.all(".nbproxy-grid tbody tr")[0].text)
        page.row(0).click()
        page.says(f"“{STAR}”")
        page.until(lambda: page.all(".nbproxy-panel tr[aria-current]"))
        kept = shot(page.picture("panel"), "panel", 976)
        page.button("Exchange").click()
        page.says("as curl")
        made = [page.picture("panel-exchange")]
        page.button("Side by side").click()
        page.says("upstream’s order")
        page.theme("JupyterLab Dark")
        return [kept, *made, shot(page.picture("panel-dark"), "panel-dark", 976)]


def quality() -> list[Path]:
    """The panel once it has judgments."""
    with shown((CELLS[0], CELLS[2])) as page:
        page.says("over time")
        return [page.picture("panel-quality")]


@contextlib.contextmanager
def shown(cells: Sequence[str]) -> Iterator[Page]:
    """A notebook of these cells, run, in a JupyterLab and a browser of its own."""
    with tempfile.TemporaryDirectory() as directory, jupyterlab(Path(directory)) as lab, chromium((1400, 1500)) as page:
        page.open(lab, Path(directory), "household.ipynb", [nbformat.v4.new_code_cell(cell) for cell in cells])
        page.run_all()
        yield page
