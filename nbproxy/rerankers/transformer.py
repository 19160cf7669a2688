"""Models of the transformers library: cross-encoders and bi-encoders.

Inputs are sorted by length and cut into batches under a token budget, so that little is computed for padding; the
scores come back in the order of the hits. Equal texts are scored once, so that they tie exactly and keep
upstream's order.
"""

from __future__ import annotations

import hashlib
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..ranking import Hit
from .base import BaseReranker, hits_of, texts_of
from .folders import Kind, ModelFolder, Pooling, architecture_kind, folder_name, is_there, open_folder
from .loading import Parts, libraries, load_parts, snapshot, usable_length
from .squash import Floats, scores_of
from .vectors import VectorCache

# Tokens in one batch, padding included. On a CPU larger batches leave its caches; a GPU wants them.
_BUDGET = {"cpu": 2_048, "cuda": 65_536}


class TransformerReranker(BaseReranker):
    """What the two kinds share.

    :param source: a folder, or the id of a model of the Hugging Face hub.
    :param name: None: the path's last folder, or the hub id as it is.
    :param device: None: CUDA where there is one, else the CPU.
    :raises ConfigError: there is no such model, or it is of another kind.
    :raises MissingExtra: torch or transformers is not installed.
    """

    kind: ClassVar[Kind]
    auto_class: ClassVar[str]

    def __init__(
        self, source: str | Path, *, name: str | None = None, device: str | None = None, budget: int | None = None
    ) -> None:
        folder, own_name = find(source)
        if folder.kind != self.kind:
            raise ConfigError(f"{source} is a {folder.kind}, not a {self.kind}")
        self._open(folder, name or own_name, source, device, budget)

    def _open(
        self, folder: ModelFolder, name: str, source: str | Path, device: str | None, budget: int | None = None
    ) -> None:
        self.describe(folder)
        self._take(load_parts(folder, self.auto_class, device), budget)
        super().__init__(name, folder.fingerprint(), source)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, *, name: str | None = None) -> TransformerReranker:
        """A reranker from a loaded model, which is put into evaluation mode and stays on its device.

        The fingerprint is taken now: training the model further does not change it.
        """
        reranker = cls.__new__(cls)
        reranker.describe(None)
        model.eval()
        reranker._take(Parts(model, tokenizer, usable_length(model, tokenizer)))
        own_name = getattr(model.config, "name_or_path", "") or type(model).__name__
        BaseReranker.__init__(reranker, name or folder_name(Path(own_name)), _fingerprint(model), (model, tokenizer))
        return reranker

    @abstractmethod
    def describe(self, folder: ModelFolder | None) -> None:
        """Keep what the folder's files say about scoring; None: the defaults."""

    @abstractmethod
    def score_texts(self, query: str, texts: list[str]) -> Floats:
        """One score for each text; ``texts`` are distinct and not empty."""

    def _take(self, parts: Parts, budget: int | None = None) -> None:
        self.model, self.tokenizer, self.max_length = parts.model, parts.tokenizer, parts.max_length
        self.budget = budget or _BUDGET.get(self.model.device.type, _BUDGET["cpu"])
        # Two names may stand for one model, each with a worker of its own, and a tokenizer is not thread-safe.
        self._one_at_a_time = threading.Lock()
        notes = getattr(self.tokenizer, "deprecation_warnings", {})
        notes["Asking-to-pad-a-fast-tokenizer"] = True  # advice that transformers 4 prints on the first pad()

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """Float64 scores, one for each hit."""
        texts = texts_of(hits)
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return []
        with self._one_at_a_time:
            scores = dict(zip(distinct, self.score_texts(query, distinct).tolist(), strict=True))
        return [scores[text] for text in texts]

    def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> list[list[float]]:
        """As :meth:`score` for each search; their texts share batches."""
        pairs = list(dict.fromkeys((query, text) for query, hits in searches for text in texts_of(hits)))
        with self._one_at_a_time:
            scores = dict(zip(pairs, self.score_pairs(pairs).tolist() if pairs else [], strict=True))
        return [[scores[query, text] for text in texts_of(hits)] for query, hits in searches]

    @abstractmethod
    def score_pairs(self, pairs: list[tuple[str, str]]) -> Floats:
        """One score for each (query, text); ``pairs`` are distinct and not empty."""

    def warm(self) -> None:
        """Score something: the first call of a library's sets up what later ones find ready."""
        self.score("warm", hits_of(["up", "up " * 50]))

    def outputs(self, encoded: dict[str, list[list[int]]]) -> Iterator[tuple[list[int], Any, Any]]:
        """The model's output for each batch, as ``(positions, inputs, output)``; inputs carry the mask."""
        torch, _ = libraries()
        lengths = [len(ids) for ids in encoded["input_ids"]]
        budget = self.budget if self.tokenizer.pad_token_id is not None else 0  # without padding: one by one
        with torch.inference_mode():
            for batch in batches(lengths, budget):
                rows = {key: [values[i] for i in batch] for key, values in encoded.items()}
                inputs = {key: value.to(self.model.device) for key, value in self._padded(rows).items()}
                yield batch, inputs, self.model(**inputs)

    def _padded(self, rows: dict[str, list[list[int]]]) -> dict[str, Any]:
        torch, _ = libraries()
        if self.tokenizer.pad_token_id is None:
            return {key: torch.tensor(values) for key, values in rows.items()}
        return dict(self.tokenizer.pad(rows, return_tensors="pt"))

    def _encode(self, *texts: list[str]) -> dict[str, list[list[int]]]:
        """Token ids of texts or pairs, cut as sentence-transformers cuts them."""
        encoded = self.tokenizer(*texts, truncation="longest_first", max_length=self.max_length, verbose=False)
        return dict(encoded)


class CrossEncoder(TransformerReranker):
    """Reads query and text together; ``AutoModelForSequenceClassification`` with one or two labels.

    Scores are those of sentence-transformers' ``CrossEncoder.predict`` with its defaults, or, with two labels, its
    ``predict(…, apply_softmax=True)[:, 1]``: label 1 is taken to mean relevant.

    Pairs are cut as ``predict`` cuts them, the longer of the two first; a query longer than half of ``max_length`` is
    cut to that half before, so that a text always has the other half.
    """

    kind = "cross-encoder"
    auto_class = "AutoModelForSequenceClassification"

    def describe(self, folder: ModelFolder | None) -> None:
        self.activation = folder.activation if folder else None

    def _take(self, parts: Parts, budget: int | None = None) -> None:
        labels = parts.model.config.num_labels
        if labels not in (1, 2):
            raise ConfigError(f"a cross-encoder has 1 or 2 labels, this one {labels}; none of them is a relevance")
        super()._take(parts, budget)

    def score_texts(self, query: str, texts: list[str]) -> Floats:
        return scores_of(self.logits(query, texts), self.activation)

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Floats:
        cut = {query: self.cut(query) for query, _ in pairs}
        logits = self._logits([cut[query] for query, _ in pairs], [text for _, text in pairs])
        scores, asked = np.empty(len(pairs)), np.array([list(cut).index(query) for query, _ in pairs])
        for place in range(len(cut)):  # squashed as if alone: what saturates is told apart within a search
            scores[asked == place] = scores_of(logits[asked == place], self.activation)
        return scores

    def logits(self, query: str, texts: list[str]) -> Floats:
        """What the model says before anything squashes it, shape ``(n, num_labels)``."""
        return self._logits([self.cut(query)] * len(texts), texts)

    def _logits(self, queries: list[str], texts: list[str]) -> Floats:
        encoded = self._encode(queries, texts)
        logits = np.empty((len(texts), self.model.config.num_labels))
        for batch, _, output in self.outputs(encoded):
            logits[batch] = output.logits.float().cpu().numpy()
        return logits

    def cut(self, query: str) -> str:
        """The query's first tokens, at most half of ``max_length``."""
        half = self.max_length // 2
        fast = bool(self.tokenizer.is_fast)
        encoded = self.tokenizer(
            query,
            add_special_tokens=False,
            truncation=True,
            max_length=half + 1,
            return_offsets_mapping=fast,
            verbose=False,
        )
        if len(encoded["input_ids"]) <= half:
            return query
        if fast:
            return query[: encoded["offset_mapping"][half - 1][1]]
        return str(self.tokenizer.decode(encoded["input_ids"][:half]))


class BiEncoder(TransformerReranker):
    """Reads query and text apart; an ``AutoModel`` whose token vectors are pooled, and their cosine.

    Pooling is the mean over the attention mask, or the first token's vector where the folder says so. Scores are
    those of sentence-transformers' ``SentenceTransformer.encode`` and ``cos_sim``, in [-1, 1].
    """

    kind = "bi-encoder"
    auto_class = "AutoModel"
    pooling: Pooling
    cache: VectorCache

    def describe(self, folder: ModelFolder | None) -> None:
        self.pooling = folder.pooling if folder else "mean"
        self.cache = VectorCache()

    def score_texts(self, query: str, texts: list[str]) -> Floats:
        scores: Floats = self.cache.vectors(texts, self.embed) @ self.embed([query])[0]
        return scores

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Floats:
        queries, texts = (
            list(dict.fromkeys(query for query, _ in pairs)),
            list(dict.fromkeys(text for _, text in pairs)),
        )
        vectors = dict(zip(queries, self.embed(queries), strict=True))
        documents = dict(zip(texts, self.cache.vectors(texts, self.embed), strict=True))
        return np.array([documents[text] @ vectors[query] for query, text in pairs])

    def embed(self, texts: list[str]) -> Floats:
        """Vectors of length 1, shape ``(n, hidden size)``."""
        vectors = np.empty((len(texts), self.model.config.hidden_size))
        for batch, inputs, output in self.outputs(self._encode(texts)):
            vectors[batch] = self._pooled(output.last_hidden_state, inputs["attention_mask"]).cpu().numpy()
        norms: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, 1e-12)

    def _pooled(self, states: Any, mask: Any) -> Any:
        """One vector a text, shape ``(batch, hidden size)``, of states of shape ``(batch, tokens, hidden size)``."""
        states, weights = states.float(), mask.unsqueeze(-1).float()
        if self.pooling == "cls":
            return states[:, 0]
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


_CLASSES: dict[Kind, type[TransformerReranker]] = {"cross-encoder": CrossEncoder, "bi-encoder": BiEncoder}


def load(source: str | Path, *, name: str | None = None, device: str | None = None) -> TransformerReranker:
    """The model in a folder or on the hub, of whichever kind its configuration says.

    :raises ConfigError: there is no such model, or it is of neither kind.
    :raises MissingExtra: torch or transformers is not installed.
    """
    folder, own_name = find(source)
    kind = _CLASSES[folder.kind]
    reranker = kind.__new__(kind)  # its __init__ would ask the hub a second time
    reranker._open(folder, name or own_name, source, device)
    return reranker


def find(source: str | Path) -> tuple[ModelFolder, str]:
    """A model's folder and its name; a string that is no folder here is asked of the hub."""
    if isinstance(source, Path) or is_there(source):
        path = Path(source).expanduser()
        return open_folder(path), folder_name(path)
    return open_folder(snapshot(source)), source


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


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions, the longest inputs first, in batches whose size with padding is within the budget.

    An input over the budget is a batch of its own.

    >>> list(batches([3, 9, 4, 4], budget=8))
    [[1], [2, 3], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        count = max(1, budget // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def _fingerprint(model: Any) -> str:
    """16 hex digits over a loaded model's configuration and weights."""
    torch, _ = libraries()
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
