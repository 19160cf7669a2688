"""The models: what scores a query's hits.

``as_reranker`` turns whatever a user assigns into a :class:`~nbproxy.ranking.Reranker`. Importing this package
imports no model library.
"""

from __future__ import annotations

from .base import BaseReranker
from .causal import CausalReranker
from .checked import checked_scores
from .convert import ACCEPTED, as_reranker
from .field import field
from .functions import FunctionReranker, Listwise, listwise
from .fusion import fuse
from .original import Original, is_original
from .packaged import packaged_minilm
from .service import service
from .transformer import BiEncoder, CrossEncoder

__all__ = [
    "ACCEPTED",
    "BaseReranker",
    "BiEncoder",
    "CausalReranker",
    "CrossEncoder",
    "FunctionReranker",
    "Listwise",
    "Original",
    "as_reranker",
    "checked_scores",
    "field",
    "fuse",
    "is_original",
    "listwise",
    "packaged_minilm",
    "service",
]
