"""Each notebook runs from top to bottom in a real kernel, and is stored, small, with what that showed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest

from .notebooks import FOLDER, NOTEBOOKS, emptied, executed, read

SMALL = 100_000
DRAWS = {"02-swap-and-shadow", "03-evaluate", "05-your-own-elasticsearch"}
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def shown(book: nbformat.NotebookNode) -> list[set[str]]:
    """What kinds of output each cell has; what they say differs with ports and times."""
    return [set(_kinds(cell.get("outputs", ()))) for cell in book.cells]


def _kinds(outputs: Iterable[nbformat.NotebookNode]) -> Iterable[str]:
    for output in outputs:
        yield from output.get("data", {output.get("name", output["output_type"]): None})


def test_they_are_all_there() -> None:
    names = "01-quickstart 02-swap-and-shadow 03-evaluate 04-write-a-dialect 05-your-own-elasticsearch"
    assert [path.stem for path in NOTEBOOKS] == names.split()


@each
def test_a_notebook_is_valid_and_small(path: Path) -> None:
    nbformat.validate(read(path))
    assert path.stat().st_size < SMALL


@each
def test_a_notebook_is_stored_as_it_ran(path: Path) -> None:
    """``python -m tests.notebooks`` stores it so: every cell in its order, no error, no warning, its pictures in it."""
    book = read(path)
    counts = [cell["execution_count"] for cell in book.cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    kinds = set().union(*shown(book))
    assert not kinds & {"stderr", "error"}
    assert ("image/png" in kinds) == (path.stem in DRAWS)
    assert not any(place in path.read_text() for place in (str(FOLDER), str(Path.home()) + "/"))


@pytest.mark.engine
@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own machinery, not of ours
@each
def test_a_notebook_runs_and_shows_what_is_stored(path: Path) -> None:
    book = read(path)
    stored = shown(book)
    ran = executed(emptied(book))
    assert shown(ran) == stored, f"python -m tests.notebooks {path.name} stores it anew"
    assert "text/html" in set().union(*stored)
