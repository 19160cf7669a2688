"""The architecture: a module imports only from lower levels; the public surface; what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nbproxy

PACKAGE = Path(nbproxy.__file__).parent

# Level → modules, as ARCHITECTURE.md draws them.
LEVELS: dict[int, str] = {
    0: "_version errors messages places ranking settings warn watch merging tracebacks",
    1: "collection_formats heads chunks wire landing content exchange controls clicks interleave",
    2: "dialects rerankers redact ubi plots drafts frames orderings measures tables runs stats cards",
    3: "pipeline batches slices ledger streams marks segments memory finishing newest intake sealing recorder systems "
    "compare evaluate interleaving",
    4: "background trust origin dialing peers pages listing copies upstream recording replay datasets engine lanes "
    "scoring mergers options exchange_card report report_page report_sections convert",
    5: "context client outbound relay fetching answering search_rows searches shadows models named live_settings "
    "overview routes server ports views panel live remote remote_settings retriever "
    "probing keyboard screen live_view",
    6: "desk session connected registry patient doctor doctor_machine doctor_upstream",
    7: "demo demo_report magics magic_names",
    8: "commands cli",
}
LEVEL = {module: level for level, modules in LEVELS.items() for module in modules.split()}
TOP = {"__init__", "__main__"}  # the surface and the entry: above everything


def imports(path: Path) -> set[str]:
    """The nbproxy modules that a file imports when it runs (not those for type checkers only)."""
    found: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in _running(ast.parse(path.read_text())):
        absolute = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        absolute += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not any(name.partition(".")[0] == "nbproxy" for name in absolute), "imports among us are relative"
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level < depth:
                continue  # within its own package
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def _running(tree: ast.AST) -> list[ast.AST]:
    out: list[ast.AST] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        out.append(node)
        todo += ast.iter_child_nodes(node)
    return out


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem not in TOP or path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_a_module_imports_only_from_its_own_level_or_lower(path: Path) -> None:
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    mine = LEVEL[module]
    wrong = {name for name in imports(path) if LEVEL[name] > mine}
    assert not wrong, f"level {mine} {module} imports {wrong}"


def test_nothing_imports_in_a_circle() -> None:
    graph = {}
    for path in FILES:
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        graph.setdefault(module, set()).update(imports(path) - {module})
    seen: list[str] = []

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"circle: {' → '.join((*above, module))}"
        if module not in seen:
            for other in graph.get(module, ()):
                visit(other, (*above, module))
            seen.append(module)

    for module in graph:
        visit(module, ())


def test_only_wire_knows_httptools() -> None:
    users = {path.stem for path in FILES if "import httptools" in path.read_text()}
    assert users == {"wire"}


def test_every_test_mirrors_a_module() -> None:
    whole = "layers exports household clients pysolr search_apis typesense traffic readme notebooks grammar left_alone"
    whole += " ubi_searches browser"
    hostile = "smuggling hostile_upstream chaos stopping limits endless open_proxy mutated"
    beside = {*whole.split(), *hostile.split()}
    root = Path(__file__).parent
    modules = {path.relative_to(PACKAGE).with_suffix("") for path in FILES}
    for test in root.rglob("test_*.py"):
        if "benchmarks" in test.parts:
            continue
        name = test.relative_to(root).with_name(test.stem.removeprefix("test_"))
        assert name in modules or name.name in beside, f"{test} mirrors no module"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_nbproxy_loads_no_model_library_and_no_widgets() -> None:
    heavy = "torch transformers onnxruntime openvino ipywidgets bm25s scipy matplotlib IPython osmem_server"
    loaded = run(f"import sys, nbproxy; print([m for m in '{heavy}'.split() if m in sys.modules])")
    assert loaded == "[]"


def test_importing_nbproxy_starts_no_thread() -> None:
    assert run("import threading, nbproxy; print(threading.active_count())") == "1"
