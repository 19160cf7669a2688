"""``"original"``: upstream's own order as a model, to have its candidates recorded down to ``depth``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ranking import Hit
from .base import BaseReranker, hex16


class Original(BaseReranker):
    """Keeps the order: a marker for the pipeline, which answers without calling it (contract §2).

    Its scores are NaN, on purpose: it judges nothing, and no frame may suggest that it did.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__("original" if name is None else name, hex16(b"original"), "original")

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:  # noqa: ARG002 - the protocol's
        return [math.nan] * len(hits)

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:  # noqa: ARG002
        return [math.nan] * len(texts)


def is_original(model: object) -> bool:
    """Whether a reranker is this marker, under whatever name."""
    return isinstance(getattr(model, "inner", model), Original)
