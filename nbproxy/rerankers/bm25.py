"""``"bm25"``: BM25 over one query's candidates.

The formula is Lucene's, as Kamphuis, de Vries, Boytsov and Lin give it in "Which BM25 Do You Mean?" (ECIR
2020, table 1, "Lucene (accurate)"), computed by the kept library ``bm25s`` (Lù, arXiv:2407.03618):

    sum over the query's words of  ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * dl / avgdl))

``N``, ``df`` and ``avgdl`` are counted over the candidates, not over the index, which a proxy cannot see: a word
that all candidates have weighs next to nothing, which also does the work of a list of stop words (there is none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import MissingExtra
from ..ranking import Hit
from .base import BaseReranker, hex16, texts_of

K1, B = 1.2, 0.75

# Words of one letter count too ("vitamin C"), as they do in Lucene; the library's own pattern drops them.
_WORD = r"(?u)\b\w+\b"


class BM25(BaseReranker):
    """Okapi BM25 in Lucene's variant, k1 = 1.2, b = 0.75; lower-cased words, no stemming, no stop words.

    Scores are never negative; a candidate that has none of the query's words has 0.
    """

    def __init__(self, name: str | None = None) -> None:
        fingerprint = hex16(b"bm25", b"lucene", f"{K1} {B} {_WORD}".encode())
        super().__init__("bm25" if name is None else name, fingerprint, "bm25")

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        bm25s = _bm25s()
        documents, words = _words(bm25s, texts_of(hits)), _words(bm25s, [query])[0]
        vocabulary = {word for document in documents for word in document}
        known = [word for word in words if word in vocabulary]
        if not known:  # the library has no score for an empty query, and no index of no words
            return [0.0] * len(hits)
        index = bm25s.BM25(method="lucene", k1=K1, b=B, dtype="float64", backend="numpy")
        index.index(documents, show_progress=False)
        return [float(score) for score in index.get_scores(known)]


def _bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtra("bm25s", "pip install bm25s", str(error)) from error
    return bm25s


def _words(bm25s: Any, texts: list[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(
        texts, token_pattern=_WORD, stopwords=None, return_ids=False, show_progress=False, allow_empty=True
    )
    return words
