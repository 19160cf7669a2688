"""A session as a PyTerrier transformer: queries in, what the session answers out, for ``pt.Experiment`` and pipelines.

The other way, a PyTerrier transformer as a session's model, is ``session.model = transformer``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from .dialects import find
from .errors import ConfigError, MissingExtra, UpstreamFault
from .messages import Headers, Request
from .ranking import Hit, Search
from .rerankers.kept_connection import KeptConnection

INSTALL = 'pip install "nbproxy[pyterrier]"'
_MADE = ("docno", "score", "rank", "text")
Body = Callable[[str], Mapping[str, Any]]


def pyterrier(
    session: Any,
    index: str | None = None,
    *,
    fields: Sequence[str] | None = None,
    size: int = 100,
    body: Body | None = None,
) -> Any:
    """A session as a PyTerrier transformer: ``pt.Experiment([nbproxy.pyterrier(session, "books")], topics, qrels, …)``.

    Each query is one search through the proxy, recorded like every other; its ``qid`` is sent as ``X-Opaque-Id``, so
    that ``session.evaluate`` knows it, too. In go ``qid`` and ``query``; out come these and whatever else the queries
    had, with ``docno`` (the document's id), ``rank`` (from 0), ``text`` (what a model reads) and ``score``, which falls
    by 1 from rank to rank: a search engine's answer does not tell the model's.

    :param session: a :class:`~nbproxy.Session`, what :func:`nbproxy.connect` gives, or a URL.
    :param index: the index expression; None: all. Where it begins with ``/`` it is the whole path of the search.
    :param fields: what is searched; None: the index's default.
    :param size: how many documents; those beyond the session's ``depth`` are in upstream's order.
    :param body: ``query -> body`` of the search, where a ``multi_match`` is not what is wanted; ``size`` is set in it
        if it has none.
    :raises MissingExtra: PyTerrier is not installed. It needs no Java for this.
    """
    path = f"/{quote(index, safe=',*-_.')}/_search" if index else "/_search"
    target = index if index and index.startswith("/") else path
    asked = body or functools.partial(_matching, fields=fields)
    return _transformer()(str(getattr(session, "url", session)), target, asked, size)


def _matching(query: str, fields: Sequence[str] | None) -> dict[str, Any]:
    """https://www.elastic.co/docs/reference/query-languages/query-dsl/query-dsl-multi-match-query"""
    named = {} if fields is None else {"fields": list(fields)}
    return {"query": {"multi_match": {"query": query, **named}}}


class Searches:
    """Asks a proxy, one search after the other, on one connection."""

    def __init__(self, url: str, target: str, body: Body, size: int) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ConfigError("pyterrier takes a session, or a URL: http://host:port")
        self._connection = KeptConnection(self._url)
        self._target, self._body, self._size = self._url.path.rstrip("/") + target, body, size
        self._dialect = next((one for one in find(None) if one.is_search("POST", target)), None)
        if self._dialect is None:
            raise ConfigError(f"{target} is the path of no search that nbproxy knows")

    def hits(self, qid: str, query: str) -> tuple[Hit, ...]:
        """What the proxy answers, in its order.

        :raises UpstreamFault: with an error.
        """
        asked = json.dumps({"size": self._size, **self._body(query)}).encode()
        # what cannot stand in a header field is left out: the search then has its text's own id
        known = {"X-Opaque-Id": qid} if qid.isascii() and qid.isprintable() else {}
        headers = {"Content-Type": "application/json", **known}
        reply = self._connection.post(self._target, asked, headers)
        if reply.status != 200:
            raise UpstreamFault(
                f"{self._target} answered {reply.status}: {reply.body[:200].decode('utf-8', 'replace')}"
            )
        assert self._dialect is not None
        read = self._dialect.read_search(Request("POST", self._target, Headers(), asked))
        search = read if isinstance(read, Search) else Search(query)
        return self._dialect.read_hits(reply.body, search).hits


@functools.cache
def _transformer() -> Any:
    """The class, made when it is first wanted: its base is PyTerrier's."""
    try:
        import pyterrier as pt
    except ImportError as error:
        raise MissingExtra("pyterrier", INSTALL, str(error)) from error
    import pandas as pd

    class SessionRetriever(pt.Transformer):  # type: ignore[misc]
        """Made by :func:`nbproxy.pyterrier`."""

        def __init__(self, url: str, target: str, body: Body, size: int) -> None:
            self._searches, self._shown = Searches(url, target, body, size), f"nbproxy({url}{target})"

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            """One row for each document found: see :func:`nbproxy.pyterrier`."""
            queries = inp.drop(columns=[*_MADE, "docid"], errors="ignore").drop_duplicates("qid")
            found = [
                {**query, **row}
                for query in queries.to_dict("records")
                for row in _rows(self._searches.hits(str(query["qid"]), str(query["query"])))
            ]
            return pd.DataFrame(found, columns=[*queries.columns, *_MADE])

        def __repr__(self) -> str:
            return self._shown

    return SessionRetriever


def _rows(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    return [
        {"docno": str(hit.doc_id), "score": float(len(hits) - rank), "rank": rank, "text": hit.text or ""}
        for rank, hit in enumerate(hits)
    ]
