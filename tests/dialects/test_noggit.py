import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import noggit
from nbproxy.dialects.search_request import Malformed

READ: list[tuple[str, Any]] = [
    ('{"a":[1,2.5,true,null,"x"]}', {"a": [1, 2.5, True, None, "x"]}),
    ("{query:memory, limit:10}", {"query": "memory", "limit": 10}),
    ("{'query':'cat_s:A'}", {"query": "cat_s:A"}),
    ("{query:'it\\'s \\u0041\\n', b:\"\\\"\"}", {"query": "it's A\n", "b": '"'}),
    ("{a:1, // one\n b:2 # two\n /* three\n */ , c:3}", {"a": 1, "b": 2, "c": 3}),
    ("[9,4,3,]", [9, 4, 3]),
    (
        "{bool:{must:{lucene:{query:A}} must_not:[B]}}",
        {"bool": {"must": {"lucene": {"query": "A"}}, "must_not": ["B"]}},
    ),
    ("{\u00a0a\u00a0:\u00a0b}", {"a": "b"}),
    ("{fl:[id,'x:5.5'], sort:true}", {"fl": ["id", "x:5.5"], "sort": True}),
    ("'a'", "a"),
    ("5", 5),
    ("-1.5e3", -1500.0),
    ("{}", {}),
    ("", None),
    (" /* nothing */ // at all", None),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_what_solr_reads(text: str, value: Any) -> None:
    assert noggit.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "[1",
        "{a}",
        "{a:}",
        "{:1}",
        "{a:1}}",
        "a b",
        "'",
        '{"a":"',
        "{[]:1}",
        ",",
        "{a:{b:1]}",
        "{a:http://x}",
        "[" * 200 + "x",
    ],
)
def test_what_solr_refuses(text: str) -> None:
    with pytest.raises(Malformed):
        noggit.loads(text)


def test_deep_nesting() -> None:
    with pytest.raises(Malformed):
        noggit.loads("[" * 100_000 + "]" * 100_000)


@given(st.text(alphabet="{}[]:,'\"\\/*#\n ab1.é\u00a0", max_size=30) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        noggit.loads(text)
