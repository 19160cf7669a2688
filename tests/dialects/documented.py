"""Searches in the shapes that the engines' documentation shows, each with the text and the fields read of it.

The words are ours, the shapes theirs: https://www.elastic.co/docs/reference/query-languages/querydsl,
https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrievers, https://docs.opensearch.org/latest/query-dsl/,
https://docs.opensearch.org/latest/vector-search/ai-search/. A text of None: there is none, the search is left alone.
"""

from __future__ import annotations

import base64
import json
from typing import Any

Documented = tuple[str, Any, str | None, tuple[str, ...]]

TAP: dict[str, Any] = {"match": {"text": "leaking tap"}}
YEAR = {"range": {"year": {"gte": 2020}}}
BUILT = {"query_vector_builder": {"text_embedding": {"model_id": "e5", "model_text": "leaking tap"}}}
VECTOR = {"field": "emb", "query_vector": [0.1, 0.2], "k": 10, "num_candidates": 50}


def clause(name: str, spec: Any, text: str | None, *fields: str) -> Documented:
    return (name, {"query": {name: spec}}, text, fields)


FULL_TEXT = [
    clause(
        "match", {"text": {"query": "leaking tap", "operator": "and", "zero_terms_query": "all"}}, "leaking tap", "text"
    ),
    clause("match", {"text": {"query": "leakin tap", "fuzziness": "AUTO", "prefix_length": 1}}, "leakin tap", "text"),
    clause("match", {"text": {"query": "ny city", "auto_generate_synonyms_phrase_query": False}}, "ny city", "text"),
    clause("match", {"active": True}, "true", "active"),
    clause("match_phrase", {"text": {"query": "leaking tap", "slop": 2, "analyzer": "my"}}, "leaking tap", "text"),
    clause("match_phrase_prefix", {"text": {"query": "leaking t", "max_expansions": 9}}, "leaking t", "text"),
    clause("match_bool_prefix", {"text": {"query": "leaking t", "analyzer": "keyword"}}, "leaking t", "text"),
    clause("common", {"text": {"query": "the tap", "cutoff_frequency": 0.001}}, "the tap", "text"),
    clause("multi_match", {"query": "tap", "type": "most_fields", "fields": ["t", "t.std^3"]}, "tap", "t", "t.std"),
    clause(
        "multi_match", {"query": "tap l", "type": "bool_prefix", "fields": ["s", "s._2gram"]}, "tap l", "s", "s._2gram"
    ),
    clause(
        "multi_match", {"query": "Will Smith", "type": "cross_fields", "fields": ["*_name"]}, "Will Smith", "*_name"
    ),
    clause(
        "combined_fields", {"query": "tap", "fields": ["title^2", "text"], "operator": "and"}, "tap", "title", "text"
    ),
    clause("query_string", {"query": "(old tap) OR (new valve)", "default_field": "text"}, "old tap new valve", "text"),
    clause("query_string", {"fields": ["title", "name.*^5"], "query": "this AND thus"}, "this thus", "title", "name.*"),
    clause("query_string", {"query": "title:(quick OR brown) -news", "lenient": True}, "quick brown", "title"),
    clause("query_string", {"query": r"book.\*:quick year:[2000 TO *]"}, "quick", "book.*"),
    clause("query_string", {"query": "tap (leak)", "escape": True, "default_field": "text"}, "tap (leak)", "text"),
    clause(
        "simple_query_string",
        {"query": '"red tap" +(old | new) -pump', "fields": ["t^5", "b"]},
        "red tap old new",
        "t",
        "b",
    ),
    clause("simple_query_string", {"query": "tap -old", "flags": "NONE", "fields": ["t"]}, "tap -old", "t"),
    clause("simple_query_string", {"query": "foo | bar + baz*", "flags": "OR|AND|PREFIX"}, "foo bar baz"),
    clause(
        "intervals",
        {
            "text": {
                "all_of": {
                    "ordered": True,
                    "intervals": [
                        {"match": {"query": "my favorite food", "max_gaps": 0, "ordered": True}},
                        {"any_of": {"intervals": [{"match": {"query": "hot water"}}, {"match": {"query": "tea"}}]}},
                    ],
                }
            }
        },
        "my favorite food hot water tea",
        "text",
    ),
    clause(
        "intervals",
        {"text": {"match": {"query": "hot soup", "filter": {"not_containing": {"match": {"query": "salty"}}}}}},
        "hot soup",
        "text",
    ),
    clause("intervals", {"text": {"fuzzy": {"term": "soop", "use_field": "text.std"}}}, "soop", "text", "text.std"),
    clause("intervals", {"text": {"match": {"query": "a", "use_field": "text.stem"}}}, "a", "text", "text.stem"),
    clause("intervals", {"text": {"prefix": {"prefix": "ta"}}}, None),
    clause("intervals", {"text": {"wildcard": {"pattern": "t*p"}}}, None),
    clause("intervals", {"text": {"regexp": {"pattern": "t.p"}}}, None),
    clause("intervals", {"text": {"range": {"gte": "a", "lte": "b"}}}, None),
]

MORE_LIKE_THIS = [
    clause(
        "more_like_this",
        {"fields": ["title", "text"], "like": "a leaking tap", "min_term_freq": 1},
        "a leaking tap",
        "title",
        "text",
    ),
    clause(
        "more_like_this", {"fields": ["t"], "like": ["tap", {"_index": "i", "_id": "1"}, "valve"]}, "tap valve", "t"
    ),
    clause("more_like_this", {"like_text": "an old tap", "unlike": "a pump"}, "an old tap"),
    clause("more_like_this", {"fields": ["t"], "like": [{"_index": "i", "_id": "1"}], "unlike": "pump"}, None),
]

COMPOUND = [
    clause(
        "bool",
        {"must": TAP, "should": [{"match": {"title": "old"}}], "must_not": TAP, "filter": YEAR},
        "leaking tap old",
        "text",
        "title",
    ),
    clause("bool", {"filter": TAP}, None),
    clause("bool", {"must_not": [TAP]}, None),
    clause(
        "boosting",
        {"positive": TAP, "negative": {"match": {"text": "pump"}}, "negative_boost": 0.5},
        "leaking tap",
        "text",
    ),
    clause("constant_score", {"filter": TAP, "boost": 1.2}, "leaking tap", "text"),
    clause("constant_score", {"filter": {"term": {"user": "kim"}}}, None),
    clause("dis_max", {"queries": [{"term": {"a": "b"}}, TAP], "tie_breaker": 0.7}, "leaking tap", "text"),
    clause(
        "function_score",
        {"query": TAP, "functions": [{"filter": {"match": {"t": "x"}}, "weight": 2}]},
        "leaking tap",
        "text",
    ),
    clause("function_score", {"query": {"match_all": {}}, "random_score": {}}, None),
    clause("script_score", {"query": TAP, "script": {"source": "doc['n'].value"}}, "leaking tap", "text"),
    clause(
        "nested", {"path": "steps", "query": {"match": {"steps.text": "turn"}}, "inner_hits": {}}, "turn", "steps.text"
    ),
    clause("has_child", {"type": "answer", "query": TAP, "score_mode": "max"}, "leaking tap", "text"),
    clause("has_parent", {"parent_type": "question", "query": TAP}, "leaking tap", "text"),
    clause("wrapper", {"query": base64.b64encode(json.dumps(TAP).encode()).decode()}, "leaking tap", "text"),
    clause("wrapper", {"query": "not base64"}, None),
]

SPECIAL = [
    clause("pinned", {"ids": ["1", "4"], "organic": TAP}, "leaking tap", "text"),
    clause("pinned", {"docs": [{"_index": "i", "_id": "1"}], "organic": {"match_all": {}}}, None),
    clause(
        "rule", {"match_criteria": {"user_query": "x"}, "ruleset_ids": ["r"], "organic": TAP}, "leaking tap", "text"
    ),
    clause("rule_query", {"match_criteria": {}, "ruleset_id": "r", "organic": TAP}, "leaking tap", "text"),
    clause("semantic", {"field": "inference", "query": "stop a drip"}, "stop a drip", "inference"),
    clause("sparse_vector", {"field": "ml.tokens", "inference_id": "elser", "query": "stop a drip"}, "stop a drip"),
    clause("sparse_vector", {"field": "ml.tokens", "query_vector": {"drip": 0.5}}, None),
    clause("text_expansion", {"ml.tokens": {"model_id": ".elser", "model_text": "stop a drip"}}, "stop a drip"),
    clause("weighted_tokens", {"ml.tokens": {"tokens": {"drip": 2.1, "tap": 1.0}}}, None),
    clause("knn", {"field": "emb", "k": 5, **BUILT}, "leaking tap"),
    clause("knn", VECTOR, None),
    clause("knn", {"field": "e", "query_vector_builder": {"lookup": {"id": "1", "index": "i", "path": "e"}}}, None),
    clause("knn", {"field": "e", "query_vector_builder": {"embedding": {"input": "red tap"}}}, "red tap"),
    clause(
        "knn",
        {
            "field": "e",
            "query_vector_builder": {
                "embedding": {"input": [{"type": "image", "value": "data:"}, {"type": "text", "value": "red"}]}
            },
        },
        "red",
    ),
]

# What names terms as the index has them, not as somebody typed them, and what has no words at all.
TEXTLESS = [
    clause(name, spec, None)
    for name, spec in {
        "term": {"user.id": {"value": "kim", "boost": 1.0}},
        "terms": {"user.id": ["kim", "elk"]},
        "terms_set": {"languages": {"terms": ["c++", "java"], "minimum_should_match": 1}},
        "prefix": {"user.id": {"value": "ki"}},
        "wildcard": {"user.id": {"value": "ki*y"}},
        "regexp": {"user.id": {"value": "k.*y"}},
        "fuzzy": {"user.id": {"value": "ki", "fuzziness": "AUTO"}},
        "exists": {"field": "user"},
        "ids": {"values": ["1", "4"]},
        "range": {"age": {"gte": 10}},
        "span_term": {"text": "tap"},
        "span_near": {"clauses": [{"span_term": {"text": "leaking"}}, {"span_term": {"text": "tap"}}], "slop": 12},
        "span_multi": {"match": {"prefix": {"text": {"value": "ta"}}}},
        "distance_feature": {"field": "made", "pivot": "7d", "origin": "now"},
        "rank_feature": {"field": "pagerank"},
        "geo_distance": {"distance": "200km", "pin": {"lat": 40, "lon": -70}},
        "script": {"script": "doc['n'].value > 1"},
        "parent_id": {"type": "child", "id": "1"},
        "match_none": {},
        "match_all": {"boost": 1.2},
    }.items()
]


def retriever(name: str, spec: Any, text: str | None, *fields: str) -> Documented:
    return (name, {"retriever": {name: spec}}, text, fields)


STANDARD: dict[str, Any] = {"standard": {"query": TAP, "filter": {"match": {"text": "not this"}}}}
VALVE: dict[str, Any] = {"standard": {"query": {"match": {"title": "valve"}}}}

RETRIEVERS = [
    retriever("standard", {"query": TAP, "min_score": 0.5}, "leaking tap", "text"),
    retriever("standard", {"query": {"match_all": {}}}, None),
    retriever("knn", VECTOR, None),
    retriever("knn", {"field": "emb", "k": 10, "num_candidates": 50, **BUILT}, "leaking tap"),
    retriever("rrf", {"retrievers": [STANDARD, {"knn": VECTOR}], "rank_window_size": 50}, "leaking tap", "text"),
    retriever(
        "rrf",
        {"retrievers": [{"retriever": STANDARD, "weight": 2.0}, {"retriever": VALVE}]},
        "leaking tap valve",
        "text",
        "title",
    ),
    retriever("rrf", {"query": "leaking tap", "fields": ["title^2", "text"]}, "leaking tap", "title", "text"),
    retriever("rrf", {"query": "leaking tap"}, "leaking tap"),
    retriever(
        "linear", {"retrievers": [{"retriever": STANDARD, "weight": 2, "normalizer": "minmax"}]}, "leaking tap", "text"
    ),
    retriever(
        "linear", {"query": "leaking tap", "fields": ["title^2"], "normalizer": "minmax"}, "leaking tap", "title"
    ),
    retriever(
        "text_similarity_reranker",
        {"retriever": VALVE, "field": "text", "inference_text": "stop a drip"},
        "stop a drip",
        "text",
    ),
    retriever("text_similarity_reranker", {"retriever": VALVE, "field": "text"}, "valve", "title"),
    retriever(
        "rule", {"match_criteria": {"q": "x"}, "ruleset_ids": ["r"], "retriever": STANDARD}, "leaking tap", "text"
    ),
    retriever("pinned", {"ids": ["1"], "retriever": STANDARD}, "leaking tap", "text"),
    retriever(
        "rescorer",
        {
            "rescore": {"window_size": 50, "query": {"rescore_query": {"match": {"title": "old"}}}},
            "retriever": STANDARD,
        },
        "old leaking tap",
        "title",
        "text",
    ),
    retriever("rescorer", {"retriever": STANDARD, "rescore": [{"script": {"script": "1"}}]}, "leaking tap", "text"),
    retriever(
        "diversify", {"type": "mmr", "field": "emb", "lambda": 0.7, "retriever": STANDARD}, "leaking tap", "text"
    ),
    retriever("diversify", {"type": "mmr", "field": "emb", **BUILT, "retriever": {"knn": VECTOR}}, "leaking tap"),
    retriever(
        "rrf",
        {"retrievers": [{"linear": {"retrievers": [{"retriever": {"pinned": {"ids": [], "retriever": VALVE}}}]}}]},
        "valve",
        "title",
    ),
]

OPENSEARCH = [
    clause("neural", {"emb": {"query_text": "stop a drip", "model_id": "m", "k": 100}}, "stop a drip"),
    clause("neural", {"emb": {"query_text": "a drip", "query_image": "iVBOR", "filter": TAP}}, "a drip"),
    clause("neural", {"emb": {"query_image": "iVBOR"}}, None),
    clause("nested", {"path": "chunks", "query": {"neural": {"chunks.knn": {"query_text": "a drip"}}}}, "a drip"),
    clause("neural_sparse", {"emb": {"query_text": "stop a drip", "analyzer": "bert-uncased"}}, "stop a drip"),
    clause("neural_sparse", {"emb": {"query_tokens": {"drip": 2.0}}}, None),
    clause(
        "hybrid",
        {
            "queries": [TAP, {"neural": {"emb": {"query_text": "leaking tap", "k": 5}}}],
            "filter": YEAR,
            "pagination_depth": 20,
        },
        "leaking tap",
        "text",
    ),
    clause(
        "hybrid",
        {"queries": [{"neural_sparse": {"e": {"query_text": "drip"}}}, {"knn": {"v": {"vector": [1.0], "k": 2}}}]},
        "drip",
    ),
    clause("knn", {"emb": {"vector": [1.0, 2.0], "k": 2, "filter": TAP}}, None),
    clause(
        "agentic",
        {"query_text": "which tap is the oldest?", "query_fields": ["name", "year"]},
        "which tap is the oldest?",
        "name",
        "year",
    ),
    clause("agentic", {"query_text": "which tap is the oldest?", "memory_id": "x"}, "which tap is the oldest?"),
    clause(
        "template",
        {"bool": {"must": [TAP], "should": [{"knn": {"emb": {"vector": "${vector}", "k": 2}}}]}},
        "leaking tap",
        "text",
    ),
    clause("template", {"match": {"text": "${rewritten}"}}, None),
]

BODIES: list[Documented] = [
    ("knn", {"knn": [{**VECTOR, "boost": 0.4}], "query": TAP}, "leaking tap", ("text",)),
    ("knn", {"knn": {"field": "emb", **BUILT}}, "leaking tap", ()),
    ("knn", {"knn": VECTOR}, None, ()),
    (
        "sub_searches",
        {"sub_searches": [{"query": TAP}, {"query": {"match": {"t": "b"}}}], "rank": {"rrf": {}}},
        "leaking tap b",
        ("text", "t"),
    ),
    (
        "rescore",
        {"query": TAP, "rescore": [{"query": {"rescore_query": {"match_phrase": {"text": "tap leaking"}}}}]},
        "leaking tap tap leaking",
        ("text",),
    ),
    (
        "rescore",
        {"query": TAP, "rescore": {"learning_to_rank": {"model_id": "m", "params": {"q": "x"}}}},
        "leaking tap",
        ("text",),
    ),
    (
        "sltr",
        {"query": TAP, "rescore": {"query": {"rescore_query": {"sltr": {"params": {"k": "x"}}}}}},
        "leaking tap",
        ("text",),
    ),
    ("post_filter", {"query": TAP, "post_filter": {"match": {"text": "not this"}}}, "leaking tap", ("text",)),
    ("ubi", {"query": TAP, "ext": {"ubi": {"user_query": "my tap drips", "query_id": "1"}}}, "my tap drips", ("text",)),
    ("ubi", {"query": TAP, "ext": {"ubi": {"user_query": " "}}}, "leaking tap", ("text",)),
    (
        "ubi",
        {"query": TAP, "ext": {"ubi": {"user_query": "a"}, "rerank": {"query_context": {"query_text": "b"}}}},
        "a",
        ("text",),
    ),
    ("rerank", {"query": TAP, "ext": {"rerank": {"query_context": {"query_text": "drips"}}}}, "drips", ("text",)),
    (
        "rerank",
        {"query": TAP, "ext": {"rerank": {"query_context": {"query_text_path": "query.match.text"}}}},
        "leaking tap",
        ("text",),
    ),
    (
        "rerank",
        {
            "query": {"bool": {"must": [{"term": {"a": "x"}}]}},
            "ext": {"rerank": {"query_context": {"query_text_path": "query.bool.must.0.term.a"}}},
        },
        "x",
        (),
    ),
]

URLS: list[tuple[str, str | None, tuple[str, ...]]] = [
    ("q=leaking+tap", "leaking tap", ()),
    ("q=leaking%20tap&df=text", "leaking tap", ("text",)),
    ("q=title%3A%28old+OR+new%29+-pump&default_operator=AND", "old new", ("title",)),
    ("q=tap*&df=text&analyze_wildcard=true&lenient=true&analyzer=english", "tap", ("text",)),
    ("q=user.id:kimchy&sort=_score", "kimchy", ("user.id",)),
    ("q=%22hot+water%22~3+year:%5B2000+TO+2010%5D", "hot water", ()),
    ("q=*:*", None, ()),
    ("q=*", None, ()),
    ("q=", None, ()),
]

ALL = [*FULL_TEXT, *MORE_LIKE_THIS, *COMPOUND, *SPECIAL, *TEXTLESS, *RETRIEVERS, *OPENSEARCH, *BODIES]
