"""Requests and answers in the shapes that each engine's documentation shows, in both directions."""

# ruff: noqa: E501 - messages are kept whole

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from nbproxy.dialects import PRESETS, Answer, Dialect, Unreadable, algolia, azure, find, meilisearch
from nbproxy.errors import ConfigError
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

DEPTH = 50


def preset(name: str) -> Dialect:
    return find(name)[0]


def request(method: str, target: str, body: Any = None, headers: Headers | None = None) -> Request:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Request(method, target, headers or Headers(), raw)


def read(dialect: Dialect, asked: Request) -> Search:
    assert dialect.is_search(asked.method, asked.target)
    search = dialect.read_search(asked)
    assert isinstance(search, Search), search
    return search


def through(dialect: Dialect, asked: Request, answer: bytes, order: list[int], **more: Any) -> bytes:
    """The answer to the widened search, in another order, as the client gets it."""
    search = read(dialect, asked)
    widened = dialect.widen(asked, search, DEPTH, **more)
    return dialect.write_hits(found(dialect, answer, search, widened.undo), order)


def found(dialect: Dialect, answer: bytes, search: Search, undo: Any = None) -> Answer:
    return dialect.read_hits(answer, search, undo=undo)


# -- what is read: (dialect, request, query, offset, size, fields, index)

MEILI = "/indexes/movies/search"
TYPESENSE = "/collections/books/documents/search"
QDRANT = "/collections/tips/points/query"
ALGOLIA = "/1/indexes/products/query"
AZURE = "/indexes/hotels/docs/search?api-version=2024-07-01"
SDK = "/indexes('hotels')/docs/search.post.search?api-version=2024-07-01"

READ: list[tuple[str, Request, str, int, int, tuple[str, ...], str]] = [
    ("meilisearch", request("POST", MEILI, {"q": "american ninja"}), "american ninja", 0, 20, (), "movies"),
    ("meilisearch", request("GET", MEILI + "?q=american%20ninja&limit=5&offset=10"), "american ninja", 10, 5, (), "movies"),
    ("meilisearch", request("POST", MEILI, {"q": "x", "limit": None, "attributesToSearchOn": ["title", "tags.name"]}),
     "x", 0, 20, ("title", "tags.name"), "movies"),
    ("meilisearch", request("POST", MEILI, {"q": "x", "page": 3, "limit": 7}), "x", 40, 20, (), "movies"),
    ("meilisearch", request("POST", MEILI, {"q": "x", "hitsPerPage": 4, "offset": 7}), "x", 0, 4, (), "movies"),
    ("meilisearch", request("POST", MEILI + "/?q=not+read&limit=1", {"q": "x"}), "x", 0, 20, (), "movies"),
    ("meilisearch", request("POST", "/indexes/a%2Fb/search", {"q": "x"}), "x", 0, 20, (), "a%2Fb"),
    ("typesense", request("GET", TYPESENSE + "?q=harry+potter&query_by=title,authors.name"), "harry potter", 0, 10,
     ("title", "authors.name"), "books"),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=a&page=3&per_page=25"), "x", 50, 25, ("a",), "books"),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=a&offset=3&limit=25"), "x", 3, 25, ("a",), "books"),
    ("typesense", request("GET", TYPESENSE + '?query_by=a&q=electric+"fast+car"+-tesla+-"old+one"+e-mail'),
     "electric fast car e-mail", 0, 10, ("a",), "books"),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=a&sort_by=_text_match(buckets:10):desc,n:asc"), "x", 0, 10,
     ("a",), "books"),
    ("vespa", request("GET", "/search/?yql=select%20*%20from%20music%20where%20userQuery()&query=head+hunters&hits=5"),
     "head hunters", 0, 5, (), None),
    ("vespa", request("POST", "/search/", {"yql": 'select * from music where album contains "head \\"x\\""'}),
     'head "x"', 0, 10, (), None),
    ("vespa", request("POST", "/search/", {"yql": "select a from s where {a:1}userInput(@text) or true", "text": "fine",
                                            "offset": 20, "hits": 20}), "fine", 20, 20, (), None),
    ("vespa", request("POST", "/search", {"model": {"queryString": "x", "defaultIndex": "title"}}), "x", 0, 10,
     ("title",), None),
    ("vespa", request("POST", "/search/", {"model.queryString": "x", "ranking": "bm25"}), "x", 0, 10, (), None),
    ("qdrant", request("POST", QDRANT, {"query": {"text": "a leak", "model": "m"}, "limit": 3}), "a leak", 0, 3, (), "tips"),
    ("qdrant", request("POST", QDRANT, {"query": {"nearest": {"text": "x", "model": "m"}}, "offset": 5}), "x", 5, 10, (),
     "tips"),
    ("qdrant", request("POST", QDRANT, {"prefetch": [{"query": {"text": "x", "model": "m"}, "limit": 9},
                                                     {"query": {"text": "x", "model": "n"}}],
                                        "query": {"fusion": "rrf"}}), "x", 0, 10, (), "tips"),
    ("qdrant", request("POST", "/collections/tips/points/search?query_text=x", {"vector": [0.2, 0.1], "limit": 3}), "x", 0,
     3, (), "tips"),
    ("qdrant", request("POST", QDRANT + "?query_text=a%20leak", {"query": [0.2, 0.1]}), "a leak", 0, 10, (), "tips"),
    ("qdrant", request("POST", QDRANT, {"query": [0.2]}, Headers([(b"x-query-text", b"a leak")])), "a leak", 0, 10, (),
     "tips"),
    ("algolia", request("POST", ALGOLIA, {"params": "query=red%20shoes&hitsPerPage=2&page=3"}), "red shoes", 6, 2, (),
     "products"),
    ("algolia", request("POST", ALGOLIA, {"query": "x", "restrictSearchableAttributes": ["name"]}), "x", 0, 20, ("name",),
     "products"),
    ("algolia", request("POST", ALGOLIA, {"query": "x", "offset": 4, "length": 6, "page": 2}), "x", 4, 6, (), "products"),
    ("algolia", request("GET", "/1/indexes/products?query=x&hitsPerPage=7"), "x", 0, 7, (), "products"),
    ("azure", request("POST", AZURE, {"search": "ocean +view", "top": 5, "skip": 5, "searchFields": "Name, Address/City"}),
     "ocean view", 5, 5, ("Name", "Address.City"), "hotels"),
    ("azure", request("POST", SDK, {"search": "ocean"}), "ocean", 0, 50, (), "hotels"),
    ("azure", request("POST", SDK.replace("'", "%27"), {"search": "Name:ocean^2", "queryType": "full"}), "ocean", 0, 50, (),
     "hotels"),
    ("azure", request("POST", AZURE, {"search": "is -5 cold?", "queryType": "semantic"}), "is -5 cold?", 0, 50, (), "hotels"),
    ("azure", request("GET", "/indexes/hotels/docs?search=ocean&$top=3&%24skip=3&api-version=1"), "ocean", 3, 3, (),
     "hotels"),
    ("azure", request("POST", AZURE, {"vectorQueries": [{"kind": "text", "text": "sea", "fields": "v"}]}), "sea", 0, 50, (),
     "hotels"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "query", "offset", "size", "fields", "index"), READ)
def test_read(
    name: str, asked: Request, query: str, offset: int, size: int, fields: tuple[str, ...], index: str | None
) -> None:
    search = read(preset(name), asked)
    assert search == Search(query, offset, size, fields, index)
    assert preset(name).read_window(asked) == (offset, size)


ALONE: list[tuple[str, str, str, Any, str]] = [
    ("meilisearch", "POST", MEILI, {"q": ""}, "match-all"),
    ("meilisearch", "POST", MEILI, {}, "match-all"),
    ("meilisearch", "POST", MEILI, None, "match-all"),
    ("meilisearch", "POST", MEILI, {"q": "x", "sort": ["price:asc"]}, "sorted"),
    ("meilisearch", "GET", MEILI + "?q=x&sort=price:asc", None, "sorted"),
    ("meilisearch", "POST", MEILI, {"q": "x", "distinct": "sku"}, "collapse"),
    ("meilisearch", "POST", MEILI, {"q": "x", "limit": 0}, "size-zero"),
    ("meilisearch", "POST", MEILI, {"q": "x", "page": 0}, "malformed"),
    ("meilisearch", "POST", MEILI, {"q": "x", "limit": -1}, "malformed"),
    ("meilisearch", "POST", MEILI, b'{"q": "x", ', "malformed"),
    ("meilisearch", "POST", MEILI, b'{"q": "x", "q": "y"}', "malformed"),
    ("meilisearch", "POST", MEILI, [1], "malformed"),
    ("typesense", "GET", TYPESENSE + "?q=*&query_by=a", None, "match-all"),
    ("typesense", "GET", TYPESENSE + "?query_by=a", None, "no-query"),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&sort_by=price:asc", None, "sorted"),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&sort_by=_eval(a:1):desc,_text_match:desc", None, "sorted"),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&group_by=brand", None, "collapse"),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&per_page=100&page=3", None, "beyond-depth"),
    ("vespa", "POST", "/search/", {"yql": "select * from music where true"}, "no-query"),
    ("vespa", "POST", "/search/", {"query": "x", "yql": "select * from s where userQuery() order by y"}, "sorted"),
    ("vespa", "POST", "/search/", {"query": "x", "ranking": {"sorting": "-y"}}, "sorted"),
    ("vespa", "POST", "/search/", {"query": "x", "ranking.profile": "unranked"}, "sorted"),
    ("vespa", "POST", "/search/", {"query": "x", "yql": "select * from s where userQuery() limit 5"}, "format"),
    ("vespa", "GET", "/search/?query=x&format=cbor", None, "format"),
    ("vespa", "GET", "/search/?query=x&presentation.format=xml", None, "format"),
    ("vespa", "POST", "/search/", {"query": "x", "select": "all(group(a) each(output(count())))"}, "collapse"),
    ("vespa", "POST", "/search/", {"yql": "select * from s where a contains 'x' | all(group(b))"}, "collapse"),
    ("qdrant", "POST", QDRANT, {"query": [0.1, 0.2], "filter": {"must": {"match": {"text": "x"}}}}, "no-query"),
    ("qdrant", "POST", QDRANT + "?query_text=x", {"query": {"order_by": "price"}}, "sorted"),
    ("qdrant", "POST", QDRANT + "?query_text=x", {"query": {"sample": "random"}}, "sorted"),
    ("algolia", "POST", ALGOLIA, {"params": "hitsPerPage=20"}, "no-query"),
    ("algolia", "POST", ALGOLIA, {"query": ""}, "match-all"),
    ("algolia", "POST", ALGOLIA, {"query": "x", "hitsPerPage": 0}, "size-zero"),
    ("algolia", "POST", ALGOLIA, {"query": "x", "responseFields": ["nbHits", "facets"]}, "filter-path"),
    ("algolia", "POST", ALGOLIA, {"query": "x", "distinct": True}, "collapse"),
    ("algolia", "POST", ALGOLIA, {"query": "x", "page": 99}, "beyond-depth"),
    ("azure", "POST", AZURE, {"search": "*"}, "match-all"),
    ("azure", "POST", AZURE, {"filter": "a eq 1"}, "match-all"),
    ("azure", "POST", AZURE, {"search": "x", "orderby": "Rating desc"}, "sorted"),
    ("azure", "POST", AZURE, {"search": "x", "top": 0}, "size-zero"),
    ("azure", "POST", AZURE, {"search": "x", "top": 10, "skip": 995}, "beyond-depth"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "target", "body", "reason"), ALONE)
def test_left_alone(name: str, method: str, target: str, body: Any, reason: str) -> None:
    if (name, body) == ("algolia", {"params": "hitsPerPage=20"}):
        reason = "match-all"  # a search without a text gives everything
    assert preset(name).is_search(method, target)
    assert preset(name).read_search(request(method, target, body)) == reason


# -- what goes upstream

WIDENED: list[tuple[str, str, str, bytes, str | None, bytes | None]] = [
    ("meilisearch", "POST", MEILI, b'{ "q": "x", "n": 1.10 }', None, b'{"limit":50, "q": "x", "n": 1.10 }'),
    ("meilisearch", "POST", MEILI, b'{"q":"x","limit":5,"offset":10}', None, b'{"q":"x","limit":50,"offset":0}'),
    ("meilisearch", "POST", MEILI, b'{"q":"x","page":2,"hitsPerPage":30}', None, b'{"q":"x","page":1,"hitsPerPage":60}'),
    ("meilisearch", "POST", MEILI, b'{"q":"x","page":2}', None, b'{"hitsPerPage":50,"q":"x","page":1}'),
    ("meilisearch", "GET", MEILI + "?q=a+b%20c&limit=5", b"", MEILI + "?q=a+b%20c&limit=50", None),
    ("meilisearch", "POST", MEILI, b'{"q":"x","limit":50}', None, None),
    ("meilisearch", "POST", MEILI, b'{"q":"x","limit":70,"attributesToRetrieve":["*"]}', None, None),
    ("meilisearch", "POST", MEILI, b'{"q":"x","limit":50,"attributesToRetrieve":["id"]}', None, b'{"q":"x","limit":50}'),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a", b"", TYPESENSE + "?q=x&query_by=a&per_page=50", None),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a,b&page=2&per_page=5&include_fields=b,c", b"",
     TYPESENSE + "?q=x&query_by=a,b&page=1&per_page=50&highlight_fields=b", None),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&limit=50&exclude_fields=a", b"",
     TYPESENSE + "?q=x&query_by=a&limit=50&highlight_fields=none", None),
    ("typesense", "GET", TYPESENSE + "?q=x&query_by=a&limit=50&include_fields=b,$o(c)", b"", None, None),
    ("vespa", "GET", "/search/?query=x", b"", "/search/?query=x&hits=50", None),
    ("vespa", "POST", "/search/?hits=5", b'{"query":"x"}', "/search/?hits=50", None),
    ("vespa", "POST", "/search/", b'{"query":"x","offset":10,"presentation.summary":"short"}', None,
     b'{"hits":50,"query":"x","offset":0,"presentation.summary":"short"}'),
    ("qdrant", "POST", QDRANT, b'{"query":{"text":"x","model":"m"},"limit":3}', None,
     b'{"with_payload":true,"query":{"text":"x","model":"m"},"limit":50}'),
    ("qdrant", "POST", QDRANT, b'{"query":{"text":"x"},"limit":60,"with_payload":false}', None,
     b'{"query":{"text":"x"},"limit":60,"with_payload":true}'),
    ("qdrant", "POST", QDRANT, b'{"query":{"text":"x"},"limit":60,"with_payload":["n"]}', None,
     b'{"query":{"text":"x"},"limit":60,"with_payload":true}'),
    ("qdrant", "POST", QDRANT, b'{"query":{"text":"x"},"limit":60,"with_payload":{"exclude":["n"]}}', None,
     b'{"query":{"text":"x"},"limit":60,"with_payload":true}'),
    ("qdrant", "POST", QDRANT, b'{"query":{"text":"x"},"limit":60,"with_payload":true}', None, None),
    ("algolia", "POST", ALGOLIA, b'{"params":"query=a%20b&page=1&x=%2F"}', None,
     b'{"params":"query=a%20b&page=0&x=%2F&hitsPerPage=50"}'),
    ("algolia", "POST", ALGOLIA, b'{"query":"x","page":1,"hitsPerPage":40}', None, b'{"query":"x","page":0,"hitsPerPage":80}'),
    ("algolia", "POST", ALGOLIA, b'{"query":"x","attributesToRetrieve":["a"],"hitsPerPage":50}', None,
     b'{"query":"x","attributesToRetrieve":["*"],"hitsPerPage":50}'),
    ("algolia", "POST", ALGOLIA, b'{"params":"query=x&hitsPerPage=50&attributesToRetrieve=%5B%22a%22%5D"}', None,
     b'{"params":"query=x&hitsPerPage=50&attributesToRetrieve=*"}'),
    ("azure", "POST", AZURE, b'{"search":"x","select":"Id","top":60}', None, b'{"search":"x","top":60}'),
    ("azure", "GET", "/indexes/hotels/docs?search=x&$skip=10&$top=10", b"",
     "/indexes/hotels/docs?search=x&%24skip=0&%24top=50", None),
    ("azure", "POST", AZURE, b'{"search":"x"}', None, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "target", "body", "new_target", "new_body"), WIDENED)
def test_widened(
    name: str, method: str, target: str, body: bytes, new_target: str | None, new_body: bytes | None
) -> None:
    asked = request(method, target, body)
    widened = preset(name).widen(asked, read(preset(name), asked), DEPTH)
    assert (widened.request.target, widened.request.body) == (
        new_target or target,
        body if new_body is None else new_body,
    )
    assert (widened.request is asked) == (new_target is None and new_body is None)


NAMED = [
    ("meilisearch", MEILI, b'{"q":"x","limit":50,"attributesToRetrieve":["id"]}',
     b'{"q":"x","limit":50,"attributesToRetrieve":["id", "text"]}'),
    ("qdrant", QDRANT, b'{"query":{"text":"x"},"limit":60}', b'{"with_payload":["text"],"query":{"text":"x"},"limit":60}'),
    ("azure", AZURE, b'{"search":"x","select":"Id, Name"}', b'{"search":"x","select":"Id,Name,text"}'),
    ("azure", AZURE, b'{"search":"x","select":"text, id"}', b'{"search":"x","select":"text, id"}'),
    # the key is recorded, so that it is asked for: all is, where its name is not known
    ("azure", AZURE, b'{"search":"x","select":"text"}', b'{"search":"x"}'),
    ("meilisearch", MEILI, b'{"q":"x","limit":50,"attributesToRetrieve":["n"]}', b'{"q":"x","limit":50}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "body", "expected"), NAMED)
def test_named_fields_are_asked_for_and_no_more(name: str, target: str, body: bytes, expected: bytes) -> None:
    asked = request("POST", target, body)
    assert preset(name).widen(asked, read(preset(name), asked), DEPTH, "text").request.body == expected


# -- answers, and back

MEILI_ANSWER = (
    b'{"hits":[{"id":2770,"title":"American Pie 2","release_date":997405200,"_formatted":{"id":"2770","title":'
    b'"<em>American</em> Pie 2","release_date":"997405200"},"_rankingScore":0.9},{"id":190859,"title":'
    b'"American Sniper","release_date":1418256000,"_formatted":{"id":"190859","title":"<em>American</em> Sniper",'
    b'"release_date":"1418256000"},"_rankingScore":0.8}],"offset":0,"limit":50,"estimatedTotalHits":976,'
    b'"processingTimeMs":35,"query":"american "}'
)
TYPESENSE_ANSWER = (
    b'{"facet_counts":[],"found":2,"hits":[{"document":{"id":"1","title":"A","year":1999},"highlight":{},"highlights":[],'
    b'"text_match":578730123365187706},{"document":{"id":"2","title":"B","year":2001},"highlight":{},"highlights":[],'
    b'"text_match":578730089005449337}],"out_of":9,"page":1,"request_params":{"collection_name":"books","per_page":50,'
    b'"q":"x"},"search_cutoff":false,"search_time_ms":1}'
)
VESPA_ANSWER = (
    b'{"root":{"id":"toplevel","relevance":1.0,"fields":{"totalCount":2},"coverage":{"coverage":100,"documents":9},'
    b'"children":[{"id":"id:mynamespace:music::a","relevance":0.37,"source":"music","fields":{"sddocname":"music",'
    b'"documentid":"id:mynamespace:music::a","artist":"Coldplay","year":2015}},{"id":"index:music/0/c4ca42388ce70a10",'
    b'"relevance":0.25,"source":"music","fields":{"artist":"Diana Krall"}}]}}'
)
QDRANT_ANSWER = (
    b'{"usage":null,"result":{"points":[{"id":4,"version":9,"score":0.75,"payload":{"text":"four","n":[1.10]}},'
    b'{"id":"550e8400-e29b-41d4-a716-446655440000","version":9,"score":0.5,"payload":{"text":"five","n":[2]}}]},'
    b'"status":"ok","time":0.0003}'
)
ALGOLIA_ANSWER = (
    b'{"hits":[{"name":"Red shoe","sku":"r1","objectID":"433","_highlightResult":{"name":{"value":"<em>Red</em> shoe",'
    b'"matchLevel":"full"}}},{"name":"Red hat","sku":"r2","objectID":"434","_highlightResult":{}}],"nbHits":120,"page":0,'
    b'"nbPages":3,"hitsPerPage":50,"exhaustiveNbHits":true,"query":"red","params":"query=red","processingTimeMS":1}'
)
AZURE_ANSWER = (
    b'{"@odata.context":"https://x/indexes(\'hotels\')/$metadata#docs(*)","@odata.count":2,"value":[{"@search.score":1.50,'
    b'"@search.highlights":{"Description":["the <em>ocean</em>"]},"HotelId":"18","HotelName":"Ocean","Address":'
    b'{"City":"Oslo","Zip":"1"}},{"@search.score":0.7,"HotelId":"2","HotelName":"Sea","Address":{"City":"Rome","Zip":"2"}}]}'
)

HITS = [
    ("meilisearch", request("POST", MEILI, {"q": "x"}), MEILI_ANSWER,
     [("movies", "2770", 0.9, "American Pie 2"), ("movies", "190859", 0.8, "American Sniper")]),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=title"), TYPESENSE_ANSWER,
     [("books", "1", 578730123365187706.0, "A"), ("books", "2", 578730089005449337.0, "B")]),
    ("vespa", request("GET", "/search/?query=x"), VESPA_ANSWER,
     [("music", "id:mynamespace:music::a", 0.37, "Coldplay"), ("music", "index:music/0/c4ca42388ce70a10", 0.25, "Diana Krall")]),
    ("qdrant", request("POST", QDRANT, {"query": {"text": "x"}}), QDRANT_ANSWER,
     [("tips", "4", 0.75, "four"), ("tips", "550e8400-e29b-41d4-a716-446655440000", 0.5, "five")]),
    ("algolia", request("POST", ALGOLIA, {"query": "red"}), ALGOLIA_ANSWER,
     [("products", "433", None, "Red shoe\nr1"), ("products", "434", None, "Red hat\nr2")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "answer", "expected"), HITS)
def test_hits(name: str, asked: Request, answer: bytes, expected: list[Any]) -> None:
    hits = found(preset(name), answer, read(preset(name), asked)).hits
    assert [(hit.index, hit.doc_id, hit.score, hit.text) for hit in hits] == expected
    assert [hit.rank for hit in hits] == [1, 2]


def test_a_key_of_another_name_is_to_be_said() -> None:
    asked = request("POST", AZURE, {"search": "ocean"})
    search = read(azure(id="$.HotelId"), asked)
    hits = found(azure(id="$.HotelId"), AZURE_ANSWER, search).hits
    assert [(hit.doc_id, hit.score, hit.text) for hit in hits] == [
        ("18", 1.5, "Ocean\nOslo\n1"),
        ("2", 0.7, "Sea\nRome\n2"),
    ]
    assert found(azure(), AZURE_ANSWER, search).hits[0].doc_id is None


def swapped(answer: bytes, first: bytes, second: bytes) -> bytes:
    return answer.replace(first, b"\0").replace(second, first).replace(b"\0", second)


BACK: list[tuple[str, Request, bytes, bytes]] = [
    # nothing but the order and the window's echo
    ("meilisearch", request("POST", MEILI, {"q": "x", "limit": 2, "offset": 2}), MEILI_ANSWER,
     MEILI_ANSWER.replace(b'"offset":0,"limit":50', b'"offset":2,"limit":2')),
    ("meilisearch", request("POST", MEILI, {"q": "x", "hitsPerPage": 2, "page": 3}),
     b'{"hits":[{"id":1,"title":"a"},{"id":2,"title":"b"}],"hitsPerPage":50,"page":1,"totalPages":3,"totalHits":121}',
     b'{"hits":[{"id":1,"title":"a"},{"id":2,"title":"b"}],"hitsPerPage":2,"page":3,"totalPages":61,"totalHits":121}'),
    ("algolia", request("POST", ALGOLIA, {"params": "query=red&page=1&hitsPerPage=2"}), ALGOLIA_ANSWER,
     ALGOLIA_ANSWER.replace(b'"page":0,"nbPages":3,"hitsPerPage":50', b'"page":1,"nbPages":60,"hitsPerPage":2')),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=title&per_page=2&page=2"), TYPESENSE_ANSWER,
     TYPESENSE_ANSWER.replace(b'"page":1', b'"page":2').replace(b'"per_page":50', b'"per_page":2')),
    ("vespa", request("GET", "/search/?query=x"), VESPA_ANSWER, VESPA_ANSWER),
    ("azure", request("POST", AZURE, {"search": "x", "top": 5}), AZURE_ANSWER, AZURE_ANSWER),
    # fields that were asked for the model only
    ("meilisearch", request("POST", MEILI, {"q": "x", "limit": 50, "attributesToRetrieve": ["release_date"],
                                            "attributesToHighlight": ["title"], "attributesToCrop": ["id:3"]}),
     MEILI_ANSWER, MEILI_ANSWER.replace(b'"id":2770,"title":"American Pie 2",', b"")
     .replace(b'"id":190859,"title":"American Sniper",', b"")),
    ("meilisearch", request("POST", MEILI, {"q": "x", "limit": 50, "attributesToRetrieve": ["title"]}),
     b'{"hits":[{"id":1,"title":"a"},{"id":2,"title":"b"}]}', b'{"hits":[{"title":"a"},{"title":"b"}]}'),
    ("meilisearch", request("POST", MEILI, {"q": "x", "limit": 50, "attributesToRetrieve": []}),
     b'{"hits":[{"id":1,"title":"a"},{"id":2,"title":"b"}]}', b'{"hits":[{},{}]}'),
    ("typesense", request("GET", TYPESENSE + "?q=x&query_by=title&per_page=50&exclude_fields=title,id"), TYPESENSE_ANSWER,
     TYPESENSE_ANSWER.replace(b'"id":"1","title":"A",', b"").replace(b'"id":"2","title":"B",', b"")),
    ("qdrant", request("POST", QDRANT, {"query": {"text": "x"}}), QDRANT_ANSWER,
     QDRANT_ANSWER.replace(b',"payload":{"text":"four","n":[1.10]}', b"").replace(b',"payload":{"text":"five","n":[2]}', b"")),
    ("qdrant", request("POST", QDRANT, {"query": {"text": "x"}, "with_payload": ["n"]}), QDRANT_ANSWER,
     QDRANT_ANSWER.replace(b'"text":"four",', b"").replace(b'"text":"five",', b"")),
    ("qdrant", request("POST", QDRANT, {"query": {"text": "x"}, "with_payload": {"exclude": ["n"]}}), QDRANT_ANSWER,
     QDRANT_ANSWER.replace(b',"n":[1.10]', b"").replace(b',"n":[2]', b"")),
    ("algolia", request("POST", ALGOLIA, {"query": "red", "hitsPerPage": 50, "attributesToRetrieve": ["*", "-name"]}),
     ALGOLIA_ANSWER, ALGOLIA_ANSWER.replace(b'"name":"Red shoe",', b"").replace(b'"name":"Red hat",', b"")),
    ("algolia", request("POST", ALGOLIA, {"params": "query=red&hitsPerPage=50&attributesToRetrieve=" + quote('["sku"]')}),
     ALGOLIA_ANSWER, ALGOLIA_ANSWER.replace(b'"name":"Red shoe",', b"").replace(b'"name":"Red hat",', b"")),
    ("azure", request("POST", AZURE, {"search": "x", "select": "HotelName, Address/City"}), AZURE_ANSWER,
     AZURE_ANSWER.replace(b'"HotelId":"18",', b"").replace(b'"HotelId":"2",', b"").replace(b',"Zip":"1"', b"")
     .replace(b',"Zip":"2"', b"")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "answer", "expected"), BACK)
def test_back(name: str, asked: Request, answer: bytes, expected: bytes) -> None:
    dialect = preset(name)
    assert through(dialect, asked, answer, [0, 1]) == expected
    search = read(dialect, asked)
    first, second = (expected[start:end] for start, end in found(dialect, expected, search).spans)
    assert through(dialect, asked, answer, [1, 0]) == swapped(expected, first, second)
    alone = through(dialect, asked, answer, [1])
    assert alone == expected.replace(first + b"," + second, second)


def test_a_key_that_is_hidden_is_asked_for() -> None:
    asked = request("POST", AZURE, b'{"search":"x","select":"Name"}')
    own = azure(id="$.HotelId")
    for fields, select in (("Name", b"Name,HotelId"), ("Tags.Text", b"Name,Tags/Text,HotelId")):
        widened = own.widen(asked, read(own, asked), DEPTH, fields)
        assert widened.request.body == b'{"search":"x","select":"' + select + b'"}'
        answer = b'{"value":[{"Name":"a","Tags":{"Text":"t"},"HotelId":"h"}]}'
        hits = own.read_hits(answer, Search("x"), fields, undo=widened.undo)
        assert hits.hits[0].doc_id == "h"
        assert own.write_hits(hits, [0]) == b'{"value":[{"Name":"a"}]}'


def test_no_hits() -> None:
    empty = b'{"root":{"id":"toplevel","relevance":1.0,"fields":{"totalCount":0}}}'
    none = found(preset("vespa"), empty, Search("x"))
    assert (none.hits, preset("vespa").write_hits(none, [])) == ((), empty)
    with pytest.raises(Unreadable):
        found(preset("vespa"), b'{"root":{"errors":[]}}', Search("x"))
    with pytest.raises(Unreadable):
        found(preset("qdrant"), b'{"result":{"groups":[]}}', Search("x"))
    assert found(preset("qdrant"), b'{"result":[{"id":1,"score":1}]}', Search("x")).hits[0].doc_id == "1"


# -- several searches

SEVERAL: list[tuple[str, str, bytes, list[bytes], list[Any]]] = [
    ("meilisearch", "/multi-search", b'{"queries":[{"indexUid":"a","q":"x","limit":5}, {"indexUid":"b","q":""}]}',
     [b'{"indexUid":"a","q":"x","limit":50}'], [Search("x", 0, 5, (), "a"), "match-all"]),
    ("typesense", "/multi_search?query_by=t", b'{"searches":[{"collection":"a","q":"x","include_fields":"n"},{"q":"*"}]}',
     [b'{"highlight_fields":"none","per_page":50,"collection":"a","q":"x"}'], [Search("x", 0, 10, ("t",), "a"), "match-all"]),
    ("typesense", "/multi_search?per_page=5&page=2", b'{"searches":[{"collection":"a","q":"x"}]}', [], ["beyond-depth"]),
    ("qdrant", "/collections/tips/points/query/batch", b'{"searches":[{"query":{"text":"x"}},{"query":[0.1]}]}',
     [b'{"with_payload":true,"limit":50,"query":{"text":"x"}}'], [Search("x", 0, 10, (), "tips"), "no-query"]),
    ("algolia", "/1/indexes/*/queries", b'{"requests":[{"indexName":"a","params":"query=x"},'
     b'{"indexName":"b","query":"y","hitsPerPage":0},{"indexName":"c","type":"facet","facet":"f","query":"z"}]}',
     [b'{"indexName":"a","params":"query=x&hitsPerPage=50"}'],
     [Search("x", 0, 20, (), "a"), "size-zero", "aggregations-only"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "body", "widened", "expected"), SEVERAL)
def test_several(name: str, target: str, body: bytes, widened: list[bytes], expected: list[Any]) -> None:
    dialect = preset(name)
    whole = request("POST", target, body)
    assert dialect.is_search("POST", target)
    parts = dialect.parts(whole)
    assert isinstance(parts, tuple)
    read_ = [dialect.read_search(part.request) for part in parts]
    assert read_ == expected
    for part in parts:
        start, end = part.span
        assert body[start:end] == part.request.body
    done = [
        dialect.widen(part.request, search, DEPTH).request
        for part, search in zip(parts, read_, strict=True)
        if isinstance(search, Search)
    ]
    assert [one.body for one in done] == widened
    assert all(one.target == target for one in done)


@pytest.mark.parametrize(
    "body", [b'{"queries":[],"federation":{}}', b'{"federation":{"limit":3},"queries":[{"q":"x"}]}']
)
def test_several_that_are_merged_have_no_one_query(body: bytes) -> None:
    assert preset("meilisearch").parts(request("POST", "/multi-search", body)) == "no-query"


def test_answers_to_several() -> None:
    one = b'{"indexUid":"a","hits":[{"id":1}],"limit":50}'
    body = b'{"results":[' + one + b', {"indexUid":"b","hits":[]}]}'
    spans = preset("meilisearch").part_spans(body)
    assert [body[start:end] for start, end in spans] == [one, b'{"indexUid":"b","hits":[]}']
    assert preset("typesense").part_status(b'{"code":404,"error":"Not found."}') == 404
    assert preset("typesense").part_status(b'{"hits":[]}') is None
    batch = b'{"result":[[{"id":1,"score":0.5}],[]],"status":"ok"}'
    spans = preset("qdrant").part_spans(batch)
    parts = [found(preset("qdrant"), batch[start:end], Search("x")) for start, end in spans]
    assert [[hit.doc_id for hit in part.hits] for part in parts] == [["1"], []]
    for broken in (b"", b"{}", b'{"results":{}}', b'{"results":[1,}'):
        with pytest.raises(Unreadable):
            preset("meilisearch").part_spans(broken)


def test_a_malformed_request_of_several() -> None:
    for body in (b"", b"[]", b"{", b'{"queries":1}', b'{"queries":[]}'):
        assert isinstance(preset("meilisearch").parts(request("POST", "/multi-search", body)), str)
    parts = preset("meilisearch").parts(
        request("POST", "/multi-search", b'{"queries":[1,{"q":["x"]},{"q":"x","limit":-1}]}')
    )
    assert isinstance(parts, tuple)
    assert [preset("meilisearch").read_search(part.request) for part in parts[::2]] == ["malformed", "malformed"]


# -- by name


def test_all_that_cannot_be_mistaken_are_tried() -> None:
    assert {dialect.name for dialect in find(None)} >= {"elasticsearch", *PRESETS} - {"vespa"}
    assert "vespa" not in {dialect.name for dialect in find(None)}
    paths = ["/", "/_search", "/books/_search", "/indexes", "/indexes/a", "/collections/a", "/collections/a/points",
             "/indexes/a/documents", "/indexes/hotels/docs/$count", "/1/indexes/a/settings", "/solr/a/select"]  # fmt: skip
    for name in PRESETS:
        assert not [path for path in paths if preset(name).is_search("POST", path)]


def test_find_takes_several() -> None:
    own = meilisearch(id="$.isbn")
    assert find(["elasticsearch", own, own, "vespa"]) == (preset("elasticsearch"), own, preset("vespa"))
    assert preset("algolia") is preset("algolia")
    for wrong in ([], [5], "solr?", algolia, type(own)):
        with pytest.raises(ConfigError, match="'vespa'"):
            find(wrong)  # type: ignore[arg-type]
