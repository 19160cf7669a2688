"""Answers, read and written: whatever the order and the cut, every hit comes out as its own bytes."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import DIALECTS, Dialect, Elasticsearch, Unreadable, find, splice
from nbproxy.dialects.source_filter import SourceFilter, Undo
from nbproxy.errors import ConfigError, RerankFault
from nbproxy.ranking import Hit, Search

ES = Elasticsearch()
S = Search("red")


def test_names() -> None:
    assert find("elasticsearch") == find("opensearch") == (DIALECTS["elasticsearch"],)
    assert find(None)[0] is DIALECTS["elasticsearch"]
    assert find(ES) == (ES,)
    with pytest.raises(ConfigError, match="'elasticsearch', 'opensearch'"):
        find("solr?")
    with pytest.raises(ConfigError):
        find(5)  # type: ignore[arg-type]
    dialect: Dialect = ES
    assert dialect.name == "elasticsearch"


def answer(*hits: bytes, separator: bytes = b",") -> bytes:
    return (
        b'{"took":1,"hits":{"total":{"value":9},"hits":['
        + separator.join(hits)
        + b']},"aggregations":{"hits":{"hits":[]}}}'
    )


ONE = b'{"_index":"a","_id":"1","_score":1.10,"_source":{"t":"x"}}'


def test_a_hit() -> None:
    found = ES.read_hits(answer(ONE, b'{"_id":"2","_score":null}'), S, offset=5)
    assert found.hits == (Hit("a", "1", 6, 1.1, "x", {"t": "x"}), Hit(None, "2", 7))
    start, end = found.spans[0]
    assert found.body[start:end] == ONE


ODD_SOURCES = [
    (b'{"t":"\\ud800 x","u":"red \\udfff"}', "\ufffd x\nred \ufffd"),
    (b'{"t":"red","n":1e400,"m":-1E+400}', "red"),
    (b'{"t":"red","n":' + b"9" * 5000 + b"}", "red"),
    (b'{"t":"red","d":' + b"[" * 3000 + b"]" * 3000 + b"}", "red"),
    (b'{"t":"red","t":"blue"}', "blue"),
    (b'{"t":"a\\u0000b"}', "a\0b"),
    (b"{}", None),
    (b"null", None),
    (b'"text"', "text"),
    (b"5", None),
]


@pytest.mark.parametrize(("source", "text"), ODD_SOURCES)
def test_odd_sources_do_not_disturb_the_others(source: bytes, text: str | None) -> None:
    odd = b'{"_id":"2","_source":' + source + b"}"
    found = ES.read_hits(answer(ONE, odd, ONE), S)
    assert [hit.text for hit in found.hits] == ["x", text, "x"]
    assert ES.write_hits(found, [2, 1]) == answer(ONE, odd)


UNREADABLE = [
    b"", b"{}", b"null", b"[]", b'{"hits":null}', b'{"hits":[]}', b'{"hits":{"hits":null}}', b'{"hits":{"hits":{}}}',
    answer(b"null"), answer(b"5"), answer(b"[]"), answer(b'{"a":NaN}'), answer(b'{"a":"\xff"}'), answer(ONE)[:-1],
    answer(ONE) + b"x", b"\xef\xbb\xbf" + answer(ONE), answer(ONE + b","), answer(b'{"a":"\xed\xa0\x80"}'),
    answer(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), bytes(range(256)),
    b'{"hits":{"hits":[{}]},"hits":{"hits":[]}}', b'{"hits":{"hits":[{}],"hits":[{}]}}',
    b'{"hits":{"hits":[],"h\\u0069ts":[{}]}}',
    b'{"hits":5,"hits":{"hits":[{}]}}', b'{"hits":{"hits":[{}]},"a":1,"hits":{"hits":[{}]}}',
    b'{"hits":{"hits":[{}]},"hits":1}',
    b'{"hits":{"hits":[{"a":"\\ud800"}],"hits":[]}}',
]  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE)
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        ES.read_hits(body, S)


READABLE = [
    b'{"_clusters":{"hits":{"hits":[2,1]}},"hits":{"z":[],"hits":[' + ONE + b"]}}",
    b' \r\n{"h\\u0069ts" : { "hits" :\n[ ' + ONE + b" ] } }\n",
    b'{"took":1,"took":2,"s":"\\"hits\\":{","hits":{"hits":[' + ONE + b"]}}",
    b'{"x":["}{",{"hits":1}],"hits":{"max_score":1.0,"hits":[' + ONE + b'],"w":"x"},"a":{"hits":3}}',
]


@pytest.mark.parametrize("body", READABLE)
def test_readable(body: bytes) -> None:
    found = ES.read_hits(body, S)
    assert [body[start:end] for start, end in found.spans] == [ONE]
    assert ES.write_hits(found, [0]) == body


SHAPES = [
    (b"[1,2,3]", b"[3,1]"),
    (b"[ 1,\n2,3 ]", b"[ 3,\n1 ]"),
    (b"[\n  1,\n  2,\n  3\n]", b"[\n  3,\n  1\n]"),
]


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_white_space_around_hits(before: bytes, after: bytes) -> None:
    def body(shape: bytes) -> bytes:
        for digit in b"123":
            shape = shape.replace(bytes([digit]), b'{"_id":"%c"}' % digit)
        return b'{"hits":{"hits":' + shape + b"}}"

    found = ES.read_hits(body(before), S)
    assert ES.write_hits(found, [2, 0]) == body(after)
    assert ES.write_hits(found, []) == body(b"[]" if before[1:2] == b"1" else b"[ ]")
    assert ES.write_hits(found, [0, 1, 2]) is found.body


def test_a_callable_reads_hits() -> None:
    body = answer(ONE, b'{"_id":"2"}', b'{"_id":"3"}')
    texts = {"1": "one", "2": " ", "3": None}
    found = ES.read_hits(body, S, lambda hit: texts[hit.doc_id or ""])
    assert [hit.text for hit in found.hits] == ["one", None, None]
    with pytest.raises(RerankFault, match="failed on"):
        ES.read_hits(body, S, lambda hit: str(1 / 0))
    with pytest.raises(RerankFault, match="gave int"):
        ES.read_hits(body, S, lambda hit: 5)  # type: ignore[arg-type, return-value]


def test_what_was_added_goes_again() -> None:
    found = ES.read_hits(answer(ONE, ONE), S, undo=Undo(SourceFilter(show=False)))
    assert [hit.text for hit in found.hits] == ["x", "x"]
    bare = b'{"_index":"a","_id":"1","_score":1.10}'
    assert ES.write_hits(found, [1, 0]) == answer(bare, bare)
    assert ES.write_hits(found, [0, 1]) == answer(bare, bare)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("hits"), inner, max_size=3)
    ),
    max_leaves=8,
)
HIT = st.dictionaries(st.sampled_from(["_index", "_id", "_score", "_source", "fields", "sort", "hits", "é"]), VALUE)
REST = st.dictionaries(st.text(max_size=4).filter(lambda key: key != "hits"), VALUE, max_size=3)


@given(st.lists(HIT, max_size=6), REST, REST, REST, st.data())
def test_any_order_and_cut_is_spliced_exactly(
    hits: list[Any], before: dict[str, Any], inside: dict[str, Any], after: dict[str, Any], data: st.DataObject
) -> None:
    indent, pairs = data.draw(st.sampled_from([(None, (",", ":")), (None, (", ", " : ")), (2, (",", " : "))]))
    ascii_ = data.draw(st.booleans())
    order = data.draw(st.permutations(range(len(hits))))[: data.draw(st.integers(0, 6))]

    def write(chosen: list[Any]) -> bytes:
        tree = {**before, "hits": {**inside, "hits": chosen}, **{k: v for k, v in after.items() if k not in before}}
        return json.dumps(tree, indent=indent, separators=pairs, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")

    found = ES.read_hits(write(hits), S)
    assert [json.loads(found.body[start:end]) for start, end in found.spans] == hits
    written = ES.write_hits(found, order)
    assert json.loads(written) == json.loads(write([hits[i] for i in order]))
    if order:
        assert written == write([hits[i] for i in order])


PARTS = st.sampled_from(
    ['"hits":{"hits":[{"_id":"1"}]}', '"hits":{"total":1,"hits":[{},{"a":"]}"}],"z":1}', '"hits":5', '"took":1',
     '"s":"\\""', '"hits":{"hits":[],"hits":[]}', '"hits":{"x":{"hits":[]},"hits" : [ {} ]}',
     '"h\\u0069ts":{"hits":[{}]}',     '"hits":{"h\\u0069ts":[{}],"hits":[{}]}', '"_shards":{"failures":[{"hits":1}]}',
     '"hit":{"hits":[{}]}'],
)  # fmt: skip


@given(st.lists(PARTS, max_size=4), st.sampled_from([",", " ,\n"]))
def test_the_quick_way_to_the_hits_finds_what_the_strict_one_finds(parts: list[str], comma: str) -> None:
    body = ("{" + comma.join(parts) + "}").encode()
    found: list[Any] = []
    for read in (splice.hit_spans, splice._scan):
        try:
            found.append(read(body))
        except Unreadable:
            found.append(None)
    assert found[0] == found[1]


@given(st.binary(max_size=60))
def test_bytes_are_read_or_unreadable(junk: bytes) -> None:
    for body in (junk, b'{"hits":{"hits":[' + junk + b"]}}", b'{"hits":{"hits":[{}],' + junk + b"}}"):
        with contextlib.suppress(Unreadable):
            ES.read_hits(body, S)


def test_scores() -> None:
    scores = (b"1", b"1.5", b'"NaN"', b"true", b"9" * 400, b"1e400")
    found = ES.read_hits(answer(*(b'{"_score":' + score + b"}" for score in scores)), S)
    assert [hit.score for hit in found.hits] == [1.0, 1.5, None, None, None, math.inf]
