"""Scores, kept: the same text for the same query is computed once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.float32]]
MOST = 100_000  # of one label: about 25 MB


class ScoreCache:
    """At most ``most`` rows of logits by (fingerprint, query, text), those used last.

    Keys are digests, so that long texts cost no memory; logits, not scores, because a score may be set apart from those
    beside it (:mod:`.squash`). Several models may share one cache. Not thread-safe by itself.

    :ivar hits, misses: how many texts were found and how many had to be computed.
    """

    def __init__(self, most: int = MOST) -> None:
        self._rows: OrderedDict[bytes, Rows] = OrderedDict()
        self.most = most
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, fingerprint: str, query: str, texts: Sequence[str], compute: Callable[[list[str]], Rows]) -> Rows:
        """The rows of ``texts``, shape ``(n, labels)``; those that are not kept come from ``compute``."""
        if not self.most:
            return compute(list(texts))
        keys = _keys(fingerprint, query, texts)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        self.hits += len(texts) - len(missing)
        self.misses += len(missing)
        if missing:
            self._rows.update(zip(missing, compute(list(missing.values())), strict=True))
        found = np.stack([self._rows[key] for key in keys])
        self._forget(keys)
        return found

    def missing(self, fingerprint: str, query: str, texts: Sequence[str]) -> dict[bytes, str]:
        """Those of ``texts`` whose rows are not kept, by their keys; none where nothing is kept at all."""
        keys = _keys(fingerprint, query, texts) if self.most else []
        return {key: text for key, text in zip(keys, texts, strict=False) if key not in self._rows}

    def keep(self, rows: dict[bytes, Rows]) -> None:
        """Rows that were computed for :meth:`missing` texts, and will be asked for now."""
        self._rows.update(rows)
        self.misses += len(rows)
        self.hits -= len(rows)  # asking for them finds them, which is no merit of the cache's

    def _forget(self, used: list[bytes]) -> None:
        for key in used:
            self._rows.move_to_end(key)
        while len(self._rows) > self.most:
            self._rows.popitem(last=False)


def _framed(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(8, "big") + content


def _keys(fingerprint: str, query: str, texts: Sequence[str]) -> list[bytes]:
    begun = hashlib.blake2b(_framed(fingerprint) + _framed(query), digest_size=16)
    return [_key(begun, text) for text in texts]


def _key(begun: Any, text: str) -> bytes:
    digest = begun.copy()
    digest.update(text.encode("utf-8", "surrogatepass"))
    return bytes(digest.digest())


def hit_rate(hits: int, misses: int) -> float | None:
    """The share that was found, None before anything was asked.

    >>> hit_rate(3, 1), hit_rate(0, 0)
    (0.75, None)
    """
    return round(hits / (hits + misses), 4) if hits + misses else None
