"""Document vectors, kept: a bi-encoder reads a document the same way for every query."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST = 32_768  # of 384 dimensions: 50 MB


class VectorCache:
    """At most ``most`` vectors by text, those used last; as float32, which is what models compute.

    :ivar hits, misses: how many texts were found and how many had to be read.
    """

    def __init__(self, most: int = MOST) -> None:
        self._kept: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self._size = 0
        self.most = most
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return self._size

    def vectors(self, texts: Sequence[str], embed: Callable[[list[str]], Floats]) -> Floats:
        """The vectors of ``texts``, shape ``(n, dimensions)``; those that are not kept come from ``embed``."""
        parts = self.parts(texts, lambda missing: list(embed(missing)[:, None]))
        return np.concatenate(parts)

    def parts(self, texts: Sequence[str], embed: Callable[[list[str]], list[Floats]]) -> list[Floats]:
        """The vectors of each text's windows, each of shape ``(windows, dimensions)``."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        self.hits += len(texts) - len(missing)
        self.misses += len(missing)
        if missing:
            self._keep(missing, embed(missing))
        for text in texts:
            self._kept.move_to_end(text)
        found = [self._kept[text].astype(np.float64) for text in texts]
        while self._size > self.most and self._kept:
            self._size -= len(self._kept.popitem(last=False)[1])
        return found

    def prepare(self, texts: Sequence[str], embed: Callable[[list[str]], list[Floats]]) -> None:
        """Have the parts of ``texts`` ready, which will be asked for now: finding them then is no merit of ours."""
        hits, misses = self.hits, self.misses
        self.parts(texts, embed)
        self.hits = hits - (self.misses - misses)

    def _keep(self, texts: list[str], parts: list[Floats]) -> None:
        for text, vectors in zip(texts, parts, strict=True):
            self._kept[text] = vectors.astype(np.float32)
            self._size += len(vectors)
