"""PyTerrier's transformers: pandas frames in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import RerankFault
from ..ranking import Hit
from .base import BaseReranker, filled
from .objects import object_fingerprint


class Terrier(BaseReranker):
    """A PyTerrier transformer that reranks: in go ``qid, query, docno, text, score, rank``, out come ``docno`` and
    ``score``, as https://pyterrier.readthedocs.io/en/latest/datamodel.html has them.

    ``docno`` is the document's id where the hits' are distinct, else its place; ``score`` is upstream's, where it gave
    none minus the rank; ``rank`` counts from 0. Documents that the transformer drops come last.
    """

    def __init__(self, transformer: Any, *, name: str | None = None) -> None:
        super().__init__(name or _name(transformer), _fingerprint(transformer), transformer)
        self.transformer = transformer

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        if not hits:
            return []
        ids = [hit.doc_id for hit in hits]
        docnos = [str(one) for one in ids] if None not in ids and len(set(ids)) == len(ids) else _places(hits)
        result = self.transformer.transform(_frame(query, hits, docnos))
        return filled(_by_docno(result, docnos))


def _frame(query: str, hits: Sequence[Hit], docnos: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "qid": "1",
            "query": query,
            "docno": docnos,
            "text": [hit.text or "" for hit in hits],
            "score": [-float(hit.rank) if hit.score is None else hit.score for hit in hits],
            "rank": range(len(hits)),
        }
    )


def _by_docno(result: Any, docnos: list[str]) -> list[float | None]:
    if "docno" not in result.columns or not {"score", "rank"} & set(result.columns):
        raise RerankFault(
            f"the transformer returned the columns {', '.join(result.columns)} instead of docno and score"
        )
    scores = result["score"] if "score" in result.columns else -result["rank"]
    found = dict(zip(result["docno"].astype(str), scores.astype(float), strict=True))
    if len(found) < len(result) or not found.keys() <= set(docnos):
        raise RerankFault("the transformer returned a document twice, or one that it was not given")
    return [found.get(docno) for docno in docnos]


def _places(hits: Sequence[Hit]) -> list[str]:
    return [str(place) for place in range(len(hits))]


def _name(transformer: Any) -> str:
    """Its own name; of a pipeline, and of what was given none, how it shows."""
    own, kind, shown = getattr(transformer, "name", None), type(transformer).__name__, repr(transformer)
    if isinstance(own, str) and own not in ("", "Transformer", kind):
        return own
    return shown if len(shown) <= 60 and " at 0x" not in shown else kind


def _fingerprint(transformer: Any) -> str:
    """Of a pipeline over its steps, too."""
    from pyterrier import Transformer

    held = (value if isinstance(value, (list, tuple)) else [value] for value in vars(transformer).values())
    steps = (one for values in held for one in values if isinstance(one, Transformer))
    return object_fingerprint(transformer, *(_fingerprint(step) for step in steps))
