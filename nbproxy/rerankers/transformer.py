"""Models of the transformers library: cross-encoders and bi-encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from .folders import Kind, ModelFolder, Pooling, architecture_kind
from .kept import Rows, ScoreCache
from .loaded import Options, TransformerReranker, find
from .loading import Parts, libraries
from .squash import Floats, scores_of
from .vectors import VectorCache
from .windows import Encoded, joined

_QUERIES = 1_024  # vectors of queries that a bi-encoder keeps


class CrossEncoder(TransformerReranker):
    """Reads query and text together; ``AutoModelForSequenceClassification`` with one or two labels.

    Scores are those of sentence-transformers' ``CrossEncoder.predict`` with its defaults, or, with two labels, its
    ``predict(…, apply_softmax=True)[:, 1]``: label 1 is taken to mean relevant.

    Pairs are cut as ``predict`` cuts them, the longer of the two first; a query longer than half of ``max_length`` is
    cut to that half before, so that a text always has the other half. ``passages="max"`` reads a long text whole.
    """

    kind = "cross-encoder"
    auto_class = "AutoModelForSequenceClassification"

    def describe(self, folder: ModelFolder | None) -> None:
        self.activation = folder.activation if folder else None

    def kept(self, most: int) -> dict[str, Any]:
        return {"scores": ScoreCache(most)}

    def _take(self, parts: Parts, options: Options, prefixes: dict[str, str]) -> None:
        labels = parts.model.config.num_labels
        if labels not in (1, 2):
            raise ConfigError(f"a cross-encoder has 1 or 2 labels, this one {labels}; none of them is a relevance")
        super()._take(parts, options, prefixes)

    def module(self, model: Any) -> Any:
        from .modules import classifier

        return classifier(model)

    def score_texts(self, query: str, texts: list[str]) -> Floats:
        cache: ScoreCache = self.caches["scores"]
        logits = cache.rows(self.fingerprint, query, texts, lambda new: self._logits(query, new)).astype(np.float64)
        scores = scores_of(logits, self.activation)
        self.doubts.look(_ranking(logits), scores)
        return scores

    def logits(self, query: str, texts: list[str]) -> Floats:
        """What the model says before anything squashes it, shape ``(n, num_labels)``; computed now."""
        return self._logits(query, texts).astype(np.float64)

    def raw(self, query: str, texts: list[str]) -> Floats:
        ranking: Floats = _ranking(self.logits(query, texts))
        return ranking

    def prepare(self, searches: Sequence[tuple[str, list[str]]]) -> None:
        cache: ScoreCache = self.caches["scores"]
        keys: list[bytes] = []
        asked = []
        for query, texts in searches:
            missing = cache.missing(self.fingerprint, query, texts)
            if new := {key: text for key, text in missing.items() if key not in keys}:
                keys += new
                asked.append(self._encoded(query, list(new.values())))
        if len(asked) > 1:
            cache.keep(dict(zip(keys, self._computed(joined(asked)), strict=True)))

    def _logits(self, query: str, texts: list[str]) -> Rows:
        return self._computed(self._encoded(query, texts))

    def _encoded(self, query: str, texts: list[str]) -> Encoded:
        return self.reader.pairs(self.query_prefix + query, [self.document_prefix + text for text in texts])

    def _computed(self, encoded: Encoded) -> Rows:
        """One row for each text."""
        rows, texts = self.rows(encoded), encoded.owners[-1] + 1
        self.work.texts += texts
        return rows if len(rows) == texts else rows[_best(_ranking(rows), encoded.owners)]

    def cut(self, query: str) -> str:
        """The query's first tokens, at most half of ``max_length``."""
        return self.reader.cut(query)


class BiEncoder(TransformerReranker):
    """Reads query and text apart; an ``AutoModel`` whose token vectors are pooled, and their cosine.

    Pooling is the mean over the attention mask, or the first token's vector where the folder says so. Scores are
    those of sentence-transformers' ``encode_query``, ``encode_document`` and ``cos_sim``, in [-1, 1]. Vectors of
    documents are kept, so that a document costs once, not once a query.
    """

    kind = "bi-encoder"
    auto_class = "AutoModel"
    pooling: Pooling

    def describe(self, folder: ModelFolder | None) -> None:
        self.pooling = folder.pooling if folder else "mean"

    def kept(self, most: int) -> dict[str, Any]:
        return {"vectors": VectorCache(most), "queries": VectorCache(_QUERIES if most else 0)}

    def module(self, model: Any) -> Any:
        from .modules import Pooled

        return Pooled(model, self.pooling).eval()

    @property
    def cache(self) -> VectorCache:
        """The documents' vectors."""
        cache: VectorCache = self.caches["vectors"]
        return cache

    def score_texts(self, query: str, texts: list[str]) -> Floats:
        asked = self.caches["queries"].vectors([query], self._embed_query)[0]
        parts = self.cache.parts(texts, self._windows)
        scores = np.array([(part @ asked).max() for part in parts])
        self.doubts.look(scores, scores)
        return scores

    def prepare(self, searches: Sequence[tuple[str, list[str]]]) -> None:
        texts = list(dict.fromkeys(text for _, texts in searches for text in texts))
        queries = list(dict.fromkeys(query for query, texts in searches if texts))
        if texts and self.cache.most:
            self.cache.prepare(texts, self._windows)
            self.caches["queries"].prepare(queries, lambda new: list(self._embed_query(new)[:, None]))

    def raw(self, query: str, texts: list[str]) -> Floats:
        asked = self._embed_query([query])[0]
        return np.array([(part @ asked).max() for part in self._windows(texts)])

    def _embed_query(self, queries: list[str]) -> Floats:
        return self.embed([self.query_prefix + query for query in queries])

    def embed(self, texts: list[str]) -> Floats:
        """Vectors of length 1, of the texts' beginnings and as they are (no prefix), shape ``(n, hidden size)``."""
        encoded = self.reader.singles(texts)
        firsts = np.searchsorted(encoded.owners, np.arange(len(texts)))
        return _normalised(self.rows(encoded))[firsts]

    def _windows(self, texts: list[str]) -> list[Floats]:
        """Each text's windows' vectors."""
        encoded = self.reader.singles([self.document_prefix + text for text in texts])
        self.work.texts += len(texts)
        ends = np.searchsorted(encoded.owners, np.arange(1, len(texts)))
        return np.split(_normalised(self.rows(encoded)), ends)


_CLASSES: dict[Kind, type[TransformerReranker]] = {"cross-encoder": CrossEncoder, "bi-encoder": BiEncoder}


def load(source: str | Path, *, name: str | None = None, device: str | None = None) -> TransformerReranker:
    """The model in a folder or on the hub, of whichever kind its configuration says.

    :raises ConfigError: there is no such model, or it is of neither kind.
    :raises MissingExtra: torch or transformers is not installed.
    """
    folder, own_name = find(source)
    kind = _CLASSES[folder.kind]
    reranker = kind.__new__(kind)  # its __init__ would ask the hub a second time
    reranker._open(folder, name or own_name, source, Options(device=device))
    return reranker


def from_pair(model: Any, tokenizer: Any, *, name: str | None = None) -> TransformerReranker:
    """A reranker from a loaded model and its tokenizer: a cross-encoder where it classifies sequences."""
    libraries()
    encoder_decoder = bool(getattr(model.config, "is_encoder_decoder", False))
    kind = architecture_kind([type(model).__name__], encoder_decoder)
    if kind:
        return _CLASSES[kind].of(model, tokenizer, name=name)
    raise ConfigError(
        f"{type(model).__name__} is neither a sequence classifier (a cross-encoder) nor a plain encoder (a bi-encoder)"
    )


def _ranking(logits: Any) -> Any:
    """What orders texts, of logits of one or two labels."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def _best(values: Any, owners: list[int]) -> list[int]:
    """For each text the position of its best window."""
    best: dict[int, int] = {}
    for place, owner in enumerate(owners):
        if owner not in best or values[place] > values[best[owner]]:
            best[owner] = place
    return list(best.values())


def _normalised(rows: Rows) -> Floats:
    vectors = rows.astype(np.float64)
    norms: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
