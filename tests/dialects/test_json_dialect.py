"""The language: what it says, what it refuses, and the laws that hold for anything said in it."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import Hit, JSONDialect
from nbproxy.dialects import PRESETS, MultiSearch, Show, Unreadable, When, Window, find
from nbproxy.errors import ConfigError, RerankFault
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

MINE: dict[str, Any] = {
    "route": "POST /find/{index}",
    "query": "$.q",
    "size": "$.n",
    "offset": "$.skip",
    "hits": "$.results",
}
OWN = JSONDialect(**MINE, score="$.score", text=("$.title", "$.body"))


def ask(body: Any, target: str = "/find/books", method: str = "POST") -> Request:
    return Request(method, target, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def searched(dialect: JSONDialect, request: Request) -> Search:
    search = dialect.read_search(request)
    assert isinstance(search, Search), search
    return search


def test_a_dialect_in_a_cell() -> None:
    request = ask({"q": "red", "n": 2, "skip": 1})
    search = searched(OWN, request)
    assert search == Search("red", 1, 2, (), "books")
    assert OWN.widen(request, search, 20).request.body == b'{"q": "red", "n": 20, "skip": 0}'
    body = b'{"results": [{"id": 7, "title": "a", "body": "b", "score": 1.5}, {"id": "x", "body": ["c", 5]}]}'
    answer = OWN.read_hits(body, search)
    assert [(hit.doc_id, hit.score, hit.text) for hit in answer.hits] == [("7", 1.5, "a\nb"), ("x", None, "c\n5")]
    assert OWN.write_hits(answer, [1]) == b'{"results": [{"id": "x", "body": ["c", 5]}]}'
    assert (OWN.name, repr(OWN), OWN.parts(request)) == ("json", "<JSONDialect json>", None)
    with pytest.raises(Unreadable):
        OWN.part_spans(body)
    assert OWN.part_status(body) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"route": "find"}, "method and a path"),
    ({"route": "POST find"}, "method and a path"),
    ({"route": ""}, "method and a path"),
    ({"route": []}, "no route"),
    ({"route": 5}, "route="),
    ({"route": [5]}, "method and a path"),
    ({"route": "/a/{index"}, "braces"),
    ({"route": "/a/{index}/{index}"}, "braces"),
    ({"route": "/find?x=1"}, "method and a path"),
    ({"query": None}, "query= is missing"),
    ({"query": "q"}, "no place in a request"),
    ({"query": 5}, "query="),
    ({"query": "$.["}, "not a JSONPath"),
    ({"query": "$.a | $.b"}, "not a JSONPath"),
    ({"query": "$.a[*]?x"}, "plain path"),
    ({"size": "$.n[*]"}, "changed in requests"),
    ({"size": "$..n"}, "changed in requests"),
    ({"size": "N:"}, "changed in requests"),
    ({"size": None}, "needs size="),
    ({"page": "$.page"}, "not both"),
    ({"first_page": 2}, "first_page="),
    ({"default_size": 0}, "default_size="),
    ({"default_size": "10"}, "default_size="),
    ({"max_size": 0}, "max_size="),
    ({"windows": "$.n"}, "windows="),
    ({"hits": ""}, "hits= is missing"),
    ({"hits": "results"}, "not a JSONPath"),
    ({"hits": 5}, "hits="),
    ({"hits": [5]}, "hits="),
    ({"id": "id"}, "id: 'id' is not a JSONPath"),
    ({"source": "$[*]"}, "plain"),
    ({"text": {"a": 1}}, "text="),
    ({"beside": [5]}, "beside="),
    ({"match_all": 5}, "match_all="),
    ({"reduce": "lower"}, "reduce="),
    ({"separator": None}, "separator="),
    ({"alone": ["sorted"]}, "alone="),
    ({"alone": {"sort": "$.sort"}}, "none of the reasons: format"),
    ({"alone": {"sorted": "sort"}}, "no place in a request"),
    ({"show": "$.fields"}, "show="),
    ({"echo": {"limit": "$.n"}}, "echo= knows size"),
    ({"echo": {"size": "$..n"}}, "plain JSONPath"),
    ({"echo": {"pages": "$.pages"}}, "a pair"),
    ({"several": "/multi"}, "several="),
    ({"name": None}, "name="),
]


@pytest.mark.parametrize(("change", "match"), WRONG)
def test_what_is_wrong_is_said(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        JSONDialect(**{**MINE, **change})


def test_what_is_wrong_in_a_part_is_said() -> None:
    with pytest.raises(ConfigError, match="include= or exclude="):
        Show()
    with pytest.raises(ConfigError, match="changed in requests"):
        Show(include="$..f")
    with pytest.raises(ConfigError, match="needs at="):
        When(None)
    with pytest.raises(ConfigError, match="regular expression"):
        When("$.a", like="(")
    with pytest.raises(ConfigError, match="not both"):
        Window(size="$.n", offset="$.o", page="$.p")
    with pytest.raises(ConfigError, match="one place"):
        JSONDialect(**MINE, several=MultiSearch(route="/m", searches="$..a", answers="$.b"))


def test_an_api_without_a_window_gives_all_that_it_has() -> None:
    plain = JSONDialect(route="GET /find", query="?q", hits="$")
    request = Request("GET", "/find?q=red")
    search = searched(plain, request)
    assert plain.widen(request, search, 50).request is request
    body = b'[{"id": "%b"}]' % b'"}, {"id": "'.join(b"%d" % n for n in range(60))
    answer = plain.read_hits(body, search)
    assert search.size > len(answer.hits) == 60


def test_a_window_that_cannot_be_moved_is_left_alone() -> None:
    fixed = JSONDialect(route="GET POST /find", query="?q", size="$.n", offset="?skip", hits="$.hits")
    assert fixed.read_search(Request("GET", "/find?q=red&skip=10")) == "beyond-depth"
    assert searched(fixed, Request("GET", "/find?q=red")).size == 10
    far = JSONDialect(**MINE, max_size=30)
    assert far.read_search(ask({"q": "x", "skip": 25, "n": 6})) == "beyond-depth"
    request = ask({"q": "x", "skip": 20, "n": 6})
    assert far.widen(request, searched(far, request), 50).request.body == b'{"q": "x", "skip": 0, "n": 30}'


REASONS = [
    ({"q": "x", "sort": ["price"]}, "sorted"), ({"q": "x", "sort": []}, None), ({"q": "x", "sort": None}, None),
    ({"q": "x", "sort": 0}, "sorted"), ({"q": "x", "sort": False}, None), ({"q": "x", "sort": {"a": 1}}, "sorted"),
    ({"q": "x", "group": True}, "collapse"), ({"q": "x", "mode": "fast"}, None),
    ({"q": "x", "mode": "deep"}, "profile"), ({"q": "x", "group": 1, "sort": 1}, "sorted"),
    ({"q": "*"}, "match-all"), ({"q": " "}, "no-query"), ({}, "no-query"),
    ({"q": 5}, "no-query"), ({"q": "x", "n": 0}, "size-zero"), ({"q": "x", "n": 0, "group": 1}, "collapse"),
    ({"q": "x", "n": 1.5}, "malformed"), ({"q": "x", "n": True}, "malformed"), ({"q": "x", "n": "7"}, None),
    ({"q": ["red", "red", "hat"]}, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), REASONS)
def test_reasons(body: Any, reason: str | None) -> None:
    alone = {"sorted": "$.sort", "collapse": ["$.group", "?group"], "profile": When("$.mode", like="deep|slow")}
    found = JSONDialect(**MINE, alone=alone).read_search(ask(body))
    assert found == reason if reason else isinstance(found, Search)


def test_several_texts_are_one_query() -> None:
    tree = JSONDialect(**{**MINE, "query": ["$..match.text", "$.q"]})
    body = {"all": [{"match": {"text": "red"}}, {"any": [{"match": {"text": ["hat", "red"]}}]}], "q": "x"}
    assert searched(tree, ask(body)).query == "red hat"
    assert searched(tree, ask({"q": "x\ud800"})).query == "x\ufffd"
    deep: dict[str, Any] = {"q": "x"}
    for _ in range(400):
        deep = {"a": deep, "q": "x"}
    assert searched(tree, ask(deep)).query == "x"


def test_a_query_is_reduced_to_its_words() -> None:
    def reduce(text: str) -> Any:
        return {"+a": "a", "-": "", "5": 5}[text]

    own = JSONDialect(**MINE, reduce=reduce)
    assert searched(own, ask({"q": "+a"})).query == "a"
    assert own.read_search(ask({"q": "-"})) == "no-query"
    assert own.read_search(ask({"q": "*"})) == "match-all"
    assert [searched(own, ask({"q": text})).query for text in ("other", "5")] == ["other", "5"]


def test_places() -> None:
    own = JSONDialect(
        route="GET POST /find", query=("X-Query:", "POST $.q", "GET ?q"), size=("$.params?n", "?n"), hits="$.hits"
    )
    assert searched(own, Request("GET", "/find?q=a+b")).query == "a b"
    assert own.read_search(Request("POST", "/find?q=a", body=b"{}")) == "no-query"
    request = Request("GET", "/find?q=a&n=5&x=%2f", Headers([(b"x-query", b"c")]))
    search = searched(own, request)
    assert (search.query, search.size) == ("c", 5)
    assert own.widen(request, search, 20).request.target == "/find?q=a&n=20&x=%2f"
    inner = Request("POST", "/find", body=b'{"q":"\\u00e9","params":"a=%20&n=3"}')
    assert own.widen(inner, searched(own, inner), 20).request.body == b'{"q":"\\u00e9","params":"a=%20&n=20"}'
    bare = Request("POST", "/find", body=b'{"q":"x"}')
    assert own.widen(bare, searched(own, bare), 20).request.target == "/find?n=20"


def test_members_are_added_where_they_belong() -> None:
    own = JSONDialect(**{**MINE, "size": "$.page.size", "offset": "$['page']['from']"})
    for before, after in (
        (b'{"q":"x"}', b'{"page":{"size":50},"q":"x"}'),
        (b'{"q":"x","page":{}}', b'{"q":"x","page":{"size":50}}'),
        (b'{"q":"x","page": {"from" : 5 , "a":1}}', b'{"q":"x","page": {"size":50,"from" : 0 , "a":1}}'),
        (b'{"q":"x","page":null}', b'{"q":"x","page":{"size":50}}'),
    ):
        assert own.widen(ask(before), searched(own, ask(before)), 50).request.body == after


def test_a_hit_found_by_a_filter() -> None:
    own = JSONDialect(**{**MINE, "hits": "$.groups[?@.type == 'docs'].items"}, id=("$.key", "$.ids[0]"), index="$.in")
    body = (
        b'{"groups":[{"type":"ads","items":[{"key":0}]},'
        b'{"type":"docs","items":[{"key":1.50,"in":"a"},{"ids":["z"]},{"key":true}]}]}'
    )
    answer = own.read_hits(body, Search("x", index="b"))
    assert [(hit.doc_id, hit.index) for hit in answer.hits] == [("1.50", "a"), ("z", "b"), (None, "b")]
    assert b'"items":[{"key":0}]},' in own.write_hits(answer, [2, 0])
    with pytest.raises(Unreadable, match="2 arrays"):
        own.read_hits(body.replace(b"ads", b"docs"), Search("x"))
    with pytest.raises(Unreadable, match="no array"):
        own.read_hits(b'{"groups":[]}', Search("x"))


IDS = [
    (b"7", "7"), (b"0", "0"), (b"-3", "-3"), (b"1e3", "1e3"), (b"1.10", "1.10"),
    (b"12345678901234567890", "12345678901234567890"),
    (b'"a\\u00e9"', "aé"), (b"null", None), (b"[1]", None), (b'""', ""), (b"9" * 5000, "9" * 5000),
]  # fmt: skip


@pytest.mark.parametrize(("written", "doc_id"), IDS)
def test_ids(written: bytes, doc_id: str | None) -> None:
    hit = OWN.read_hits(b'{"results":[{"id":' + written + b"}]}", Search("x")).hits[0]
    assert hit.doc_id == doc_id


UNREADABLE = [
    b"", b"{}", b"null", b"[]", b'{"results":null}', b'{"results":{}}', b'{"results":[1]}', b'{"results":[null]}',
    b'{"results":[{}]', b'{"results":[{}],}', b'{"results":[{}]}x', b'{"results":[{"a":NaN}]}', b'{"results":["\xff"]}',
    b'{"results":[],"results":[{}]}', b'{"results":[{"a":"\xed\xa0\x80"}]}', b'\xef\xbb\xbf{"results":[]}',
]  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE)
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        OWN.read_hits(body, Search("x"))


def test_odd_hits_do_not_disturb_the_others() -> None:
    odd = [
        (b'{"id":"2","title":"\\ud800 x"}', "\ufffd x"), (b'{"id":"2","title":"x","n":' + b"9" * 5000 + b"}", "x"),
        (b'{"id":"2","title":"x","d":' + b"[" * 3000 + b"]" * 3000 + b"}", "x"), (b'{"id":"2","title":" "}', None),
    ]  # fmt: skip
    one = b'{"id":"1","title":"t"}'
    for hit, text in odd:
        body = b'{"results":[' + one + b"," + hit + b"," + one + b"]}"
        answer = OWN.read_hits(body, Search("x"))
        assert [found.text for found in answer.hits] == ["t", text, "t"]
        assert OWN.write_hits(answer, [1, 0]) == b'{"results":[' + hit + b"," + one + b"]}"


def test_what_a_model_reads() -> None:
    own = JSONDialect(**MINE, source="$.doc", beside=("_*",), searched="$.in")
    body = b'{"results":[{"doc":{"id":"d1","_x":"no","title":"T","n":5,"sub":{"text":"S"}},"id":"d1"}]}'

    def text(fields: Any = None, *searched: str) -> str | None:
        return own.read_hits(body, Search("x", fields=searched), fields).hits[0].text

    assert text() == "d1\nT\nS"  # the id is the hit's here, not the document's
    assert text(None, "sub") == "S"
    assert text(None, "nothing") == "d1\nT\nS"
    assert text("{n}: {title}") == "5: T"
    assert text(["sub.text", "title"]) == "S\nT"
    assert text(lambda hit: hit.source["title"] + str(hit.rank)) == "T1"
    with pytest.raises(RerankFault, match="failed on"):
        text(lambda hit: hit.source["nope"])
    inside = JSONDialect(**MINE, source="$.doc", id="$.doc.id", beside=("_*",))
    hit = inside.read_hits(body, Search("x")).hits[0]
    assert (hit.text, hit.source) == ("T\nS", {"id": "d1", "title": "T", "n": 5, "sub": {"text": "S"}})
    assert searched(own, ask({"q": "x", "in": "title^2, sub.text"})).fields == ("title", "sub.text")


def test_a_class_says_what_the_language_cannot() -> None:
    class Mine(JSONDialect):
        def query_of(self, asked: Any) -> str:
            return str(super().query_of(asked).removeprefix("find "))

    assert searched(Mine(**MINE), ask({"q": "find red"})).query == "red"


# -- laws

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
KEYS = st.sampled_from(["id", "title", "payload", "document", "fields", "hits", "objectID", "text", "é"]) | st.text(
    max_size=3
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
NAMES = ["title", "*", "-title", "text", "a.b", "$x(y)", ""]
WINDOW = ["limit", "offset", "page", "hitsPerPage", "hits", "top", "skip", "length", "per_page"]
SHOWN = ["attributesToRetrieve", "with_payload", "select", "include_fields", "exclude_fields"]
REST = ["params", "yql", "prefetch", "filter", "vectorQueries", "distinct", "sort", "queries", "searches"]
TEXT = st.sampled_from(["red hat", "x"])
SELECTED = (
    st.lists(st.sampled_from(NAMES), max_size=3) | st.sampled_from(NAMES) | st.booleans()
    | st.fixed_dictionaries({"exclude": st.lists(st.sampled_from(NAMES[:1]), max_size=2)})
)  # fmt: skip
SAID = st.fixed_dictionaries(
    {"q": TEXT, "query": TEXT | st.fixed_dictionaries({"text": TEXT}), "search": TEXT},
    optional={
        **{name: st.integers(0, 300) for name in WINDOW},
        **dict.fromkeys(SHOWN, SELECTED),
        **dict.fromkeys(REST, TEXT),
    },
) | st.dictionaries(st.sampled_from(["q", "query", "search", *WINDOW, *SHOWN, *REST]), VALUES, max_size=5)
ROUTES = {
    "meilisearch": ("/indexes/a/search", "/multi-search"),
    "typesense": ("/collections/a/documents/search", "/multi_search"),
    "vespa": ("/search/",), "qdrant": ("/collections/a/points/query", "/collections/a/points/search"),
    "algolia": ("/1/indexes/a/query", "/1/indexes/a"), "azure": ("/indexes/a/docs/search", "/indexes/a/docs"),
}  # fmt: skip
TARGETS = st.sampled_from([(name, path) for name, routes in ROUTES.items() for path in routes])
METHODS = st.sampled_from(["GET", "POST"])


@given(TARGETS, METHODS, SAID, SAID, st.sampled_from([None, "title", ["text", "id"], "{title}."]))
def test_no_request_is_changed_but_in_its_window_and_what_it_shows(
    at: tuple[str, str], method: str, body: dict[str, Any], url: dict[str, Any], fields: Any
) -> None:
    path, dialect = at[1], find(at[0])[0]
    raw = b"" if method == "GET" else json.dumps(body).encode()
    request = Request(method, f"{path}?{urlencode({key: str(value) for key, value in url.items()})}", body=raw)
    search = dialect.read_search(request)
    if not isinstance(search, Search):
        assert search
        return
    assert search.query.strip()
    assert dialect.read_window(request) == (search.offset, search.size)
    widened = dialect.widen(request, search, 50, fields).request
    after = dialect.read_search(widened)
    assert isinstance(after, Search), (after, widened)
    assert (after.query, after.fields, after.index) == (search.query, search.fields, search.index)
    assert (after.offset, after.size) == (0, max(50, search.offset + search.size))
    again = dialect.widen(widened, after, 50, fields).request
    assert again is widened
    changed = {*WINDOW, *SHOWN, "params", "highlight_fields"}
    before, then = (json.loads(one.body) if one.body else {} for one in (request, widened))
    assert [(k, v) for k, v in before.items() if k not in changed] == [
        (k, v) for k, v in then.items() if k not in changed
    ]
    dialect.parts(request)


@given(TARGETS, METHODS, st.binary(max_size=40), st.text(max_size=20))
def test_nothing_raises_on_bytes_from_outside(at: tuple[str, str], method: str, junk: bytes, query: str) -> None:
    dialect = find(at[0])[0]
    for body in (junk, b"{" + junk + b"}", b'{"q":' + junk + b"}"):
        request = Request(method, f"{at[1]}?q={query}", body=body)
        assert dialect.read_search(request)
        dialect.read_window(request)
        dialect.parts(request)
        dialect.is_search(method, query)
        dialect.index_of(query)
        for answer in (body, b'{"hits":[' + junk + b"]}", b'{"result":[' + junk + b"]}"):
            with contextlib.suppress(Unreadable):
                dialect.read_hits(answer, Search("x"))
            with contextlib.suppress(Unreadable):
                dialect.part_spans(answer)
            dialect.part_status(answer)


PATHS = {"meilisearch": "hits", "typesense": "hits", "algolia": "hits", "azure": "value", "qdrant": "result"}


@given(
    st.sampled_from(sorted(PATHS)), st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=6),
    st.dictionaries(st.text(max_size=4), VALUES, max_size=3), st.data(),
)  # fmt: skip
def test_any_order_and_cut_is_spliced_exactly(
    name: str, hits: list[dict[str, Any]], rest: dict[str, Any], data: st.DataObject
) -> None:
    dialect, key = find(name)[0], PATHS[name]
    rest.pop(key, None)
    indent, pairs = data.draw(st.sampled_from([(None, (",", ":")), (None, (", ", " : ")), (2, (",", " : "))]))
    order = data.draw(st.permutations(range(len(hits))))[: data.draw(st.integers(0, 6))]

    def write(chosen: list[Any]) -> bytes:
        text = json.dumps({**rest, key: chosen}, indent=indent, separators=pairs, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")

    body = write(hits)
    answer = dialect.read_hits(body, Search("x"))
    assert [json.loads(body[start:end]) for start, end in answer.spans] == hits
    assert dialect.write_hits(answer, range(len(hits))) is answer.body
    assert isinstance(answer.hits[0] if answer.hits else Hit(None, None, 1), Hit)
    written = dialect.write_hits(answer, order)
    assert json.loads(written) == json.loads(write([hits[i] for i in order]))
    if order:
        assert written == write([hits[i] for i in order])


@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "title", "text", "n"]), VALUES, max_size=4), max_size=4),
    st.lists(st.sampled_from(["id", "title", "text", "n", "other"]), min_size=1, max_size=3, unique=True),
    st.data(),
)
def test_what_was_asked_for_the_model_is_taken_out_again(
    documents: list[dict[str, Any]], chosen: list[str], data: st.DataObject
) -> None:
    """As an engine that picks the top members would have shown the hits."""
    dialect = find("meilisearch")[0]
    request = Request("POST", "/indexes/a/search", body=json.dumps({"q": "x", "attributesToRetrieve": chosen}).encode())
    search = dialect.read_search(request)
    assert isinstance(search, Search)
    widened = dialect.widen(request, search, 50)

    def write(docs: list[dict[str, Any]], limit: int) -> bytes:
        return json.dumps({"hits": docs, "offset": 0, "limit": limit}, separators=(",", ":")).encode()

    answer = dialect.read_hits(write(documents, 50), search, undo=widened.undo)
    order = data.draw(st.permutations(range(len(documents))))
    seen = [{key: one for key, one in documents[i].items() if key in chosen} for i in order]
    assert dialect.write_hits(answer, order) == write(seen, 20)


def test_the_presets_have_the_names_of_their_functions() -> None:
    assert all(make().name == name for name, make in PRESETS.items())
