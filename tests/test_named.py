"""Models by a text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nbproxy.errors import ConfigError, MissingExtra
from nbproxy.named import named

MODULE = """
import sys
import nbproxy

class Box:
    @staticmethod
    def rank(query, texts): return []

sys.path.insert(0, "elsewhere")

def __getattr__(name):
    if name == "extra":
        raise nbproxy.MissingExtra("flax", "pip install flax")
    raise AttributeError(name)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    module = f"named_models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return module


@pytest.mark.parametrize(
    ("text", "stands_for"),
    [("none", None), ("bm25", "bm25"), ("org/model", "org/model"), ("./folder", "./folder"),
     ("http://localhost:1/rerank", "http://localhost:1/rerank"),
     ("https://me:key@a.example/v1/rerank#org/model", "https://me:key@a.example/v1/rerank#org/model")],
)  # fmt: skip
def test_what_a_text_stands_for(text: str, stands_for: object) -> None:
    assert named(text) == stands_for


def test_an_attribute_of_a_module_here(here: str) -> None:
    path = list(sys.path)
    assert named(f"{here}:Box.rank").__name__ == "rank"
    assert sys.path == ["elsewhere", *path]  # the module's own doing stays, ours does not


def test_a_path_with_a_colon_is_a_path(here: str) -> None:
    Path("a:b").mkdir()
    assert named("a:b") == "a:b"


def test_what_cannot_be_imported_says_so(here: str) -> None:
    for text, message in ((f"{here}:no", "no"), ("no_such_module:x", "No module named"), (":x", "Empty module name")):
        with pytest.raises(ConfigError, match=f"{text} cannot be imported: .*{message}"):
            named(text)
    with pytest.raises(MissingExtra, match=r"^flax is not installed; run: pip install flax$"):
        named(f"{here}:extra")
