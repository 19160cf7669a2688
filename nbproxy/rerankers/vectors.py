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
        self._vectors: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self._most = most
        self.hits = self.misses = 0

    def vectors(self, texts: Sequence[str], embed: Callable[[list[str]], Floats]) -> Floats:
        """The vectors of ``texts``, shape ``(n, dimensions)``; those that are not kept come from ``embed``."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self.hits += len(texts) - len(missing)
        self.misses += len(missing)
        if missing:
            self._vectors.update(zip(missing, embed(missing).astype(np.float32), strict=True))
        for text in texts:
            self._vectors.move_to_end(text)
        found = np.stack([self._vectors[text] for text in texts]).astype(np.float64)
        while len(self._vectors) > self._most:
            self._vectors.popitem(last=False)
        return found
