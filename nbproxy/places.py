"""Where nbproxy keeps things on this machine."""

from __future__ import annotations

import warnings
from pathlib import Path

import platformdirs


def runtime_directory() -> Path:
    """For what lives as long as a session does, readable by its owner only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR, as in containers: the fall-back is as private
        return Path(platformdirs.user_runtime_dir("nbproxy"))
