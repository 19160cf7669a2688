"""Each model against judgments: nDCG@10 over time, and the comparison table.

Laws: it reads the whole recording, so it is done on a thread of its own, only while it is looked at, and not again
before ten times as long as it took.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from .. import tables, views
from ..errors import NbproxyError
from .charts import over_time
from .markup import COLOUR, FONT

MEASURE = "nDCG@10"
BUCKETS = 24


class Measured(Protocol):
    """What is asked of the session."""

    def evaluate(self, qrels: pd.DataFrame, *, queries: Any = None) -> Any: ...
    def _rows(self) -> pd.DataFrame: ...
    def _orders(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Judgments:
    """What ``session.panel(qrels=..., queries=...)`` was given."""

    qrels: pd.DataFrame
    queries: pd.DataFrame | None = None


def quality(session: Measured, judged: Judgments | None) -> str:
    """The whole view; what cannot be measured yet is said."""
    if judged is None:
        return _said("No judgments yet: session.panel(qrels=...) takes query_id, doc_id, relevance.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of uneven query sets: the table has n_queries
            evaluation = session.evaluate(judged.qrels, queries=judged.queries)
            lines, ends = progress(session._rows(), session._orders(), judged)
    except Exception as error:  # whatever the judgments are: it is said here, not lost on a thread
        return _said(f"Nothing to measure yet: {error}")
    chart = over_time(lines, ends) if lines else ""
    title = f'<div style="font-weight:600;padding:8px 0 2px">{MEASURE} of the served order, by model, over time</div>'
    return f'<div style="{FONT};{COLOUR}">{title if lines else ""}{chart}{tables.to_html(evaluation._tables())}</div>'


def _said(text: str) -> str:
    return f'<div style="{FONT};{COLOUR};padding:8px 0"><i>{views.escaped(text, 400)}</i></div>'


def progress(
    rows: pd.DataFrame, hits: pd.DataFrame, judged: Judgments
) -> tuple[dict[str, list[float | None]], tuple[str, str]]:
    """Each model's mean nDCG@10 of the searches that it served, in equal spans of time; the first and last moment.

    :returns: model → one value for each of ``BUCKETS`` spans, None where it served no judged search.
    """
    from ..evaluate import evaluate_recorded

    served = rows[rows["reranked"].fillna(False).astype(bool)]
    if served.empty:
        return {}, ("", "")
    at = served["started"].astype("int64")
    edges = np.linspace(at.min(), at.max() + 1, BUCKETS + 1)
    bucket = np.clip(np.searchsorted(edges, at.to_numpy(), side="right") - 1, 0, BUCKETS - 1)
    found: dict[str, list[float | None]] = {}
    for number in np.unique(bucket):
        piece = served[bucket == number]
        own = hits[hits["exchange_id"].isin(piece["exchange_id"]) & (hits["role"] == "served")]
        try:
            summary = evaluate_recorded(
                piece, own, judged.qrels, measures=[MEASURE], baseline=None, queries=judged.queries
            ).summary
        except NbproxyError:  # none of its searches is judged
            continue
        for model, value in summary[MEASURE].items():
            if model in set(piece["model"]) and value == value:
                found.setdefault(str(model), [None] * BUCKETS)[int(number)] = float(value)
    ends = (served["started"].min(), served["started"].max())
    return found, (f"{ends[0]:%H:%M:%S}", f"{ends[1]:%H:%M:%S} UTC")
