"""What the official clients are made to call, as one table for all of them, and what of an answer must be equal.

A call has the client's method in snake case (a dot for a name space, ``helpers.`` for its helpers), its arguments, the
request's body, and parameters of the URL. The programs beside this file make them: ``opensearch_calls.py``,
``elasticsearch_calls.py`` and ``javascript/calls.mjs``, which read the table as JSON from standard input and print, for
each address that they are given, the list of what the client understood. ``$scroll`` and ``$pit`` stand for the ids
that the newest answer with one had.
"""

from __future__ import annotations

import json
from typing import Any

Call = dict[str, Any]

QUERY = {"multi_match": {"query": "dripping tap water pipe heating", "fields": ["title", "text"]}}
AGGREGATED = {"terms": {"field": "title.keyword", "size": 3}}


def call(name: str, arguments: dict[str, Any] | None = None, body: Any = None, **params: Any) -> Call:
    return {"call": name, "arguments": arguments or {}, "body": body, "params": params}


def search(params: dict[str, Any] | None = None, index: str = "household", **body: Any) -> Call:
    return call("search", {"index": index}, {"query": QUERY, **body}, **(params or {}))


SEARCHES = [
    search(),
    search(size=12),
    search(_source=["title"]),
    search(_source=False),
    search(_source={"includes": ["t*"], "excludes": ["text"]}),
    search(_source=False, fields=["title"]),
    search({"_source_includes": "title"}),
    search({"_source_excludes": "text"}),
    search(highlight={"fields": {"text": {"number_of_fragments": 1}}}),
    search(aggs={"titles": AGGREGATED}),
    search({"typed_keys": True}, aggs={"titles": AGGREGATED}),
    search(track_total_hits=True),
    search(track_total_hits=3),
    search(track_total_hits=False),
    search({"rest_total_hits_as_int": True}, track_total_hits=True),
    search(version=True, seq_no_primary_term=True),
    search(suggest={"tip": {"text": "drippin", "term": {"field": "text"}}}),
    search(post_filter={"exists": {"field": "title"}}),
    search(min_score=0.1),
    search(docvalue_fields=["title.keyword"]),
    search(rescore={"window_size": 20, "query": {"rescore_query": {"match": {"text": "tap"}}}}),
    search(query={"bool": {"must": [{"match": {"text": "tap"}}], "filter": [{"exists": {"field": "title"}}]}}),
    search(query={"query_string": {"query": "title:tap OR (text:leak AND water)"}}),
    search({"filter_path": "hits.hits._id,hits.total"}),
    search({"filter_path": "took,hits.hits._id,hits.hits._source.title"}),
    search({"filter_path": "-hits.max_score"}),
    search({"pretty": True, "human": True, "error_trace": True}),
    search({"allow_partial_search_results": True, "preference": "_local"}),
    search(index="house*,-nothing*"),
    search(query={"match": {"text": "qqqqq"}}),
    call("search", {"index": "household"}, None, q="text:tap", df="title"),
    call("search", {}, {"query": QUERY}),
]
"""Searches for the first ten hits or more: a window of ten changes nothing but their order."""

PAGES = [
    search(size=3),
    search(**{"from": 2, "size": 5}),
    search(**{"from": 8, "size": 20}),
    search({"filter_path": "hits.hits._id"}, size=2),
    search(size=4, _source=False, highlight={"fields": {"title": {}}}),
]
"""Those whose hits change with the order, as the page is cut after it."""

LEFT_ALONE = [
    search(sort=[{"title.keyword": "asc"}]),
    search(sort=["title.keyword"], search_after=["M"]),
    search(size=0, aggs={"titles": AGGREGATED}),
    search(query={"match_all": {}}, size=3),
    search(query={"ids": {"values": ["d003", "d001"]}}),
    search(collapse={"field": "title.keyword"}, size=3),
    search(explain=True, size=1),
    search(**{"from": 60, "size": 2}),
]

FAULTS = [
    search(index="nowhere"),
    search(query={"no_such_clause": {}}),
    search(query={"match": {"text": {"query": "tap", "operator": "perhaps"}}}),
    search(size=-1),
    search(size=1_000_000),
    call("get", {"index": "household", "id": "nobody"}),
]

DOCUMENTS = [{"_id": str(n), "title": f"note {n}", "text": "water " * (n % 3 + 1)} for n in range(25)]
NOTE = {"match": {"title": "note"}}

OTHERS = [
    call("ping"),
    call("count", {"index": "household"}, {"query": QUERY}),
    call("get", {"index": "household", "id": "d001"}),
    call("exists", {"index": "household", "id": "d001"}),
    call("exists", {"index": "household", "id": "nobody"}),
    call("get_source", {"index": "household", "id": "d002"}),
    call("mget", {"index": "household"}, {"ids": ["d001", "nobody"]}),
    call("explain", {"index": "household", "id": "d001"}, {"query": QUERY}),
    call("indices.exists", {"index": "household"}),
    call("indices.get_mapping", {"index": "household"}),
    call("indices.create", {"index": "notes"}),
    call("index", {"index": "notes", "id": "one"}, {"title": "note one"}, refresh=True),
    call("index", {"index": "notes", "id": "one"}, {"title": "note two"}, refresh=True),
    call("create", {"index": "notes", "id": "one"}, {"title": "note three"}),  # 409
    call("update", {"index": "notes", "id": "one"}, {"doc": {"text": "wasser"}}),
    call("bulk", {}, [{"index": {"_index": "notes", "_id": "two"}}, {"title": "note four"}], refresh=True),
    call("helpers.bulk", {"index": "notes", "documents": DOCUMENTS}),
    call("search", {"index": "notes"}, {"query": {"match": {"title": "one"}}}),
    call("helpers.scan", {"index": "notes"}, {"query": NOTE, "size": 7}),
    call("search", {"index": "notes"}, {"query": NOTE, "size": 4}, scroll="1m"),
    call("scroll", {}, {"scroll_id": "$scroll", "scroll": "1m"}),
    call("clear_scroll", {}, {"scroll_id": "$scroll"}),
    call("delete", {"index": "notes", "id": "one"}, None, refresh=True),
    call("delete_by_query", {"index": "notes"}, {"query": NOTE}, refresh=True),
    call("indices.delete", {"index": "notes"}),
]

MSEARCH = [
    {"index": "household"}, {"query": QUERY, "size": 10},
    {}, {"query": {"match_all": {}}, "size": 2, "sort": ["title.keyword"]},
    {"index": "household"}, {"query": {"match": {"text": "hot water"}}, "size": 11, "_source": ["title"]},
    {"index": "nowhere"}, {"query": QUERY},
]  # fmt: skip
SEVERAL = [call("msearch", {}, MSEARCH), call("msearch", {"index": "household"}, [{}, {"query": QUERY}])]

AT_A_POINT = {"query": QUERY, "size": 10, "pit": {"id": "$pit", "keep_alive": "1m"}}
IN_OPENSEARCH = [
    call("create_pit", {"index": "household"}, None, keep_alive="1m"),
    call("search", {}, AT_A_POINT),
    call("search", {}, {**AT_A_POINT, "sort": ["_doc"]}),
    call("delete_pit", {}, {"pit_id": ["$pit"]}),
]
IN_ELASTICSEARCH = [
    call("open_point_in_time", {"index": "household"}, None, keep_alive="1m"),
    call("search", {}, AT_A_POINT),
    call("search", {}, {**AT_A_POINT, "sort": ["_doc"]}),
    call("close_point_in_time", {}, {"id": "$pit"}),
    call("async_search.submit", {"index": "household"}, {"query": QUERY}, keep_on_completion=True),
    call("search", {"index": "household"}, {"retriever": {"standard": {"query": QUERY}}}),
]

OPENSEARCH = [*SEARCHES, *PAGES, *LEFT_ALONE, *FAULTS, *OTHERS, *SEVERAL, *IN_OPENSEARCH]
ELASTICSEARCH = [*SEARCHES, *PAGES, *LEFT_ALONE, *FAULTS, *OTHERS, *SEVERAL, *IN_ELASTICSEARCH]

# What differs from one run to the next without any proxy; an engine's ids, times, and counters.
_OF_THE_MOMENT = frozenset(["took", "_scroll_id", "pit_id", "id", "creation_time", "time", "_seq_no", "_primary_term"])


def comparable(answer: Any, *, ordered: bool = True) -> Any:
    """What must be equal of an answer: all but what is of the moment; ``ordered`` False: nor the order of hits."""
    if isinstance(answer, list):
        return [comparable(item, ordered=ordered) for item in answer]
    if not isinstance(answer, dict):
        return answer
    out = {k: comparable(v, ordered=ordered) for k, v in answer.items() if k not in _OF_THE_MOMENT}
    if not ordered and isinstance(out.get("hits"), list):
        out["hits"] = sorted(out["hits"], key=json.dumps)
    return out


def without_page(answer: Any) -> Any:
    """A search's answer without what depends on which hits are on the page."""
    found = answer.get("hits") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        return answer
    # the demo engine gives the page's highest score, not the search's
    kept = {k: v for k, v in found.items() if k != "max_score"}
    return {**answer, "hits": {**kept, "hits": len(found.get("hits", ()))}}
