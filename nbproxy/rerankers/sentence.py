"""Loaded models of sentence-transformers: a ``CrossEncoder``, and encoders with their prompts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..ranking import Hit, Reranker, readable
from .base import BaseReranker, each_once, hex16, texts_of
from .loading import usable_length
from .objects import weights_fingerprint, weights_name
from .squash import Floats, scores_of
from .vectors import VectorCache


class SentenceCrossEncoder(BaseReranker):
    """A ``CrossEncoder``: the scores of its ``predict``; with two labels those of ``apply_softmax=True``'s second one.

    They are asked for before the activation, which is put on here, so that the order is the logits' (contract §2). An
    activation that is unknown here is left to the library.
    """

    def __init__(self, encoder: Any, *, name: str | None = None) -> None:
        if encoder.num_labels not in (1, 2):
            raise ConfigError(
                f"a cross-encoder has 1 or 2 labels, this one {encoder.num_labels}; none of them is a relevance"
            )
        said = (_dotted(encoder.activation_fn), repr(sorted(encoder.prompts.items())), str(encoder.default_prompt_name))
        super().__init__(name or weights_name(encoder), weights_fingerprint(encoder, *said), encoder)
        self.encoder = encoder
        self._turn = threading.Lock()

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        with self._turn:
            return each_once(texts_of(hits), lambda texts: self._predicted(readable(query), texts))

    def _predicted(self, query: str, texts: list[str]) -> Floats:
        import torch

        pairs = [(query, text) for text in texts]
        activation = _dotted(self.encoder.activation_fn)
        if self.encoder.num_labels == 1 and not _knows(activation):
            return np.asarray(self.encoder.predict(pairs, show_progress_bar=False), dtype=np.float64)
        logits = self.encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return scores_of(np.asarray(logits, dtype=np.float64).reshape(len(texts), -1), activation)


class SentenceEncoder(BaseReranker):
    """A ``SentenceTransformer``, or another of the library's encoders: its ``similarity`` of query and document, each
    encoded with the prompt that the model has for it.

    Vectors of documents are kept, those of dense models.
    """

    def __init__(self, encoder: Any, *, name: str | None = None) -> None:
        said = (
            str(encoder.similarity_fn_name),
            repr(sorted(encoder.prompts.items())),
            str(encoder.default_prompt_name),
        )
        super().__init__(name or _encoder_name(encoder), weights_fingerprint(encoder, *said), encoder)
        self.encoder, self.cache = encoder, VectorCache()
        self._dense = type(encoder).__name__ == "SentenceTransformer"
        self._turn = threading.Lock()

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        with self._turn:
            return each_once(texts_of(hits), lambda texts: self._alike(readable(query), texts))

    def _alike(self, query: str, texts: list[str]) -> Any:
        asked = self.encoder.encode_query([query], show_progress_bar=False)
        read = self.cache.vectors(texts, self._read) if self._dense else self._read(texts)
        return self.encoder.similarity(asked, read.astype(np.float32) if self._dense else read)[0].float()

    def _read(self, texts: list[str]) -> Any:
        return self.encoder.encode_document(texts, show_progress_bar=False)


def from_cross_encoder(encoder: Any, name: str | None = None) -> Reranker:
    """A ``CrossEncoder`` as a model: by our own batches where it is a plain classifier, else by its ``predict``."""
    from .transformer import CrossEncoder

    activation = _dotted(encoder.activation_fn)
    plain = len(encoder) == 1 and not encoder.prompts and _is_transformers(encoder.model)
    if not plain or encoder.num_labels not in (1, 2) or not _knows(activation) or not _reads_as_much(encoder):
        return SentenceCrossEncoder(encoder, name=name)
    made: Any = CrossEncoder.of(encoder.model, encoder.tokenizer, name=name or weights_name(encoder))
    if not activation.endswith(".Sigmoid"):
        made.activation = activation
        made.fingerprint = hex16(made.fingerprint.encode(), activation.encode())
    made.source = encoder
    reranker: Reranker = made
    return reranker


def _knows(activation: str) -> bool:
    return activation.startswith("torch.") and activation.rpartition(".")[2] in ("Sigmoid", "Tanh", "Identity")


def _reads_as_much(encoder: Any) -> bool:
    """Whether the encoder was told no shorter length than its model's."""
    return encoder.max_seq_length in (None, usable_length(encoder.model, encoder.tokenizer))


def _is_transformers(model: Any) -> bool:
    import transformers

    return isinstance(model, transformers.PreTrainedModel)


def _dotted(activation: object) -> str:
    return f"{type(activation).__module__}.{type(activation).__qualname__}"


def _encoder_name(encoder: Any) -> str:
    first = getattr(encoder, "transformers_model", None)
    return weights_name(encoder if first is None else first)
