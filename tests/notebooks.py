"""Runs the notebooks in a real kernel. As a program, stores them with what they printed and drew:

python -m tests.notebooks [NAME …]    those whose name begins so; none named: all
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIMEOUT = 300  # of a cell


class Here(AsyncKernelManager):
    """A kernel of this very interpreter, whatever is installed for the user."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="here", language="python")


def executed(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its outputs, run from top to bottom where it lies; raises where a cell does."""
    NotebookClient(
        book,
        timeout=TIMEOUT,
        kernel_manager_class=Here,
        resources={"metadata": {"path": str(FOLDER)}},
        record_timing=False,
    ).execute()
    return book


def emptied(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same without outputs."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    book.metadata.pop("widgets", None)
    return book


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def main(names: list[str]) -> None:
    for path in NOTEBOOKS:
        if not names or any(path.name.startswith(name) for name in names):
            book = executed(emptied(read(path)))
            book.metadata["language_info"] = {"name": "python"}  # not this machine's version
            book.metadata.pop("widgets", None)  # 180 kB of a panel's state; its picture stands beside it, as HTML
            nbformat.write(book, path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
