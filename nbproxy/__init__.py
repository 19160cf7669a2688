"""nbproxy: a notebook-friendly experimentation proxy for people who tune search.

    import nbproxy

    session = nbproxy.start("http://localhost:9200")   # clients now ask session.url
    session.model = "bm25"                             # swap models while traffic flows
    session.compare()                                  # what the model did to the order
    session.evaluate(qrels)                            # and whether that was good

See :func:`nbproxy.start`.
"""

import logging
from typing import Any

from . import datasets, dialects
from ._version import __version__
from .compare import Comparison, compare
from .connected import connect
from .dialects import Elasticsearch, JSONDialect, Solr
from .errors import ConfigError, MissingExtra, NbproxyError, RerankFault, SessionClosed
from .evaluate import Evaluation, evaluate
from .exchange import Exchange
from .interleave import interleave
from .interleaving import Interleaving
from .messages import Request
from .ranking import Hit, Reranker, Search
from .recording import Recording, load
from .registry import start
from .rerankers import BiEncoder, CrossEncoder, as_reranker, field, fuse, listwise, service
from .retriever import pyterrier
from .session import Session
from .settings import Limits, Timeouts

# A library's logger says nothing until the application has set up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext nbproxy``: the magics ``%nbproxy`` and ``%%with_model`` (``%nbproxy help`` explains them)."""
    from .magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext nbproxy``: takes the magics away; sessions run on."""
    from .magics import unload

    unload(shell)


__all__ = [
    "BiEncoder",
    "Comparison",
    "ConfigError",
    "CrossEncoder",
    "Elasticsearch",
    "Evaluation",
    "Exchange",
    "Hit",
    "Interleaving",
    "JSONDialect",
    "Limits",
    "MissingExtra",
    "NbproxyError",
    "Recording",
    "Request",
    "RerankFault",
    "Reranker",
    "Search",
    "Session",
    "SessionClosed",
    "Solr",
    "Timeouts",
    "__version__",
    "as_reranker",
    "compare",
    "connect",
    "datasets",
    "dialects",
    "evaluate",
    "field",
    "fuse",
    "interleave",
    "listwise",
    "load",
    "pyterrier",
    "service",
    "start",
]
