"""The models: what scores a query's hits.

``as_reranker`` turns whatever a user assigns into a :class:`~nbproxy.ranking.Reranker`. Importing this package
imports no model library.
"""

from __future__ import annotations

from .base import BaseReranker
from .checked import checked_scores
from .convert import ACCEPTED, as_reranker
from .functions import FunctionReranker, Listwise, listwise
from .original import Original, is_original
from .packaged import packaged_minilm

__all__ = [
    "ACCEPTED",
    "BaseReranker",
    "FunctionReranker",
    "Listwise",
    "Original",
    "as_reranker",
    "checked_scores",
    "is_original",
    "listwise",
    "packaged_minilm",
]
