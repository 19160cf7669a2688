"""``"words"``: how many of the query's words a text has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ..ranking import Hit
from .base import BaseReranker, hex16, texts_of

_WORD = re.compile(r"\w+")


class Words(BaseReranker):
    """The share of the query's distinct words that occur in a text, from 0 to 1: the coordination level of old.

    Words are runs of letters, digits and underscores, in any case (Unicode's full folding, NFKC); no stemming, no
    stop words. A query without words gives 0 to every text.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__("words" if name is None else name, hex16(b"words", _WORD.pattern.encode()), "words")

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        wanted = _words(query)
        return [len(wanted & _words(text)) / max(1, len(wanted)) for text in texts_of(hits)]


def _words(text: str) -> frozenset[str]:
    """The distinct words of a text.

    >>> sorted(_words("Straße, STRASSE; ﬁn"))
    ['fin', 'strasse']
    """
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
