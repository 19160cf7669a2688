"""What the models of the transformers library share: how they are opened, computed and described.

Inputs are sorted by length and cut into batches under a token budget, so that little is computed for padding; the
scores come back in the order of the hits. Equal texts are scored once, so that they tie exactly and keep
upstream's order. What was computed is kept: the same query and text again cost a look-up.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..ranking import Hit
from .backends import Backend, Choice, Sample, TorchBackend, choose, open_checked
from .base import BaseReranker, each_once, hex16, texts_of
from .calibration import MAX_LOSS, Calibration, Quantizing
from .doubts import Doubts
from .folders import Kind, ModelFolder, folder_name, is_there, open_folder
from .kept import MOST, Rows, hit_rate
from .loading import Parts, load_parts, snapshot, usable_length
from .objects import weights_fingerprint, weights_name
from .squash import Floats
from .windows import Encoded, Reader

_SHORTEST = 8  # tokens: half of them a query, and something of a text beside the special ones
_PROBE = 160  # tokens: more than ModernBERT's local attention sees


@dataclass(frozen=True)
class Options:
    """How a model is computed and how it reads; the arguments of :class:`TransformerReranker`."""

    backend: str | None = None
    precision: str | None = None
    device: str | None = None
    passages: str = "first"
    max_length: int | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None
    trust_remote_code: bool = False
    budget: int | None = None
    cache: int = MOST
    calibration: Any = None
    qrels: Any = None
    max_loss: float | None = MAX_LOSS

    def __post_init__(self) -> None:
        for name, (fits, wanted) in _FITTING.items():
            if not fits(value := getattr(self, name)):
                raise ConfigError(f"{name} must be {wanted}, not {value!r}")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_FITTING: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "budget": (lambda value: value is None or _whole(value, 1), "a whole number of at least 1, or None"),
    "cache": (lambda value: _whole(value, 0), "a whole number of at least 0"),
    "query_prefix": (lambda value: value is None or isinstance(value, str), "a text or None"),
    "document_prefix": (lambda value: value is None or isinstance(value, str), "a text or None"),
    "trust_remote_code": (lambda value: isinstance(value, bool), "True or False"),
    "max_loss": (lambda value: value is None or isinstance(value, (int, float)), "a share, such as 0.005, or None"),
}


@dataclass
class Work:
    """What a model has computed so far, the cache's share left out.

    :ivar texts: how many texts were scored; ``windows``: in how many pieces (more than the texts where
        ``passages="max"`` reads long ones); ``tokens``: of all pieces.
    """

    texts: int = 0
    windows: int = 0
    tokens: int = 0


class TransformerReranker(BaseReranker):
    """What the two kinds share.

    :param source: a folder, or the id of a model of the Hugging Face hub.
    :param name: None: the path's last folder, or the hub id as it is.
    :param backend: ``torch``, ``onnx`` (ONNX Runtime), ``openvino``; ``auto``: the fastest that is installed.
        None: ``torch``, for ``int8`` the fastest.
    :param precision: ``float32``; ``bfloat16``, on a CPU that has it; ``float16``, on a GPU; ``int8``; ``auto``:
        ``bfloat16`` where the CPU has it. None: ``float32`` on a CPU, ``float16`` on a GPU.
    :param device: None: CUDA where there is one and torch computes, else the CPU.
    :param passages: ``first``: a text longer than the model is cut; ``max``: its best window counts, and each window
        costs as much as a text.
    :param max_length: tokens of one input, at most the model's own, which is None's meaning.
    :param query_prefix: put before each query; None: what the model's folder says. Likewise ``document_prefix``.
    :param trust_remote_code: run code that comes with the model.
    :param budget: tokens of one batch, padding included.
    :param cache: how many scores (of a bi-encoder: document vectors) are kept; 0: none.
    :param calibration: for ``int8``: a recording, a session, their ``hits``, or ``[(query, texts), …]``.
    :param qrels: judgments of what was recorded, to measure int8's nDCG@10 by; without, float32's order is the truth.
    :param max_loss: int8 that loses a larger share of nDCG@10 is not served, float32 is; None: serve it anyway.
    :ivar choice: what it computes with, and why.
    :ivar report: what int8 costs, None for other precisions.
    :ivar work: what it has computed so far.
    :raises ConfigError: there is no such model, or it is of another kind, or this machine cannot do what is asked.
    :raises MissingExtra: a library is not installed; the message has its install command.
    """

    kind: ClassVar[Kind]
    auto_class: ClassVar[str]

    def __init__(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        backend: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        passages: str = "first",
        max_length: int | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        trust_remote_code: bool = False,
        budget: int | None = None,
        cache: int = MOST,
        calibration: Any = None,
        qrels: Any = None,
        max_loss: float | None = MAX_LOSS,
    ) -> None:
        options = Options(
            backend=backend, precision=precision, device=device, passages=passages, max_length=max_length,
            query_prefix=query_prefix, document_prefix=document_prefix, trust_remote_code=trust_remote_code,
            budget=budget, cache=cache, calibration=calibration, qrels=qrels, max_loss=max_loss,
        )  # fmt: skip
        folder, own_name = find(source, trust_remote_code)
        if folder.kind != self.kind:
            raise ConfigError(f"{source} is a {folder.kind}, not a {self.kind}")
        self._open(folder, name or own_name, source, options)

    def _open(self, folder: ModelFolder, name: str, source: str | Path, options: Options) -> None:
        choice = choose(options.backend, options.precision, options.device)
        self.describe(folder)
        parts = load_parts(folder, self.auto_class, choice.device, options.trust_remote_code)
        self._take(parts, options, folder.prefixes)
        module, key = self.module(parts.model.float()), folder.fingerprint()
        sample = self._sample(parts.model)
        self.report: Calibration | None = None
        if choice.precision == "int8":
            work = Quantizing(self, module, sample, key, options.calibration, options.qrels, options.max_loss)
            choice, self.backend, self.report = work.done(choice)
        else:
            choice, self.backend = open_checked(choice, module, sample, key)
        self._serve(choice, options.budget)
        self.model = parts.model if choice.backend == "torch" else None  # the others have their own copy of the weights
        calibrated = self.report.fingerprint if self.report else ""
        super().__init__(name, self._told_apart(key, options, parts.max_length, calibrated), source)
        self.doubts = Doubts(name)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, *, name: str | None = None, **options: Any) -> TransformerReranker:
        """A reranker from a loaded model, which is put into evaluation mode and stays on its device, as it is.

        The fingerprint is taken now: training the model further does not change it.

        :param options: of how it reads: ``passages``, ``max_length``, the prefixes, ``budget``, ``cache``.
        """
        reranker = cls.__new__(cls)
        chosen = Options(**options)
        reranker.describe(None)
        model.eval()
        length = usable_length(model, tokenizer)
        reranker._take(Parts(model, tokenizer, length), chosen, {})
        precision, device = str(model.dtype).removeprefix("torch."), str(model.device)
        reranker.backend, reranker.report = TorchBackend(reranker.module(model), device, precision), None
        reranker._serve(Choice("torch", precision, device, "as it was loaded"), chosen.budget)
        reranker.model = model
        own_name = name or weights_name(model)
        fingerprint = reranker._told_apart(weights_fingerprint(model), chosen, length)
        BaseReranker.__init__(reranker, own_name, fingerprint, (model, tokenizer))
        reranker.doubts = Doubts(own_name)
        return reranker

    @abstractmethod
    def describe(self, folder: ModelFolder | None) -> None:
        """Keep what the folder's files say about scoring; None: the defaults."""

    @abstractmethod
    def module(self, model: Any) -> Any:
        """What a backend computes of a loaded model."""

    @abstractmethod
    def score_texts(self, query: str, texts: list[str]) -> Floats:
        """One score for each text; ``texts`` are distinct and not empty."""

    @abstractmethod
    def raw(self, query: str, texts: list[str]) -> Floats:
        """One score for each text, computed now, before anything squashes it: for comparing two precisions."""

    @abstractmethod
    def kept(self, most: int) -> dict[str, Any]:
        """The caches, by what they keep."""

    def _take(self, parts: Parts, options: Options, prefixes: dict[str, str]) -> None:
        self.config, self.tokenizer = parts.model.config, parts.tokenizer
        self.max_length = _within(options.max_length, parts.max_length)
        self.reader = Reader(parts.tokenizer, self.max_length, options.passages)
        self.passages = options.passages
        self.query_prefix = prefixes.get("query", "") if options.query_prefix is None else options.query_prefix
        given = options.document_prefix
        self.document_prefix = prefixes.get("document", "") if given is None else given
        self.caches, self.work = self.kept(options.cache), Work()
        # Two names may stand for one model, each with a worker of its own, and a tokenizer is not thread-safe.
        self._one_at_a_time = threading.Lock()

    def _serve(self, choice: Choice, budget: int | None) -> None:
        self.choice, self.budget = choice, budget or choice.budget
        self.work = Work()  # what calibration computed does not count

    def _sample(self, model: Any) -> Sample:
        """Made-up inputs with all that the tokenizer gives."""
        from .modules import sample_inputs

        few, many = sample_inputs(model), sample_inputs(model, tokens=min(self.max_length, _PROBE))
        if "token_type_ids" in self.reader.singles(["a"]).ids:
            for inputs in (few, many):
                inputs["token_type_ids"] = inputs["input_ids"] * 0
        return Sample(model, few, {name: tensor.cpu().numpy() for name, tensor in many.items()})

    def _told_apart(self, weights: str, options: Options, length: int, calibrated: str = "") -> str:
        """The weights' fingerprint; another where the scores are computed, or the texts read, otherwise."""
        plain = ("torch", "float32", "first", length, "", "")
        own = (*self.computed, options.passages, self.max_length, self.query_prefix, self.document_prefix)
        return weights if own == plain else hex16(weights.encode(), repr(own).encode(), calibrated.encode())

    @property
    def computed(self) -> tuple[str, str]:
        """Backend and precision."""
        return self.choice.backend, self.choice.precision

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """Float64 scores, one for each hit."""
        with self._one_at_a_time:
            return each_once(texts_of(hits), lambda texts: self.score_texts(query, texts))

    def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> list[list[float]]:
        """As :meth:`score` for each search; what must be computed for them shares batches."""
        with self._one_at_a_time:
            self.prepare([(query, list(dict.fromkeys(texts_of(hits)))) for query, hits in searches])
        return [self.score(query, hits) for query, hits in searches]

    @abstractmethod
    def prepare(self, searches: Sequence[tuple[str, list[str]]]) -> None:
        """Fill the caches for several searches at once; nothing where nothing is kept."""

    def warm(self) -> None:
        """Compute something: the first call of a library sets up what later ones find ready."""
        with self._one_at_a_time:
            self.raw("warm", ["up", "up " * 50])
            self.work = Work()

    def rows(self, encoded: Encoded, backend: Backend | None = None) -> Rows:
        """What the model computes of each window, shape ``(windows, labels or dimensions)``."""
        runs = backend or self.backend
        batches = [(batch, runs.run(inputs)) for batch, inputs in self.reader.batches(encoded, self.budget)]
        rows = np.concatenate([rows for _, rows in batches])
        ordered = np.empty_like(rows)
        ordered[[place for batch, _ in batches for place in batch]] = rows
        self.work.windows += len(encoded.owners)
        self.work.tokens += sum(encoded.lengths)
        return ordered

    def details(self) -> dict[str, Any]:
        """What the status route says of it: how it computes and reads, what that has cost, what its caches found."""
        return {
            "backend": self.choice.backend,
            "precision": self.choice.precision,
            "device": self.choice.device,
            "passages": self.passages,
            "work": vars(self.work).copy(),
            "cache": {
                name: {"kept": len(cache), "hit_rate": hit_rate(cache.hits, cache.misses)}
                for name, cache in self.caches.items()
            },
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.fingerprint}, {self.choice}, passages={self.passages!r}>"


def find(source: str | Path, code: bool = False) -> tuple[ModelFolder, str]:
    """A model's folder and its name; a string that is no folder here is asked of the hub, its code too if wanted."""
    if not isinstance(source, (str, Path)) or not str(source).strip():
        raise ConfigError(f"a model is loaded from a folder or a hub id, not from {source!r:.200}")
    if isinstance(source, Path) or is_there(source):
        path = Path(source).expanduser()
        return open_folder(path), folder_name(path)
    return open_folder(snapshot(source, code)), source


def _within(asked: int | None, usable: int) -> int:
    if asked is not None and not (isinstance(asked, int) and _SHORTEST <= asked <= usable):
        raise ConfigError(f"max_length must be from {_SHORTEST} to {usable} (the model's own), not {asked!r}")
    return asked or usable
