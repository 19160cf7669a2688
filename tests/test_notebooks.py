"""Each notebook runs from top to bottom in a real kernel, and is stored without outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_is_small_and_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert path.stat().st_size < 100_000
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)


@pytest.mark.engine
@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own machinery, not of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path) -> None:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Here(AsyncKernelManager):
        """A kernel of this very interpreter, whatever is installed for the user."""

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name="here", language="python")

    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, timeout=300, kernel_manager_class=Here, resources={"metadata": {"path": str(ROOT)}})
    client.execute()
    kinds = {name for cell in book.cells for out in cell.get("outputs", ()) for name in out.get("data", {})}
    assert "text/html" in kinds
    assert not [out for cell in book.cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"]
