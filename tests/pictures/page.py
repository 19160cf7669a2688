"""``nbproxy report``'s page, in a browser."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbproxy
from nbproxy.rerankers import packaged_minilm

from ..browser import ROOT, chromium
from .household import Asking
from .kept import shot

WIDE, NARROW = (1000, 1150), (390, 844)


def report() -> list[Path]:
    """The page with judgments: where it begins, its evaluation, the whole, and on a telephone in the dark."""
    with tempfile.TemporaryDirectory() as folder, chromium() as page:
        page.sized(*WIDE)
        page.driver.get(_written(Path(folder)).as_uri())
        made = [shot(page.window("report"), "report", 835)]
        page.script("document.getElementById('evaluation').scrollIntoView()")
        made.append(shot(page.window("report-evaluation"), "report-evaluation", 880))
        made.append(page.whole("report-whole"))
        page.sized(*NARROW)
        page.dark()
        return [*made, page.whole("report-narrow-dark")]


def _written(folder: Path) -> Path:
    """What the command line writes about every query of the collection, asked of three systems."""
    collection = nbproxy.datasets.load("household")
    session = nbproxy.start(name="household", record=folder / "recording", deadline=30)
    try:
        session.models["all-MiniLM-L6-v2"] = packaged_minilm()
        asking = Asking(session, len(collection.queries))
        for model in ("original", "bm25", session.models["all-MiniLM-L6-v2"]):
            session.model = model
            asking.all()
        asking.steadily(600, 0.01)
    finally:
        session.stop()
    collection.qrels.assign(run=0)[["query_id", "run", "doc_id", "relevance"]].to_csv(
        folder / "qrels", sep=" ", header=False, index=False
    )
    command = ["report", "recording", "-o", "report.html", "--qrels", "qrels", "--title", "Household searches"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "nbproxy", *command], cwd=folder, env=environment, check=True)
    return folder / "report.html"
