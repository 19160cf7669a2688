"""Search templates: rendered where they come along, read from their parameters by name where they are stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import Elasticsearch, Unreadable
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

ES = Elasticsearch()
SOURCE = {"query": {"match": {"title": "{{query_string}}"}}, "from": "{{from}}", "size": "{{size}}"}
PARAMS = {"query_string": "red shoes", "from": 4, "size": 6}
TEXT = '{"query":{{#toJson}}clause{{/toJson}},"from":{{from}},"size":{{size}}}'
CLAUSE = {"clause": {"match": {"title": "red shoes"}}, "from": 4, "size": 6}


def request(body: Any, target: str = "/books/_search/template") -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", target, Headers([(b"Content-Type", b"application/json")]), raw)


READ: dict[str, tuple[Any, Any]] = {
    "an object": ({"source": SOURCE, "params": PARAMS}, ("red shoes", 4, 6, ("title",))),
    "a text": ({"source": json.dumps(SOURCE), "params": PARAMS}, ("red shoes", 4, 6, ("title",))),
    "a text that is no JSON": ({"source": TEXT, "params": CLAUSE}, ("red shoes", 4, 6, ("title",))),
    "a default": (
        {"source": '{"query":{"match":{"t":"{{q}}"}},"size":"{{n}}{{^n}}7{{/n}}"}', "params": {"q": "a"}},
        ("a", 0, 7, ("t",)),
    ),
    "its own size": ({"source": {**SOURCE, "from": 0, "size": 5}, "params": PARAMS}, ("red shoes", 0, 5, ("title",))),
    "stored": ({"id": "t", "params": PARAMS}, ("red shoes", 4, 6, ())),
    "stored, other names": ({"id": "t", "params": {"q": "a", "start": 2, "rows": "3"}}, ("a", 2, 3, ())),
    "stored, one text": ({"id": "t", "params": {"what": "a", "size": 3}}, ("a", 0, 3, ())),
    "stored, without a window": ({"id": "t", "params": {"query_string": "a"}}, ("a", 0, 10, ())),
    "partly known": ({"source": "{{#list}}x{{/list}}", "params": {"list": [1], "q": "a", "size": 3}}, ("a", 0, 3, ())),
    "sorted": ({"source": {**SOURCE, "sort": ["year"]}, "params": PARAMS}, "sorted"),
    "no page": ({"source": {**SOURCE, "size": 0}, "params": PARAMS}, "size-zero"),
    "all": ({"source": {"query": {"match_all": {}}}, "params": {}}, "match-all"),
    "explained": ({"source": SOURCE, "params": PARAMS, "explain": True}, "explain"),
    "profiled": ({"id": "t", "params": PARAMS, "profile": True}, "profile"),
    "two texts": ({"id": "t", "params": {"a": "x", "b": "y"}}, "no-query"),
    "a page's number": ({"id": "t", "params": {"q": "x", "page": 3}}, "no-query"),
    "an offset that cannot be set back": ({"id": "t", "params": {"q": "x", "from": 3}}, "no-query"),
    "an offset in a text": ({"source": TEXT.replace("{{from}}", "20"), "params": CLAUSE}, "no-query"),
    "no parameters": ({"id": "t"}, "no-query"),
    "not JSON": (b'{"source":{"query":', "malformed"),
    "made badly": ({"source": '{"query": {{q}} }', "params": {"q": "}"}}, "malformed"),
    "nothing": (b"", "malformed"),
}


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    body, expected = READ[name]
    found = ES.read_search(request(body))
    got = found if isinstance(found, str) else (found.query, found.offset, found.size, found.fields)
    assert got == expected
    if isinstance(found, Search):
        assert found.index == "books"


@pytest.mark.parametrize(("params", "reason"), [("format=yaml", "format"), ("scroll=1m", "scroll"), ("size=0", None)])
def test_url(params: str, reason: str | None) -> None:
    """Of a template's URL upstream reads little."""
    found = ES.read_search(request({"source": SOURCE, "params": PARAMS}, f"/_search/template?{params}"))
    assert found == reason or (reason is None and isinstance(found, Search))


def widened(body: Any, depth: int = 50, **more: Any) -> tuple[Any, Any]:
    asked = request(body)
    search = ES.read_search(asked)
    assert isinstance(search, Search)
    found = ES.widen(asked, search, depth, **more)
    assert found.request.target == asked.target
    return json.loads(found.request.body), found


def test_the_window_is_set_in_a_template_that_came_along() -> None:
    body, found = widened({"source": SOURCE, "params": PARAMS})
    assert body == {"source": {**SOURCE, "from": 0, "size": 50}, "params": PARAMS}
    assert found.undo is None
    body, _ = widened({"source": json.dumps(SOURCE), "params": PARAMS})
    assert json.loads(body["source"]) == {**SOURCE, "from": 0, "size": 50}


def test_the_window_is_set_in_the_parameters_that_make_it() -> None:
    body, _ = widened({"source": TEXT, "params": CLAUSE})
    assert body == {"source": TEXT, "params": {**CLAUSE, "from": 0, "size": 50}}
    body, _ = widened({"id": "t", "params": PARAMS})
    assert body == {"id": "t", "params": {**PARAMS, "from": 0, "size": 50}}


def test_parameters_that_make_more_than_the_window_are_not_touched() -> None:
    source = TEXT.replace("}}}", '}},"min_score":{{size}}}')
    asked = {"source": source.replace("{{from}}", "0"), "params": CLAUSE}
    body, found = widened(asked)
    assert body == asked
    assert found.undo is None


def test_the_source_is_shown_to_the_model_and_hidden_again() -> None:
    body, found = widened({"source": {**SOURCE, "_source": ["year"]}, "params": PARAMS})
    assert "_source" not in body["source"] or body["source"]["_source"] is True
    assert found.undo.strip(b'{"_id":"1","_source":{"title":"a","year":1}}') == b'{"_id":"1","_source":{"year":1}}'
    body, found = widened({"source": {**SOURCE, "_source": ["{{f}}"]}, "params": PARAMS})
    assert body["source"]["_source"] == ["{{f}}"]  # what it is made of is not known
    assert found.undo is None


def answer(n: int, total: Any = None, **hit: Any) -> bytes:
    hits = [{"_index": "b", "_id": str(i), "_score": 1.0, "_source": {"title": f"t{i}"}, **hit} for i in range(n)]
    return json.dumps({"hits": {"total": total, "hits": hits}}).encode()


TOTAL = {"value": 20, "relation": "eq"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (answer(50), None),
        (answer(20, TOTAL), None),
        (answer(20, 20), None),
        (answer(50, sort=[1, 2]), "sorted"),
    ],
)
def test_a_stored_template_that_took_its_window(body: bytes, reason: str | None) -> None:
    _, found = widened({"id": "t", "params": PARAMS})
    read = ES.read_hits(body, Search("red shoes", 4, 6), undo=found.undo)
    assert read.reason == reason
    assert ES.write_hits(read, range(len(read.hits))) == body


AT_LEAST = {"value": 20, "relation": "gte"}


@pytest.mark.parametrize("body", [answer(6), answer(6, TOTAL), answer(20, AT_LEAST), b"{", b"{}"])
def test_a_stored_template_that_did_not(body: bytes) -> None:
    _, found = widened({"id": "t", "params": PARAMS})
    with pytest.raises(Unreadable):
        ES.read_hits(body, Search("red shoes", 4, 6), undo=found.undo)


def test_a_stored_template_with_a_window_of_its_own_is_asked_as_it_is() -> None:
    asked = request({"id": "t", "params": {"query_string": "a"}})
    search = ES.read_search(asked)
    assert isinstance(search, Search)
    found = ES.widen(asked, search, 50)
    assert found.request is asked
    assert ES.read_hits(answer(12), search, undo=found.undo).reason is None
    assert ES.read_hits(answer(3, sort=["a"]), search, undo=found.undo).reason == "sorted"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("{{size}}"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["query", "from", "size", "sort", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"source": values, "id": values, "params": values}), st.integers(1, 90))
def test_never_raises_and_changes_nothing_else(body: dict[str, Any], depth: int) -> None:
    asked = request(body)
    search = ES.read_search(asked)
    ES.read_window(asked)
    if isinstance(search, Search):
        after = json.loads(ES.widen(asked, search, depth).request.body)
        assert set(after) == set(body)
        assert after.get("id") == body.get("id")
