"""FlashRank's ``Ranker``: small cross-encoders in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ranking import Hit, readable
from .base import BaseReranker, each_once, filled, texts_of
from .objects import files_fingerprint, object_fingerprint, source_name
from .squash import Floats, scores_of

_AT_ONCE = 16


class Flash(BaseReranker):
    """A ``Ranker``, by its tokenizer and its session: the scores of its ``rerank``, in the order of the logits.

    Texts go through in batches of 16, the longest first: ``rerank`` takes all at once, padded to the longest of them,
    in memory that grows with their number. A listwise ranker, which gives an order, is asked by ``rerank``.
    """

    def __init__(self, ranker: Any, *, name: str | None = None) -> None:
        fingerprint = files_fingerprint(ranker.model_dir) or object_fingerprint(type(ranker).rerank)
        super().__init__(name or source_name(ranker.model_dir, ranker), fingerprint, ranker)
        self.ranker = ranker

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        texts, query = texts_of(hits), readable(query)
        if texts and getattr(self.ranker, "llm_model", None) is not None:
            return self._listed(query, texts)
        return each_once(texts, lambda distinct: self._scored(query, distinct))

    def _scored(self, query: str, texts: list[str]) -> Floats:
        order = sorted(range(len(texts)), key=lambda place: (-len(texts[place]), texts[place]))
        batches = (order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE))
        logits = [self._logits(query, [texts[place] for place in batch]) for batch in batches]
        scores = np.empty(len(texts))
        scores[order] = scores_of(np.concatenate(logits), None)
        return scores

    def _logits(self, query: str, texts: list[str]) -> Floats:
        """Shape ``(n, labels)``."""
        encoded = self.ranker.tokenizer.encode_batch([(query, text) for text in texts])
        inputs = {
            "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], dtype=np.int64),
        }
        taken = {one.name for one in self.ranker.session.get_inputs()}
        outputs = self.ranker.session.run(None, {name: value for name, value in inputs.items() if name in taken})
        return np.asarray(outputs[0], dtype=np.float64)

    def _listed(self, query: str, texts: list[str]) -> list[float]:
        from flashrank import RerankRequest

        passages = [{"id": place, "text": text} for place, text in enumerate(texts)]
        found: list[float | None] = [None] * len(texts)
        for place, passage in enumerate(self.ranker.rerank(RerankRequest(query=query, passages=passages))):
            found[passage["id"]] = float(len(texts) - place)
        return filled(found)
