"""From what a user assigns to a model: by its type, never by what its name contains."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..ranking import Reranker
from .answerdotai import AnswerDotAI
from .base import Adopted, BaseReranker
from .bm25 import BM25
from .flash import Flash
from .folders import architecture_kind, is_there
from .functions import FunctionReranker
from .loading import NotOnHub
from .original import Original
from .packaged import packaged_minilm
from .service import service
from .terrier import Terrier
from .words import Words

ACCEPTED = """\
a model is one of
  None                        no model: nothing is touched
  "original"                  upstream's order, recorded down to depth
  "bm25", "words"             BM25 over the candidates; the share of the query's words that a text has
  "minilm"                    the packaged all-MiniLM-L6-v2, a bi-encoder
  a folder (str or Path)      of transformers: a cross-encoder, a bi-encoder, or a causal language model that reranks
  a Hugging Face hub id       the same, downloaded: "cross-encoder/ms-marco-MiniLM-L6-v2"
  (model, tokenizer)          the same, loaded with transformers; or a pipeline of it
  a loaded model              sentence-transformers' CrossEncoder or SentenceTransformer, AnswerDotAI's Reranker,
                              FlashRank's Ranker, a PyTerrier transformer
  the URL of a service        …/v1/rerank, …/v2/rerank, …/rerank, …/_inference/rerank/ID; or nbproxy.service(url, …)
  a callable                  (query, texts) -> scores, or (query, hits) -> scores; higher is better
  nbproxy.listwise(callable)  (query, texts) -> indices, best first
  nbproxy.fuse(a, b, …)       several of these as one; nbproxy.field("rating"): a document's own number
  a Reranker                  an object with name, fingerprint and score(query, hits)
and for session.model also nbproxy.interleave(a, b), which merges two models' orders"""


def _minilm(name: str | None) -> Reranker:
    return _load(packaged_minilm(), name or "all-MiniLM-L6-v2")


BUILT_IN: dict[str, Callable[[str | None], Reranker]] = {
    "original": Original,
    "bm25": BM25,
    "words": Words,
    "minilm": _minilm,
}

_Fits = Callable[[object], bool]
_Make = Callable[[Any, str | None], Reranker | None]

_HUB_ID = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
_URL = re.compile(r"https?://", re.IGNORECASE)


def as_reranker(x: object, *, name: str | None = None) -> Reranker | None:
    """The model that ``x`` stands for; None for None.

    The result can be called as ``r(query, texts)`` and has a ``source``: what was given. A Reranker that has both is
    returned as it is.

    :param x: see the message of the error, or ``ACCEPTED``.
    :param name: what to call it; None: a callable's ``__name__``, a path's last folder, a hub id as it is, a service's
        host and model.
    :raises ConfigError: ``x`` is nothing that a model can be, or cannot be loaded.
    :raises MissingExtra: it needs a library that is not installed.
    """
    for fits, make in _KINDS:
        if fits(x):
            return make(x, name)
    raise ConfigError(f"{_shown(x)} cannot be a model; {ACCEPTED}")


def _adopt(x: Any, name: str | None) -> Reranker:
    if not all(isinstance(value, str) and value for value in (x.name, x.fingerprint)) or not callable(x.score):
        raise ConfigError(f"{_shown(x)} needs a name and a fingerprint, both strings, and a method score(query, hits)")
    whole = isinstance(x, BaseReranker) or (callable(x) and hasattr(x, "source"))
    if whole and name in (None, x.name):
        reranker: Reranker = x
        return reranker
    # the pipeline knows "original" by its type, so it keeps that under any name
    return Original(name) if isinstance(x, Original) else Adopted(x, name)


def _from_string(x: str, name: str | None) -> Reranker:
    """A built-in name, a URL, a folder, or a hub id, in this order; "./bm25" is a folder."""
    if x in BUILT_IN:
        return BUILT_IN[x](name)
    if _URL.match(x):
        return _renamed(service(x), name)
    if not x.strip() or not (is_there(x) or _HUB_ID.fullmatch(x)):
        raise ConfigError(f"{_not_found(x)}; {ACCEPTED}")
    return _load(x, name)


def _renamed(made: BaseReranker, name: str | None) -> Reranker:
    made.name = made.name if name is None else name
    return made


def _load(x: str | Path, name: str | None) -> Reranker:
    from .loaded import find
    from .transformer import load

    try:
        folder, own_name = find(x)
    except NotOnHub as error:
        raise ConfigError(f"{_not_found(x)} ({error}); a path has to be a folder with config.json") from error
    # by its folder, or the hub would be asked a second time
    make: Any = _causal if folder.kind == "causal-reranker" else load
    made: BaseReranker = make(folder.path, name=name or own_name)
    made.source = x
    return made


def _causal(source: Any, *, name: str | None) -> BaseReranker:
    from .causal import CausalReranker

    return CausalReranker(source, name=name)


def _not_found(x: str | Path) -> str:
    close = difflib.get_close_matches(str(x), BUILT_IN, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(map(repr, BUILT_IN))
    what = f"no built-in model ({known}), no folder here, and no model to be had from the Hugging Face hub"
    return f"{_short(str(x))} is {what}{hint}"


def _from_pipeline(x: Any, name: str | None) -> Reranker:
    if not _is_instance_of("transformers", "PreTrainedModel", x.model) or x.tokenizer is None:
        raise ConfigError(f"the pipeline's model is a {type(x.model).__name__}; {ACCEPTED}")
    return _from_pair((x.model, x.tokenizer), name)


def _from_cross_encoder(x: Any, name: str | None) -> Reranker:
    from .sentence import from_cross_encoder

    return from_cross_encoder(x, name)


def _from_encoder(x: Any, name: str | None) -> Reranker:
    from .sentence import SentenceEncoder

    return SentenceEncoder(x, name=name)


def _from_pair(x: tuple[Any, Any], name: str | None) -> Reranker:
    from .transformer import from_pair

    if not callable(x[1]) or not hasattr(x[1], "model_max_length"):
        raise ConfigError(f"(model, tokenizer) needs a tokenizer of transformers in second place, not {_shown(x[1])}")
    if architecture_kind([type(x[0]).__name__]) == "causal-reranker":
        return _causal(x, name=name)
    return from_pair(*x, name=name)


def _refuse_module(x: Any, _name: str | None) -> Reranker:
    kind = type(x).__name__
    raise ConfigError(
        f"a {kind} reads tensors, or has a method of its own for texts; give (model, tokenizer) for one of "
        "transformers, the path that it was loaded from, or a function, for example "
        f"lambda query, texts: model.predict([(query, text) for text in texts]); {ACCEPTED}"
    )


def _refuse_tokenizer(_x: Any, _name: str | None) -> Reranker:
    raise ConfigError(f"a tokenizer alone scores nothing; give (model, tokenizer); {ACCEPTED}")


def _refuse_class(x: type, _name: str | None) -> Reranker:
    raise ConfigError(f"{x.__name__} is a class; give an instance of it; {ACCEPTED}")


def _is_instance_of(module: str, class_name: str, x: object) -> bool:
    """Whether ``x`` is of a library's class; an object cannot be if the library was never imported."""
    library = sys.modules.get(module)
    kind = getattr(library, class_name, None) if library else None
    return isinstance(kind, type) and isinstance(x, kind)


def _of(module: str, class_name: str) -> _Fits:
    """What fits a library's class; the library is not imported."""
    return lambda x: _is_instance_of(module, class_name, x)


def _is_module(x: object) -> bool:
    return _is_instance_of("torch.nn", "Module", x)


def _is_pair(x: object) -> bool:
    return isinstance(x, tuple) and len(x) == 2 and _is_instance_of("transformers", "PreTrainedModel", x[0])


def _shown(x: object) -> str:
    return f"{_short(x, 60)} ({type(x).__name__})"


def _short(x: object, most: int = 200) -> str:
    shown = repr(x)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


# The first row that fits. Classes, modules of torch, and models of other libraries are callable, but not with a query
# and texts, so they stand before callables.
_KINDS: tuple[tuple[_Fits, _Make], ...] = (
    (lambda x: x is None, lambda _, _name: None),
    (lambda x: isinstance(x, type), _refuse_class),
    (lambda x: isinstance(x, Reranker), _adopt),
    (lambda x: isinstance(x, str), _from_string),
    (lambda x: isinstance(x, Path), _load),
    (_is_pair, _from_pair),
    (_of("transformers", "PreTrainedTokenizerBase"), _refuse_tokenizer),
    (_of("transformers", "Pipeline"), _from_pipeline),
    (_of("sentence_transformers", "CrossEncoder"), _from_cross_encoder),
    (_of("sentence_transformers", "SentenceTransformer"), _from_encoder),
    (_of("sentence_transformers", "SparseEncoder"), _from_encoder),
    (_of("sentence_transformers", "MultiVectorEncoder"), _from_encoder),
    (_of("rerankers.models.ranker", "BaseRanker"), lambda x, name: AnswerDotAI(x, name=name)),
    (_of("flashrank", "Ranker"), lambda x, name: Flash(x, name=name)),
    (_of("pyterrier", "Transformer"), lambda x, name: Terrier(x, name=name)),
    (_is_module, _refuse_module),
    (callable, lambda x, name: FunctionReranker(x, name=name)),
)
