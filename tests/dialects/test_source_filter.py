"""Elasticsearch's source filtering, on bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects.source_filter import Patterns, SourceFilter, Undo, compact

SOURCE = (
    b'{ "title": "caf\\u00e9 \\/ x", "n":1.10, "meta" : {"title":"m","year":1e400,"in":{"a":1}},'
    b' "chapters":[{"head":"h","page":1},{"page":2}], "nums":[1.0, 2.50], "none":null, "empty":{}, "dup":1,"dup":2}'
)


def strip(includes: tuple[str, ...] = (), excludes: tuple[str, ...] = (), pretty: bool = False) -> bytes:
    hit = b'{"_id":"1","_source":' + SOURCE + b',"sort":[1.10]}'
    out = Undo(SourceFilter(True, includes, excludes), pretty).strip(hit)
    assert out.startswith(b'{"_id":"1","_source":')
    assert out.endswith(b',"sort":[1.10]}')
    return out.removeprefix(b'{"_id":"1","_source":').removesuffix(b',"sort":[1.10]}')


CASES: list[tuple[tuple[str, ...], tuple[str, ...], bytes]] = [
    (("n",), (), b'{"n":1.10}'),
    (("n*",), (), b'{"n":1.10,"nums":[1.0,2.50],"none":null}'),
    (("title",), (), '{"title":"café / x"}'.encode()),
    (("meta.year",), (), b'{"meta":{"year":1e400}}'),
    (("meta",), ("meta.in",), b'{"meta":{"title":"m","year":1e400}}'),
    (("meta.*", "n"), ("meta.title", "meta.in"), b'{"n":1.10,"meta":{"year":1e400}}'),
    (("chapters.head",), (), b'{"chapters":[{"head":"h"}]}'),
    (("chapters",), ("chapters.page",), b'{"chapters":[{"head":"h"}]}'),
    (("meta",), ("meta.*",), b'{"meta":{}}'),
    (("*.title",), (), b'{"meta":{"title":"m"}}'),
    (("empty",), (), b'{"empty":{}}'),
    (("dup",), (), b'{"dup":1,"dup":2}'),
    (("nothing.here",), (), b"{}"),
    ((), ("title", "meta", "ch*", "nu*", "dup", "e*"), b'{"n":1.10,"none":null}'),
]


@pytest.mark.parametrize(("includes", "excludes", "expected"), CASES)
def test_filtering(includes: tuple[str, ...], excludes: tuple[str, ...], expected: bytes) -> None:
    assert strip(includes, excludes) == expected


HITS = [
    (b'{"_id":"1","_source":{"a":1}}', b'{"_id":"1"}'),
    (b'{"_source":{"a":1},"_id":"1"}', b'{"_id":"1"}'),
    (b'{"_id":"1","_source":{"a":1},"x":[1.0]}', b'{"_id":"1","x":[1.0]}'),
    (b'{"_id":"1"}', b'{"_id":"1"}'),
    (b'{"_source":{"a":1}}', b"{}"),
    (b'{"_source":{"a":1},"_id":"\\ud800","_source":{}}', b'{"_id":"\\ud800"}'),
    (b'{\n  "_id" : "1",\n  "_source" : {\n    "a" : 1\n  },\n  "x" : 1\n}', b'{\n  "_id" : "1",\n  "x" : 1\n}'),
]


@pytest.mark.parametrize(("hit", "expected"), HITS)
def test_a_source_that_the_client_did_not_want(hit: bytes, expected: bytes) -> None:
    assert Undo(SourceFilter(show=False)).strip(hit) == expected


def test_pretty_answers_stay_pretty() -> None:
    hit = b'{\n  "_source" : {\n    "a" : "\\u00e9",\n    "b" : {\n      "c" : 1\n    },\n    "d" : 2\n  }\n}'
    shown = Undo(SourceFilter(True, ("b", "d")), pretty=True).strip(hit)
    assert shown == b'{\n  "_source" : {\n    "b" : {\n      "c" : 1\n    },\n    "d" : 2\n  }\n}'


def reference(
    value: Any, includes: tuple[str, ...], excludes: tuple[str, ...], path: str = "", inside: bool = False
) -> Any:
    """``XContentMapValues.filter`` written over values."""
    inc, exc = Patterns(includes or ("*",)), Patterns(excludes)
    out = {}
    for key, child in value.items():
        here = f"{path}.{key}" if path else key
        accepted = inside or inc.accepts(here)
        if exc.accepts(here) or not (accepted or inc.reaches(here)):
            continue
        if accepted and not exc.reaches(here):
            out[key] = child
        elif isinstance(child, dict):
            kept = reference(child, includes, excludes, here, accepted)
            out |= {key: kept} if kept or accepted else {}
        elif isinstance(child, list):
            dicts = (reference(c, includes, excludes, here, accepted) if isinstance(c, dict) else c for c in child)
            items = [c for c in dicts if (c if isinstance(c, dict) else accepted)]
            out |= {key: items} if items or accepted else {}
        elif accepted:
            out[key] = child
    return out


KEY = st.sampled_from(["a", "b", "ab", "c"])
TREE = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: (
        st.dictionaries(KEY, inner, max_size=3)
        | st.lists(st.dictionaries(KEY, inner, max_size=2) | st.integers(), max_size=3)
    ),
    max_leaves=12,
)
PATTERN = st.sampled_from(["a", "b", "a.b", "a.*", "*.b", "a*", "*", "c.a.b", "ab.*c", "*b"])
PATTERNS = st.lists(PATTERN, max_size=2).map(tuple)


@given(st.dictionaries(KEY, TREE, max_size=3), PATTERNS, PATTERNS, st.booleans())
def test_bytes_and_values_agree(
    source: dict[str, Any], includes: tuple[str, ...], excludes: tuple[str, ...], pretty: bool
) -> None:
    hit = json.dumps({"_source": source}, indent=1 if pretty else None).encode()
    out = Undo(SourceFilter(True, includes, excludes), pretty).strip(hit)
    assert json.loads(out) == {"_source": reference(source, includes, excludes)}


@given(TREE)
def test_compact_changes_no_value(value: Any) -> None:
    text = json.dumps(value, indent=2).encode()
    assert compact(text) == json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
