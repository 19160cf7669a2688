"""Models of AnswerDotAI's library ``rerankers``: whatever its ``Reranker(…)`` gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..ranking import Hit, readable
from .base import BaseReranker, each_once, filled, texts_of
from .objects import files_fingerprint, object_fingerprint, source_name, weights_fingerprint, weights_name

_AT_ONCE = 64


class AnswerDotAI(BaseReranker):
    """A ``BaseRanker``: its ``rank`` with the documents' places as ids.

    A ranker that gives an order only (RankGPT and its like) scores by place. What a ranker leaves out comes last.
    Pointwise rankers get 64 texts at once, others all.
    """

    def __init__(self, ranker: Any, *, name: str | None = None) -> None:
        super().__init__(name or _name(ranker), _fingerprint(ranker), ranker)
        self.ranker = ranker

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        # Each text once: some rankers tell documents apart by their texts.
        return each_once(texts_of(hits), lambda texts: self._scored(readable(query), texts))

    def _scored(self, query: str, texts: list[str]) -> Any:
        pointwise = getattr(self.ranker, "ranking_type", None) == "pointwise"
        size = _AT_ONCE if pointwise else len(texts)
        batches = (texts[start : start + size] for start in range(0, len(texts), size))
        return np.array(filled([value for batch in batches for value in self._ranked(query, batch)]))

    def _ranked(self, query: str, texts: list[str]) -> list[float | None]:
        found: list[float | None] = [None] * len(texts)
        for place, result in enumerate(self._results(query, texts)):
            score = float(len(texts) - place) if result.score is None else float(result.score)
            found[int(result.document.doc_id)] = score
        return found

    def _results(self, query: str, texts: list[str]) -> Iterable[Any]:
        results: Iterable[Any] = self.ranker.rank(query=query, docs=texts, doc_ids=list(range(len(texts)))).results
        return results


def _name(ranker: Any) -> str:
    model = getattr(ranker, "model", None)
    folder = getattr(model, "model_dir", None)
    if isinstance(model, str) or folder is not None:
        return source_name(folder or model, ranker)
    return weights_name(model) if hasattr(model, "config") else type(ranker).__name__


def _fingerprint(ranker: Any) -> str:
    """Over weights where there are some, else over what the ranker is set to; never over its key."""
    model, kind = getattr(ranker, "model", None), type(ranker).__qualname__
    if hasattr(model, "state_dict"):
        return weights_fingerprint(model, kind)
    folder = getattr(model, "model_dir", None)
    files = files_fingerprint(folder) if folder is not None else None
    said = [files or "", *(str(getattr(ranker, key, "")) for key in ("api_provider", "url", "lang"))]
    return object_fingerprint(type(ranker).rank, kind, _name(ranker), *said)
