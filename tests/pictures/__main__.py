"""Makes the README's pictures in ``pictures/``: ``python -m tests.pictures [NAME …]``, all where none is named.

One function a picture; what it needs (a browser, a terminal) it brings itself. Nothing of it is drawn by hand.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import nbformat

from ..browser import Page, chromium, jupyterlab

PANEL = (
    """
import nbproxy
from nbproxy.rerankers import packaged_minilm
from opensearchpy import OpenSearch

session = nbproxy.start(name="household", record=False, deadline=30)
session.models["all-MiniLM-L6-v2"] = packaged_minilm()
client = OpenSearch(session.url)
collection = nbproxy.datasets.load("household")

def ask_all(n):
    for row in collection.queries.head(n).itertuples():
        body = {"query": {"multi_match": {"query": row.query, "fields": ["title", "text"]}}}
        client.search(index="household", body=body, headers={"X-Opaque-Id": row.query_id})

for model in ("original", "bm25", session.models["all-MiniLM-L6-v2"]):
    session.model = model
    ask_all(16)
session.shadow["bm25"] = "bm25"
ask_all(16)
session.flush()
""",
    "session.panel()",
    "session.panel(collection.qrels)",
)


def panel() -> list[Path]:
    """The notebook's panel: both orders of one search in both themes, and one exchange."""
    with shown(PANEL[:2]) as page:
        page.row(3).click()
        page.until(lambda: page.all(".nbproxy-panel tr[aria-current]"))
        made = [page.picture("panel")]
        page.button("Exchange").click()
        page.says("as curl")
        made.append(page.picture("panel-exchange"))
        page.button("Side by side").click()
        page.says("upstream’s order")
        page.theme("JupyterLab Dark")
        return [*made, page.picture("panel-dark")]


def quality() -> list[Path]:
    """The panel once it has judgments."""
    with shown((PANEL[0], PANEL[2])) as page:
        page.says("over time")
        return [page.picture("panel-quality")]


@contextlib.contextmanager
def shown(cells: Sequence[str]) -> Iterator[Page]:
    """A notebook of these cells, run, in a JupyterLab and a browser of its own."""
    with tempfile.TemporaryDirectory() as directory, jupyterlab(Path(directory)) as lab, chromium((1400, 1500)) as page:
        page.open(lab, Path(directory), "household.ipynb", [nbformat.v4.new_code_cell(cell) for cell in cells])
        page.run_all()
        yield page


PICTURES: dict[str, Callable[[], list[Path]]] = {"panel": panel, "quality": quality}


def main(names: list[str]) -> None:
    """Make them, and say where they are."""
    for name in names or PICTURES:
        for file in PICTURES[name]():
            print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
