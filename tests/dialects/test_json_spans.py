import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import Unreadable, json_spans

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def encode(value: object, style: int) -> bytes:
    separators = [(",", ":"), (", ", ": "), (" ,\n", "\t: ")][style]
    return json.dumps(value, separators=separators, ensure_ascii=style == 1).encode("utf-8", "surrogatepass")


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=5), st.integers(0, 2))
def test_members_lie_where_they_say(value: dict[str, object], style: int) -> None:
    text = b" " + encode(value, style) + b"\n"
    for read in (json_spans.members, json_spans.scan_members):
        found = read(text)
        assert [member.key for member in found] == list(value)
        assert [json.loads(text[member.start : member.end]) for member in found] == list(value.values())


KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"é"', '"\\u00e9"', '""', '"a\\""', '"hits"'])
LITERALS = st.sampled_from(
    ["1", "-0.50", '"x"', '"},{\\""', '"é"', '"\\ud800"', "[]", '[{"a":1},{"a":1}]', '{"hits":[]}', "null"]
)
COMMAS = st.sampled_from([",", ", ", "\n,"])


@given(st.lists(st.tuples(KEYS, LITERALS), max_size=4), COMMAS, st.sampled_from([":", " : "]))
def test_the_quick_ways_find_what_the_strict_one_finds(pairs: list[tuple[str, str]], comma: str, colon: str) -> None:
    text = ("{" + comma.join(key + colon + value for key, value in pairs) + "}").encode()
    found = json_spans.scan_members(text)
    assert json_spans.members(text) == found
    pieces = json_spans.pieces(text)
    if pieces is not None:
        assert json_spans.together(pieces) == text
        assert list(pieces) == [member.key for member in found]
        assert list(pieces.values()) == [text[member.at : member.end] for member in found]


@given(st.lists(st.tuples(LITERALS, COMMAS), max_size=4))
def test_items_by_steps_lie_where_the_strict_scanner_finds_them(items: list[tuple[str, str]]) -> None:
    text = "[" + "".join(value + comma for value, comma in items[:-1]) + "".join(value for value, _ in items[-1:]) + "]"
    array = text.encode()
    spans = json_spans.items(array)
    assert [array[start:end].decode() for start, end in spans] == [value for value, _ in items]


@given(st.lists(VALUES, max_size=5), st.integers(0, 2))
def test_items_lie_where_they_say(value: list[object], style: int) -> None:
    text = encode(value, style)
    assert [json.loads(text[start:end]) for start, end in json_spans.items(text)] == value


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b'{"a":1,"a":2}', ["a", "a"]),
        (b'{"a":12,"a":1}', ["a", "a"]),
        (b'{"a":1,"b":2,"\\u0061":1}', ["a", "b", "a"]),
        (b'{"\\ud800":1}', ["\ud800"]),
        (b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", ["a"]),
        (b"{}", []),
        (b" { } ", []),
    ],
)
def test_odd_objects(text: bytes, keys: list[str]) -> None:
    assert [member.key for member in json_spans.members(text)] == keys


BROKEN = [
    b"", b" ", b"{", b"}", b"[1", b"{]", b"[}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{,}", b'{"a":1}x', b'{"a":NaN}',
    b'{"a":01}', b'{"a":1.}', b'{"a":+1}', b'{"a":"\x01"}', b'{"a":"\\x"}', b"{'a':1}", b"{a:1}", b'{"a" 1}', b"null",
    b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("read", [json_spans.members, json_spans.scan_members])
def test_what_is_no_object(read: Callable[[bytes], object], text: bytes) -> None:
    with pytest.raises(Unreadable):
        read(text)


@pytest.mark.parametrize("text", [b"[1,]", b"[,]", b"[1 2]", b"[1]]", b"{}", b"[1}", b"[\\ud800]"])
def test_what_is_no_array(text: bytes) -> None:
    with pytest.raises(Unreadable):
        json_spans.items(text)


@given(st.binary(max_size=40))
def test_bytes_never_raise_anything_else(text: bytes) -> None:
    for read in (json_spans.members, json_spans.items, json_spans.scan_members):
        for wrapped in (text, b"{" + text + b"}", b"[" + text + b"]"):
            with contextlib.suppress(Unreadable):
                read(wrapped)
