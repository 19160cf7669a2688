"""One HTML page from a recording: traffic, latency, comparisons, evaluation, errors, with pictures."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import plots
from ._version import __version__
from .errors import ConfigError
from .report_page import page
from .report_sections import SECTIONS, Material, made, tiles
from .runs import read_qrels

if TYPE_CHECKING:
    from .recording import Recorded

STEPS = len(SECTIONS) + 2  # reading and writing are steps too


def write(
    recorded: Recorded,
    path: str | Path,
    qrels: pd.DataFrame | None = None,
    queries: pd.DataFrame | None = None,
    *,
    title: str = "nbproxy report",
    done: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a report.

    :param recorded: a recording or a session.
    :param path: the HTML file; its directory must be there. One that is there is replaced, whole or not at all.
    :param qrels: ``query_id, doc_id, relevance``; None: no evaluation.
    :param queries: ``query_id, query``, where the qrels' ids are neither recorded ids nor texts.
    :param done: told of each of ``STEPS``, for a progress bar.
    :raises MissingExtra: matplotlib is not installed.
    :raises ConfigError: the file cannot be written, or the judgments cannot be read.
    """
    plots.matplotlib()  # before minutes of work
    text = rendered(recorded, qrels, queries, title=title, done=done)
    target = Path(path)
    _replace(target, text)
    done("written")
    return target


def rendered(
    recorded: Recorded,
    qrels: pd.DataFrame | None = None,
    queries: pd.DataFrame | None = None,
    *,
    title: str = "nbproxy report",
    done: Callable[[str], None] = lambda _: None,
) -> str:
    """The page as text."""
    if qrels is not None:
        read_qrels(qrels)  # judgments that cannot be read are an error, not a section that is missing
    rows = recorded._rows()
    material = Material(recorded, rows[rows["route"] != "own"], recorded._orders(), qrels, queries)
    done("read")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sections = made(material, done)
    for warning in told:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    made_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    foot = f"Made by nbproxy {__version__} on {made_at}. Recorded text is escaped; the page loads nothing."
    return page(title, _facts(recorded, material), tiles(material), sections, foot)


def _facts(recorded: Recorded, material: Material) -> dict[str, str]:
    times = material.exchanges["started"]
    span = f"{times.min():%Y-%m-%d %H:%M:%S} to {times.max():%Y-%m-%d %H:%M:%S}" if len(times) else "nothing yet"
    models = ", ".join(sorted(material.frame.loc[material.frame["reranked"].fillna(False), "model"].dropna().unique()))
    where: Any = getattr(recorded, "path", None) or getattr(recorded, "recorded_in", None) or "in memory"
    return {"recording": str(where), "time (UTC)": span, "models": models or "none"}


def _replace(target: Path, text: str) -> None:
    """Whoever looks sees the old page or the new one."""
    try:
        handle, half = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(half).chmod(0o600 if not target.exists() else target.stat().st_mode & 0o777)
            Path(half).replace(target)
        except BaseException:
            Path(half).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from error
