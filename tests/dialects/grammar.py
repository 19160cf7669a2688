"""Random searches: every clause, every retriever and every member of a search body, whole and broken."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

Any_ = st.SearchStrategy[Any]

WORDS = st.sampled_from(
    ["red", "leaking tap", "寿司 café", "", "  ", "${x}", "a\ud800", "title:red -blue", "*", "x" * 300]
)
FIELDS = st.sampled_from(
    ["title", "body", "meta.lang", "meta.*", "title.english", "chapters.text", "*", "nowhere", "title^2"]
)
NAMES = FIELDS | st.lists(FIELDS, max_size=3)
NUMBER = st.sampled_from([0, 1, 1.5, -3, 10**30, True])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4) | FIELDS, inner, max_size=2),
    max_leaves=5,
)


def some(**members: Any_) -> Any_:
    """An object with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


def under_field(inner: Any_) -> Any_:
    return st.dictionaries(FIELDS, inner, min_size=1, max_size=2)


def encoded(clause: Any) -> dict[str, str]:
    return {"query": base64.b64encode(json.dumps(clause).encode()).decode()}


BUILDER = st.fixed_dictionaries({}, optional={"text_embedding": some(model_text=WORDS, model_id=st.just("m"))}) | some(
    embedding=some(input=WORDS | st.lists(some(type=st.sampled_from(["text", "image"]), value=WORDS), max_size=2))
)
VECTOR = some(field=FIELDS, query_vector=st.lists(NUMBER, max_size=3), k=NUMBER, query_vector_builder=BUILDER)
MATCH = under_field(
    WORDS | NUMBER | some(query=WORDS, fuzziness=st.just("AUTO"), operator=st.just("and"), boost=NUMBER)
)
SYNTAX = some(
    query=WORDS, fields=NAMES, default_field=FIELDS, flags=st.sampled_from(["ALL", "NONE"]), escape=st.booleans()
)
MANY = some(query=WORDS, fields=NAMES, type=st.just("phrase"), tie_breaker=NUMBER)
RULE = st.recursive(
    some(match=some(query=WORDS, use_field=FIELDS), fuzzy=some(term=WORDS), prefix=some(prefix=WORDS)),
    lambda inner: some(all_of=some(intervals=st.lists(inner, max_size=2)), any_of=some(intervals=st.lists(inner))),
    max_leaves=3,
)

LEAVES: dict[str, Any_] = {
    **dict.fromkeys(["match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "common"], MATCH),
    **dict.fromkeys(["multi_match", "combined_fields"], MANY),
    **dict.fromkeys(["query_string", "simple_query_string"], SYNTAX),
    "intervals": under_field(RULE),
    "more_like_this": some(fields=NAMES, like=WORDS | st.lists(WORDS | some(_id=WORDS), max_size=2), unlike=WORDS),
    "match_all": some(boost=NUMBER),
    "match_none": st.just({}),
    "semantic": some(field=FIELDS, query=WORDS),
    "sparse_vector": some(field=FIELDS, query=WORDS, query_vector=st.just({"a": 1.0})),
    "text_expansion": under_field(some(model_text=WORDS)),
    "neural": under_field(some(query_text=WORDS, query_image=WORDS, k=NUMBER)),
    "neural_sparse": under_field(some(query_text=WORDS, query_tokens=st.just({"a": 1}))),
    "agentic": some(query_text=WORDS, query_fields=NAMES),
    "knn": VECTOR | under_field(some(vector=st.lists(NUMBER, max_size=2))),
    "term": under_field(WORDS),
    "percolate": some(field=FIELDS, document=JUNK),
    "range": under_field(some(gte=NUMBER)),
}

Nested = Callable[[Any_], Any_]


def _one(key: str) -> Nested:
    return lambda inner: some(**{key: inner, "boost": NUMBER, "path": FIELDS})


def _several(*keys: str) -> Nested:
    return lambda inner: some(**{key: inner | st.lists(inner, max_size=2) for key in keys})


NESTED: dict[str, Nested] = {
    "bool": _several("must", "should", "filter", "must_not"),
    "dis_max": _several("queries"),
    "hybrid": _several("queries"),
    "constant_score": _one("filter"),
    **dict.fromkeys(["function_score", "script_score", "nested", "has_child", "has_parent"], _one("query")),
    "boosting": _several("positive", "negative"),
    **dict.fromkeys(["pinned", "rule", "rule_query"], _one("organic")),
    "wrapper": lambda inner: inner.map(encoded),
    "template": lambda inner: inner,
}


def _named(strategies: dict[str, Any_]) -> Any_:
    return st.sampled_from(sorted(strategies)).flatmap(lambda name: st.fixed_dictionaries({name: strategies[name]}))


CLAUSE: Any_ = st.recursive(
    _named(LEAVES), lambda inner: _named({name: nested(inner) for name, nested in NESTED.items()}), max_leaves=4
)


def _rescore() -> Any_:
    return some(query=some(rescore_query=CLAUSE), window_size=NUMBER) | some(learning_to_rank=some(model_id=WORDS))


ALONE: dict[str, Any_] = {
    "standard": some(query=CLAUSE, filter=CLAUSE, sort=st.just(["year"]), search_after=st.just([1])),
    "knn": VECTOR,
}
AROUND: dict[str, Nested] = {
    "rrf": lambda inner: some(
        retrievers=st.lists(inner | some(retriever=inner, weight=NUMBER)), query=WORDS, fields=NAMES
    ),
    "linear": lambda inner: some(retrievers=st.lists(some(retriever=inner, weight=NUMBER)), query=WORDS, fields=NAMES),
    "text_similarity_reranker": lambda inner: some(retriever=inner, field=FIELDS, inference_text=WORDS),
    "rule": _one("retriever"),
    "pinned": _one("retriever"),
    "rescorer": lambda inner: some(retriever=inner, rescore=_rescore()),
    "diversify": lambda inner: some(retriever=inner, query_vector_builder=BUILDER),
}
RETRIEVER: Any_ = st.recursive(
    _named(ALONE), lambda inner: _named({name: around(inner) for name, around in AROUND.items()}), max_leaves=3
)

SOURCE = st.booleans() | NAMES | some(includes=NAMES, excludes=NAMES) | some(include=NAMES, exclude=NAMES)
WINDOW = st.integers(0, 14) | st.sampled_from(["3", 4.0, "0"])
EXT = some(
    ubi=some(query_id=WORDS, user_query=WORDS),
    rerank=some(query_context=some(query_text=WORDS, query_text_path=st.just("query.match.title"))),
)
MEMBERS: dict[str, Any_] = {
    "query": CLAUSE,
    "retriever": RETRIEVER,
    "knn": VECTOR | st.lists(VECTOR, max_size=2),
    "sub_searches": st.lists(some(query=CLAUSE), max_size=2),
    "rescore": _rescore() | st.lists(_rescore(), max_size=2),
    "from": WINDOW,
    "size": WINDOW,
    "_source": SOURCE,
    "stored_fields": st.sampled_from(["title", ["title", "_source"], "_none_", []]),
    "fields": NAMES,
    "docvalue_fields": NAMES,
    "highlight": some(fields=st.just({"title": {}})),
    "aggs": st.just({"a": {"terms": {"field": "title", "size": 3}}}),
    "ext": EXT,
    "suggest": st.just({"s": {"text": "red"}}),
    "sort": st.sampled_from(["_score", ["_score", "year"], [], [{"_score": "desc"}], "year", {"_score": "asc"}]),
    "track_total_hits": st.booleans() | st.just(5),
    "min_score": NUMBER,
    "post_filter": CLAUSE,
    "collapse": st.just({"field": "title"}),
    "search_after": st.just([1]),
    "pit": st.just({"id": "x"}),
    "explain": st.booleans(),
    "profile": st.booleans(),
    "version": st.booleans(),
    "script_fields": st.just({"s": {"script": "1"}}),
    "indices_boost": st.just([{"a": 1}]),
    "rank": st.just({"rrf": {}}),
    "timeout": st.just("1s"),
    "x_unknown": JUNK,
}
RARE = frozenset(
    ["sort", "collapse", "search_after", "explain", "profile", "x_unknown", "knn", "sub_searches", "retriever"]
)
"""Members that are drawn less often, as with them most searches are left alone."""

PARAMS: dict[str, Any_] = {
    "size": st.integers(0, 14).map(str),
    "from": st.integers(0, 6).map(str),
    "_source": st.sampled_from(["true", "false", "title", "title,body"]),
    "_source_includes": st.sampled_from(["title", "meta.*,body"]),
    "_source_excludes": st.sampled_from(["body", "meta", "chapters.text"]),
    "stored_fields": st.sampled_from(["title", "_source"]),
    "filter_path": st.sampled_from(
        ["hits", "hits.hits._id,took", "hits.hits._id,hits.hits._source", "hits.hits._source.title", "-took", "took"]
    ),
    "q": st.sampled_from(["red", "title:red", "*:*"]),
    "df": FIELDS,
    "typed_keys": st.just("true"),
    "rest_total_hits_as_int": st.just("true"),
    "routing": st.just("a%b"),
}

USUAL = sorted(set(MEMBERS) - RARE - {"query"})
BODIES: Any_ = st.builds(
    lambda query, usual, rare: {**query, **usual, **rare},
    st.fixed_dictionaries({"query": CLAUSE}) | st.fixed_dictionaries({"retriever": RETRIEVER}) | some(knn=VECTOR),
    st.fixed_dictionaries({}, optional={name: MEMBERS[name] for name in USUAL}),
    st.just({})
    | st.just({})
    | st.just({})
    | st.fixed_dictionaries({}, optional={name: MEMBERS[name] for name in RARE}),
)
RANKED: Any_ = st.builds(
    lambda clause, match, usual: {**usual, "query": {"bool": {"must": [{"match": match}], "should": clause}}},
    CLAUSE,
    st.dictionaries(
        st.sampled_from(["title", "title.english", "meta.lang"]), st.sampled_from(["red", "寿司"]), min_size=1
    ),
    st.fixed_dictionaries({}, optional={name: MEMBERS[name] for name in USUAL}),
)
"""Bodies of searches that are likely to be reranked."""
QUERIES: Any_ = st.just({}) | st.fixed_dictionaries({}, optional=PARAMS)


@st.composite
def broken(draw: st.DrawFn, bodies: Any_) -> Any:
    """A body of which one part, anywhere, is something else."""
    body = copy.deepcopy(draw(bodies))
    spot: Any = body
    while isinstance(spot, dict | list) and spot:
        places = sorted(spot) if isinstance(spot, dict) else list(range(len(spot)))
        place = draw(st.sampled_from(places))
        if not isinstance(spot[place], dict | list) or not spot[place] or draw(st.integers(0, 2)) == 0:
            spot[place] = draw(JUNK)
            break
        spot = spot[place]
    return body


def target(params: dict[str, str]) -> str:
    pairs = "&".join(f"{name}={quote(value)}" for name, value in params.items())
    return "/books/_search" + ("?" + pairs if pairs else "")
