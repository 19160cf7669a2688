"""``fl``: what a client sees of a document, what is asked for besides, and how that goes again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import solr_fields

LISTS: list[tuple[tuple[str, ...], str, str]] = [
    # fl, names that are shown, names that are not
    ((), "id title score [shard] sum(a,b)", ""),
    (("",), "id title", ""),
    (("*",), "id title", ""),
    (("*,score",), "id score", ""),
    (("id name, price",), "id name price", "title nam"),
    (("id", "name,price"), "id name price", "title"),
    (("id na* p?ice",), "id na name_exact price", "title prce"),
    (("id,t:title",), "id t", "title"),
    (("t : title,title",), "t title", "id"),
    (("*,t:title",), "t id", "title"),
    (("ti*", "t:title"), "t tip", "title"),
    (("id,sum(price,title),x:div(a, b),z",), "id sum(price,title) x z", "price title a b"),
    (("id,[explain style=nl],[shard],why:[docid]",), "id [explain] [shard] why", "[docid2] [child] style"),
    (("x:{!func v='a b,c'},id",), "x id", "a b c"),
    (("id,sub:[subquery fl=\"a,b\"]",), "id sub", "a b"),
    (("a.b-c, _root_",), "a.b-c _root_", "a"),
    (("id,)x,y",), "id y", "x"),
    ((" ",), "", "id"),
    (("", "id"), "id", "title"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "shown", "hidden"), LISTS)
def test_what_is_shown(values: tuple[str, ...], shown: str, hidden: str) -> None:
    found = solr_fields.parse(values)
    assert [name for name in shown.split() if not found.shows(name)] == []
    assert [name for name in hidden.split() if found.shows(name)] == []


MISSING: list[tuple[str, tuple[str, ...] | None, tuple[str, ...], bool, list[str]]] = [
    # fl, the setting's names, the query's fields, a callable; what is asked for
    ("", None, ("title",), False, []),
    ("*", None, (), True, []),
    ("id,title", None, ("title",), False, []),
    ("title", None, ("title",), False, ["id"]),
    ("id", None, ("title", "body"), False, ["*", "title", "body"]),
    ("id,title", None, ("title", "body"), False, ["*", "body"]),
    ("score", None, (), False, ["id", "*"]),
    ("id", ("title", "meta_*", "title"), ("x",), False, ["title", "meta_*"]),
    ("id,meta_*", ("meta_*",), (), False, []),
    ("title", ("id",), (), False, ["id"]),
    ("id", None, ("title",), True, ["*", "title"]),
    ("id,t:title", None, ("title",), False, ["*", "title"]),
    ("id,title:other", None, ("title",), False, []),
    ("*,t:title", None, ("title",), False, ["title"]),
    ("*,x:id", None, ("title",), False, ["id"]),
    ("id,[child]", None, ("title",), False, []),
    ("x:[subquery]", ("title",), (), False, []),
]


@pytest.mark.parametrize(("fl", "named", "searched", "everything", "expected"), MISSING)
def test_what_is_asked_for(
    fl: str, named: tuple[str, ...] | None, searched: tuple[str, ...], everything: bool, expected: list[str]
) -> None:
    assert solr_fields.missing(solr_fields.parse((fl,)), "id", named, searched, everything) == expected


STRIPPED = [
    (b'{"id":"1","title":["a"],"t":"b"}', b'{"t":"b"}'),
    (b'{\n  "id":"1",\n  "t":[1.10,\n    2],\n  "x":{"t":1}}', b'{\n  "t":[1.10,\n    2]}'),
    (b'{"t":1,"t":2,"x":3}', b'{"t":1,"t":2}'),
    (b'{"[shard]":"s","sum(a,b)":3.0,"a":1}', b'{"[shard]":"s","sum(a,b)":3.0}'),
    (b'{"t":1}', b'{"t":1}'),
    (b'{"id":1}', b"{}"),
    (b'{ "id":1 }', b"{}"),
    (b"{}", b"{}"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), STRIPPED)
def test_what_was_added_goes_again(document: bytes, expected: bytes) -> None:
    shown = solr_fields.parse(("t,sum(a,b),[shard]",))
    assert solr_fields.strip(document, shown) == expected


@given(st.text(alphabet="ab*?,: []()'\"{}!$.-", max_size=30))
def test_any_list_is_read(text: str) -> None:
    found = solr_fields.parse((text,))
    for name in ("a", "b", "[a]", "a(b)", ""):
        found.shows(name)


@given(st.dictionaries(st.text(alphabet="ab_é[]( ", min_size=1, max_size=3), st.integers() | st.text(), max_size=5))
def test_what_is_kept_is_as_it_was(document: dict[str, Any]) -> None:
    shown = solr_fields.parse(("a*,b",))
    kept = json.loads(solr_fields.strip(json.dumps(document).encode(), shown))
    assert kept == {name: value for name, value in document.items() if shown.shows(name)}
