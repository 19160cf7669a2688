import json
from typing import Any

import pandas as pd
import pytest

from nbproxy.dialects import hit_text
from nbproxy.errors import ConfigError
from nbproxy.settings import FieldsSetting

from ..upstreams import Client, Json
from . import reference

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


# -- through the proxy: what is scored is what stands in ``session.hits.text``

TITLE = {"match": {"title": "red"}}
READ: list[tuple[Any, dict[str, Any], str]] = [
    (None, {"query": TITLE}, "title 1"),
    (None, {"query": {"multi_match": {"query": "red", "fields": ["body^2", "title"]}}}, "title 1\nred\nkörper 1"),
    (None, {"query": {"match": {"title.english": "red"}}}, "title 1"),
    (None, {"query": {"match": {"meta.*": "red"}}}, "en\na\nb\nN 1"),
    (None, {"query": {"match": {"nowhere": "red"}}}, 'title 1\nred\nkörper 1\nen\na\nb\nN 1\nh1\nt\n"quoted" 1'),
    (None, {"query": TITLE, "_source": False}, "title 1"),
    (None, {"query": TITLE, "_source": ["body"]}, "title 1"),
    ("body", {"query": TITLE}, "red\nkörper 1"),
    ("body", {"query": TITLE, "_source": {"excludes": ["bo*"]}}, "red\nkörper 1"),
    (["body", "title"], {"query": TITLE}, "red\nkörper 1\ntitle 1"),
    (["meta.author.name", "chapters.head", "n"], {"query": TITLE}, "N 1\nh1\n1"),
    ("{title}. {meta.lang} ({none})", {"query": TITLE}, "title 1. en ()"),
    (
        lambda hit: f"{hit.doc_id} in {hit.index}: {hit.source['n']}",
        {"query": TITLE, "_source": False},
        "1 in books: 1",
    ),
]


def run(start: Any, upstream: Json, fields: Any, body: Any) -> tuple[list[str], pd.DataFrame]:
    """The texts that a model got, and the frame of the hits."""
    got: list[str] = []

    def model(query: str, texts: list[str]) -> list[int]:
        got.extend(texts)
        return list(range(len(texts)))

    session = start(upstream.url, model=model, depth=3, fields=fields)
    with Client(session.url) as client:
        client.ask(b"POST", b"/books/_search", json.dumps(body).encode())
    assert list(session.frame.reason.dropna()) == []
    return got, session.hits


@pytest.mark.parametrize(("fields", "body", "text"), READ)
def test_the_text_that_is_scored(start: Any, json_upstream: Json, fields: Any, body: Any, text: str) -> None:
    json_upstream.answer = lambda method, path, headers, sent: (200, reference.answer(path, sent))
    got, hits = run(start, json_upstream, fields, {**body, "size": 3})
    assert list(hits.text.dropna()) == got
    assert hits.text.iloc[1] == text


STAND_INS: list[tuple[dict[str, Any], str]] = [
    ({"fields": {"title": ["a title"], "n": [5]}, "highlight": {"title": ["<em>no</em>"]}}, "a title"),
    ({"highlight": {"title": ["a <em>red</em> title", "and <mark>more</mark>"]}}, "a red title\nand more"),
    ({"fields": {"n": [5]}, "highlight": {"title": ["a <em>title</em>"]}}, "a title"),
    ({"inner_hits": {"c": {"hits": {"hits": [{"_source": {"title": "within"}}]}}}}, "within"),
    (
        {"inner_hits": {"c": {"hits": {"hits": [{"_nested": {"field": "title"}, "_source": {"text": "deep"}}]}}}},
        "deep",
    ),
    ({"_source": {"title": "first"}, "fields": {"title": ["second"]}}, "first"),
]


@pytest.mark.parametrize(("shown", "text"), STAND_INS)
def test_a_hit_without_source_is_read_from_what_else_it_shows(
    start: Any, json_upstream: Json, shown: dict[str, Any], text: str
) -> None:
    hits = [{"_index": "books", "_id": "1", "_score": 2.0, **shown}, {"_index": "books", "_id": "2", "_score": 1.0}]
    json_upstream.answer = lambda *_: (200, {"hits": {"hits": hits}})
    got, frame = run(start, json_upstream, None, {"query": TITLE})
    assert got == [text]  # the second has none, is not given to the model, and stays last
    assert frame.text.iloc[0] == text
    assert pd.isna(frame.text.iloc[1])
    assert pd.isna(frame.score.iloc[1])
    assert list(frame["rank"]) == [1, 2]
