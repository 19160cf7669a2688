"""The public surface, pinned."""

from __future__ import annotations

import inspect

import nbproxy

SURFACE = [
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


def test_the_surface() -> None:
    assert sorted(nbproxy.__all__) == sorted(SURFACE)
    assert all(hasattr(nbproxy, name) for name in SURFACE)


def test_start_has_the_contracts_signature_and_defaults() -> None:
    wanted = dict(
        upstream=None, name="default", host="127.0.0.1", port=None, model=None, dialect=None, depth=50, fields=None,
        min_score=None, record=None, deadline=5.0, timeout=30.0, drain=5.0, limits=nbproxy.Limits(), redact=None,
        verify=True, ca=None, cert=None, fingerprint=None, auth=None, headers=None, host_header="upstream",
    )  # fmt: skip
    signature = inspect.signature(nbproxy.start)
    assert {name: p.default for name, p in signature.parameters.items()} == wanted
    positional = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["upstream"]


def test_everything_public_is_documented() -> None:
    bare = [name for name in SURFACE if name not in ("__version__",) and not inspect.getdoc(getattr(nbproxy, name))]
    assert not bare
    members = [
        f"Session.{name}" for name, member in vars(nbproxy.Session).items()
        if not name.startswith("_") and not inspect.getdoc(member)
    ]  # fmt: skip
    assert not members
