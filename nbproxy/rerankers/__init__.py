"""The models: what scores a query's hits.

``as_reranker`` turns whatever a user assigns into a :class:`~nbproxy.ranking.Reranker`. Importing this package
imports no model library.
"""

from __future__ import annotations

from .base import BaseReranker
from .checked import checked_scores
from .convert import ACCEPTED, as_reranker
from .functions import FunctionReranker, Listwise, listwise
from .original import Original
from .packaged import packaged_minilm
from .transformer import BiEncoder, CrossEncoder

__all__ = [
    "ACCEPTED",
    "BaseReranker",
    "BiEncoder",
    "CrossEncoder",
    "FunctionReranker",
    "Listwise",
    "Original",
    "as_reranker",
    "checked_scores",
    "listwise",
    "packaged_minilm",
]
