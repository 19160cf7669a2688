from typing import Any

import pytest

from nbproxy.dialects import hit_text
from nbproxy.errors import ConfigError
from nbproxy.settings import FieldsSetting

DOC = {
    "title": "T", "n": 5, "body": "B", "blank": " ", "tags": ["x", None, "y", ""],
    "meta": {"title": "MT", "year": 1999, "deep": {"er": "D"}}, "chapters": [{"text": "c1"}, {"text": "c2"}],
    "a.b": "AB",
}  # fmt: skip

SEARCHED: list[tuple[tuple[str, ...], str | None]] = [
    ((), "T\nB\nx\ny\nMT\nD\nc1\nc2\nAB"),
    (("body", "title"), "T\nB"),
    (("tags",), "x\ny"),
    (("title.english",), "T"),
    (("meta.title.keyword", "body"), "B\nMT"),
    (("meta.title",), "MT"),
    (("meta.*",), "MT\nD"),
    (("*title",), "T\nMT"),
    (("chapters.text",), "c1\nc2"),
    (("meta",), "MT\nD"),
    (("a.b",), "AB"),
    (("n",), "T\nB\nx\ny\nMT\nD\nc1\nc2\nAB"),
    (("nowhere",), "T\nB\nx\ny\nMT\nD\nc1\nc2\nAB"),
    (("nowhere", "body"), "B"),
]


@pytest.mark.parametrize(("searched", "text"), SEARCHED)
def test_fields_of_the_query(searched: tuple[str, ...], text: str | None) -> None:
    assert hit_text.texts([DOC], None, searched) == [text]


def test_hits_decide_together_which_fields_there_are() -> None:
    assert hit_text.texts([DOC, {"title": "only"}, {}], None, ("body",)) == ["B", None, None]


def test_sources_of_every_kind() -> None:
    sources = [{"body": "B"}, {"body": "\u00a0 "}, {"body": ["a", {"z": "b"}]}, {"body": 5}, {"body": ""}]
    texts = ["B", None, "a\nb", None, None]
    assert hit_text.texts(sources, None, ("body",)) == texts
    assert hit_text.texts([*sources, [{"body": "in a list"}], None], None, ("body",)) == [*texts, "in a list", None]
    assert hit_text.texts([*sources, "text"], None, ("body", "title")) == [*texts, None]


SETTINGS: list[tuple[FieldsSetting, str | None]] = [
    ("title", "T"),
    (["body", "title"], "B\nT"),
    (["meta.year", "meta.title"], "1999\nMT"),
    ("meta.title", "MT"),
    ("{title}. {body}", "T. B"),
    ("{title} ({meta.year})", "T (1999)"),
    ("{nope}{title}{{}}", "T{}"),
    ("{nope} {blank}", None),
    ("nope", None),
    (["blank"], None),
]


@pytest.mark.parametrize(("fields", "text"), SETTINGS)
def test_fields_of_the_setting(fields: FieldsSetting, text: str | None) -> None:
    assert hit_text.texts([DOC], fields, ("tags",)) == [text]


@pytest.mark.parametrize("fields", ["{", "{title", "a}b{c}", "{}", "{title!r}", "{title:>5}"])
def test_formats_that_cannot_be_read(fields: str) -> None:
    with pytest.raises(ConfigError, match="fields="):
        hit_text.names_of(fields)


def test_deep_sources() -> None:
    source: Any = "deep"
    for _ in range(50_000):
        source = {"a": [source]}
    assert hit_text.texts([source], None, ()) == ["deep"]
    assert hit_text.texts([{"b": source}], None, ("b",)) == ["deep"]
    while source != "deep":  # taken apart by hand: freeing it at once would recurse in older interpreters
        source = source["a"].pop()


INNER = {"c": {"hits": {"hits": [{"_nested": {"field": "c"}, "_source": {"t": "in"}}]}}}


@pytest.mark.parametrize(
    ("fields", "highlight", "inner", "text"),
    [
        ({"t": ["f"]}, {"t": ["h"]}, INNER, "f"),
        ({"t": [1]}, {"t": ["<em>h</em> a < b", "</mark>i"]}, INNER, "h a < b\ni"),
        (None, None, INNER, "in"),
        (None, {}, None, None),
        ([], "x", 5, None),
    ],
)
def test_without_a_source(fields: Any, highlight: Any, inner: Any, text: str | None) -> None:
    assert hit_text.texts([hit_text.stand_in(fields, highlight, inner)], None, ()) == [text]
