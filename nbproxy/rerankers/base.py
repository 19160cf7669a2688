"""What every model here has in common, and the coat for models that others wrote.

Laws of this layer:

* higher is better, one number for each hit, in the order of the hits;
* importing ``nbproxy.rerankers`` imports no model library: each is imported where it is first needed;
* a model knows nothing of HTTP, dialects or settings.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigError
from ..ranking import Hit, Reranker, readable
from .checked import checked_scores


class BaseReranker(ABC):
    """A :class:`~nbproxy.ranking.Reranker` that can also be called on plain texts.

    :ivar name: what frames and tables call it.
    :ivar fingerprint: 16 hex digits; two models that score differently have different ones.
    :ivar source: what the user assigned.
    """

    def __init__(self, name: str, fingerprint: str, source: object) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.source = source

    @abstractmethod
    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """One number for each hit, as the model gives them; the pipeline checks them."""

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:
        """Scores of ``texts``, outside any search: for trying a model in a notebook.

        :raises RerankFault: the scores are not one finite number for each text.
        :raises ConfigError: the query is no text, or the texts are not several.
        """
        given: list[Any] = [None] if isinstance(texts, (str, bytes)) else list(texts)
        if not all(isinstance(text, str) for text in (query, *given)):
            raise ConfigError("a model is called with a query and a list of texts: model('shoes', ['a shoe', 'a hat'])")
        hits = hits_of(given)
        return checked_scores(self.score(query, hits), len(hits))

    def details(self) -> dict[str, Any]:
        """What else the status route says of it, as JSON."""
        return {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.fingerprint}>"


class Adopted(BaseReranker):
    """A Reranker of somebody else's, or one of ours under another name.

    Whatever else it offers (``score_many``) is reached through it.
    """

    def __init__(self, inner: Reranker, name: str | None = None) -> None:
        super().__init__(inner.name if name is None else name, inner.fingerprint, inner)
        self.inner = inner

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        return self.inner.score(query, hits)

    def details(self) -> dict[str, Any]:
        return self.inner.details() if isinstance(self.inner, BaseReranker) else {}

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or "inner" not in self.__dict__:  # copy and pickle ask before __init__
            raise AttributeError(attribute)
        return getattr(self.inner, attribute)


def hits_of(texts: Sequence[str]) -> list[Hit]:
    """Texts as the hits of no search in particular.

    >>> hits_of(["a"])
    [Hit(index=None, doc_id=None, rank=1, score=None, text='a')]
    """
    return [Hit(index=None, doc_id=None, rank=rank, text=text) for rank, text in enumerate(texts, 1)]


def texts_of(hits: Sequence[Hit]) -> list[str]:
    """The texts a model reads; the pipeline never gives a model a hit that has none."""
    return [readable(hit.text or "") for hit in hits]


def each_once(texts: Sequence[str], score: Callable[[list[str]], Any]) -> list[float]:
    """A score for each text by ``score``, which gets distinct ones (not none) and gives an array: equal texts cost once
    and tie exactly."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return []
    found = dict(zip(distinct, score(distinct).tolist(), strict=True))
    return [found[text] for text in texts]


def filled(values: Sequence[float | None]) -> list[float]:
    """Scores where some hits got none: these come last, all alike; where no hit has one, all score 0.

    >>> filled([2.0, None, 5.0])
    [2.0, 0.0, 5.0]
    """
    there = [value for value in values if value is not None]
    least = min(there, default=1.0)
    below = least - max(1.0, abs(least))  # by enough to be seen
    last = below if math.isfinite(below) else math.nextafter(least, -math.inf)
    return [last if value is None else value for value in values]


def hex16(*parts: bytes) -> str:
    """16 hex digits of SHA-256 over the parts, each with its length, so that no two lists of parts collide.

    >>> hex16(b"ab", b"c") == hex16(b"a", b"bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]
