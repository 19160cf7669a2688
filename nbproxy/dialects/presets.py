"""Search APIs in the language of :class:`JSONDialect`: Meilisearch, Typesense, Qdrant, Algolia's, Azure AI Search.

Each is a function, so that what an installation has of its own can be said: ``azure(id="$.HotelId")``,
``algolia(default_size=12)``. What the language cannot say stands in a class (:mod:`vespa`, :class:`_Azure`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from . import lucene
from .json_alone import When
from .json_dialect import JSONDialect
from .json_places import Asked, places
from .json_several import MultiSearch
from .json_shown import Show
from .json_windows import Window
from .vespa import Vespa

NO_ID = ("$.id", "$.Id", "$.ID", "$._id", "$.uid", "$.doc_id")
"""Where a key may stand if the schema, which an answer does not tell, gives it a name of its own."""


def meilisearch(**changes: Any) -> JSONDialect:
    """Meilisearch: search by POST and GET, and ``/multi-search`` unless federated.

    A primary key by another name than ``id`` is to be named: ``meilisearch(id="$.isbn")``.

    https://www.meilisearch.com/docs/reference/api/search
    """

    def at(name: str) -> tuple[str, str]:
        return f"POST $.{name}", f"GET ?{name}"

    return _made(
        JSONDialect,
        changes,
        name="meilisearch",
        route="POST GET /indexes/{index}/search",
        query=at("q"),
        windows=Window(size=at("hitsPerPage"), page=at("page"), first_page=1, default_size=20),
        size=at("limit"),
        offset=at("offset"),
        default_size=20,
        hits="$.hits",
        id=NO_ID,
        score="$._rankingScore",
        beside=("_formatted", "_matchesPosition", "_rankingScore*", "_semanticScore", "_federation", "_geoDistance"),
        searched=at("attributesToSearchOn"),
        reduce=_without_exclusions,
        match_all=("",),
        alone={"sorted": at("sort"), "collapse": at("distinct")},
        show=Show(
            include=at("attributesToRetrieve"),
            also={
                "_formatted": (
                    "POST $.attributesToHighlight",
                    "POST $.attributesToCrop",
                    "GET ?attributesToHighlight",
                    "GET ?attributesToCrop",
                )
            },
        ),
        echo={
            "size": ("$.limit", "$.hitsPerPage"),
            "offset": "$.offset",
            "page": "$.page",
            "pages": ("$.totalPages", "$.totalHits"),
        },
        several=MultiSearch(
            route="POST /multi-search",
            searches="$.queries",
            answers="$.results",
            index="$.indexUid",
            alone={"no-query": "$.federation"},
        ),
    )


def typesense(**changes: Any) -> JSONDialect:
    """Typesense: a collection's search, and ``/multi_search`` unless it is a union. At most 250 hits are fetched.

    What the URL of a multi-search says wins over its searches.

    https://typesense.org/docs/latest/api/search.html, https://typesense.org/docs/latest/api/federated-multi-search.html
    """

    def at(name: str) -> tuple[str, str]:
        return f"?{name}", f"$.{name}"

    sizes = (*at("per_page"), *at("limit"))
    return _made(
        JSONDialect,
        changes,
        name="typesense",
        route="GET /collections/{index}/documents/search",
        query=at("q"),
        windows=Window(size=sizes, page=at("page"), first_page=1, default_size=10),
        size=sizes,
        offset=at("offset"),
        default_size=10,
        max_size=250,
        hits="$.hits",
        id="$.document.id",
        score=("$.hybrid_search_info.rank_fusion_score", "$.text_match"),
        source="$.document",
        searched=at("query_by"),
        reduce=_without_exclusions,
        alone={
            "sorted": When(at("sort_by"), like=r"(?!_text_match(\([^)]*\))?:desc|_vector_distance:asc|_seq_id).+"),
            "collapse": at("group_by"),
        },
        show=Show(
            include=at("include_fields"),
            exclude=at("exclude_fields"),
            marks=at("highlight_fields"),
        ),
        echo={"size": "$.request_params.per_page", "page": "$.page"},
        several=MultiSearch(
            route="POST /multi_search",
            searches="$.searches",
            answers="$.results",
            index="$.collection",
            status="$.code",
            alone={"no-query": "$.union"},
        ),
    )


def qdrant(**changes: Any) -> JSONDialect:
    """Qdrant: ``points/query`` and ``points/search`` and their batches, with the payload as the text.

    A query that is a vector has no text: it is left alone (``no-query``) unless the client says the text beside it, in
    a header field ``X-Query-Text`` or a URL parameter ``query_text``, both of which Qdrant passes over. Texts for
    Qdrant's own inference are read.

    https://api.qdrant.tech/api-reference/search/query-points
    """
    return _made(
        JSONDialect,
        changes,
        name="qdrant",
        route=("POST /collections/{index}/points/query", "POST /collections/{index}/points/search"),
        query=(
            "X-Query-Text:",
            "?query_text",
            "$.query.text",
            "$.query.nearest.text",
            "$.prefetch..query.text",
            "$.prefetch..query.nearest.text",
        ),
        size="$.limit",
        offset="$.offset",
        default_size=10,
        hits=("$.result.points", "$.result", "$.points", "$"),
        id="$.id",
        score="$.score",
        source="$.payload",
        alone={"sorted": ("$.query.order_by", "$.query.sample")},
        show=Show(include="$.with_payload", default=False, everything=True),
        several=[
            MultiSearch(
                route=f"POST /collections/{{index}}/points/{kind}/batch", searches="$.searches", answers="$.result"
            )
            for kind in ("query", "search")
        ],
    )


def algolia(**changes: Any) -> JSONDialect:
    """Algolia and what speaks like it: an index's query, and ``/1/indexes/*/queries``. At most 1,000 hits are fetched.

    An index whose settings say another ``hitsPerPage`` than 20 is to be said: ``algolia(default_size=12)``.

    https://www.algolia.com/doc/rest-api/search
    """

    def at(name: str) -> tuple[str, str, str]:
        return f"$.params?{name}", f"$.{name}", f"GET ?{name}"

    return _made(
        JSONDialect,
        changes,
        name="algolia",
        route=("POST /1/indexes/{index}/query", "GET /1/indexes/{index}"),
        query=at("query"),
        windows=Window(size=at("length"), offset=at("offset"), default_size=20),
        size=at("hitsPerPage"),
        page=at("page"),
        first_page=0,
        default_size=20,
        max_size=1000,
        hits="$.hits",
        id="$.objectID",
        beside=("_highlightResult", "_snippetResult", "_rankingInfo", "_distinctSeqID"),
        searched=at("restrictSearchableAttributes"),
        match_all=("",),
        alone={
            "filter-path": When(at("responseFields"), like=r"(?!.*(\*|\bhits\b)).+"),
            "collapse": When(at("distinct"), like=r"(?!0|false).+"),
            "explain": When(at("explain"), like=r".*\w.*"),
            "aggregations-only": When("$.type", like="facet"),
        },
        show=Show(include=at("attributesToRetrieve"), everything=["*"], always=("objectID",)),
        echo={
            "size": ("$.hitsPerPage", "$.length"),
            "offset": "$.offset",
            "page": "$.page",
            "pages": ("$.nbPages", "$.nbHits"),
        },
        several=MultiSearch(
            route="POST /1/indexes/*/queries", searches="$.requests", answers="$.results", index="$.indexName"
        ),
    )


class _Azure(JSONDialect):
    """Whose query is in one of two syntaxes, or in none."""

    def query_of(self, asked: Asked) -> str:
        text = super().query_of(asked)
        kind = asked.value(places(("POST $.queryType", "GET ?queryType"), "queryType"), "simple")
        if text == "*" or kind == "semantic":
            return text
        return lucene.reduce(text, simple=kind != "full").text


def azure(**changes: Any) -> JSONDialect:
    """Azure AI Search: ``docs/search`` by POST, ``docs?search=`` by GET, and the paths of its SDKs.

    The key's name is not in an answer: ``azure(id="$.HotelId")``. At most 1,000 hits are fetched.

    https://learn.microsoft.com/rest/api/searchservice/documents/search-post
    """

    def at(name: str, url: str | None = None) -> tuple[str, str]:
        return f"POST $.{name}", f"GET ?{url or name}"

    return _made(
        _Azure,
        changes,
        name="azure",
        route=(
            "POST /indexes/{index}/docs/search",
            "POST /indexes/{index}/docs/search.post.search",
            "POST /indexes('{index}')/docs/search",
            "POST /indexes('{index}')/docs/search.post.search",
            "GET /indexes/{index}/docs",
            "GET /indexes('{index}')/docs",
        ),
        query=(*at("search"), "POST $.vectorQueries[*].text", "POST $.semanticQuery"),
        size=at("top", "$top"),
        offset=at("skip", "$skip"),
        default_size=50,
        max_size=1000,
        hits="$.value",
        id=NO_ID,
        score=("$['@search.rerankerScore']", "$['@search.score']"),
        beside=("@search.*",),
        searched=at("searchFields"),
        separator="/",
        match_all=("*", ""),
        alone={"sorted": When(at("orderby", "$orderby"), like=r"(?!\s*search\.score\(\)(\s+desc)?\s*(,|$)).*\S.*")},
        show=Show(include=at("select", "$select"), separator="/"),
    )


def vespa(**changes: Any) -> JSONDialect:
    """Vespa's query API, ``/search/``, by GET and POST; see :class:`vespa.Vespa`. Only by name: other APIs have a path
    ``/search`` too.

    https://docs.vespa.ai/en/reference/query-api-reference.html
    """
    return Vespa(**changes)


def _made(kind: type[JSONDialect], changes: Mapping[str, Any], **said: Any) -> JSONDialect:
    return kind(**{**said, **changes})


_EXCLUDED = re.compile(r'(?:(?<=\s)|^)-(?:"[^"]*"|\S+)')


def _without_exclusions(text: str) -> str:
    """Without ``-word`` and ``-"a phrase"``, which Meilisearch and Typesense exclude, and the quotes of a phrase."""
    return " ".join(_EXCLUDED.sub(" ", text).replace('"', " ").split())


PRESETS: Mapping[str, Callable[[], JSONDialect]] = MappingProxyType(
    {make.__name__: cache(make) for make in (meilisearch, typesense, qdrant, algolia, azure, vespa)}
)
"""By name; made when they are first asked for."""

BY_NAME_ONLY = frozenset({"vespa"})
"""Whose paths another API may well have."""
