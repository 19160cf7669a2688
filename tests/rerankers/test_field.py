"""A document's own numbers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

import nbproxy
from nbproxy.errors import ConfigError
from nbproxy.ranking import Hit
from nbproxy.rerankers import as_reranker, field


def hits(*sources):
    return [Hit("i", str(rank), rank, source=source) for rank, source in enumerate(sources, 1)]


def scores(path, *values, **options):
    return field(path, **options).score("q", hits(*({"f": value} for value in values)))


DAY = 86_400.0


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0), (-2.5, -2.5), (True, 1.0), ("4", 4.0), (" 4.5 ", 4.5), ([7, 9], 7.0), ([None, "x", 9], 9.0),
        ("1970-01-03", 2 * DAY), ("1970-01-03T00:00:00Z", 2 * DAY), ("1970-01-03T02:00:00+02:00", 2 * DAY),
        ("1970-01-03T00:00:00.5", 2 * DAY + 0.5), (date(1970, 1, 3), 2 * DAY),
        (datetime(1970, 1, 3, tzinfo=UTC), 2 * DAY), (10**400, None), ("soon", None), ("", None), (None, None),
        ("nan", None), ({}, None), ([], None), (float("inf"), None),
    ],
)  # fmt: skip
def test_what_counts_as_a_number(value, number):
    assert field("f").values(hits({"f": value})) == [number]


@pytest.mark.parametrize(
    ("path", "source", "number"),
    [
        ("a.b", {"a": {"b": 1}}, 1.0),
        ("a.b", {"a.b": 2}, 2.0),
        ("a.b", {"a": [{"c": 1}, {"b": 3}]}, 3.0),
        ("a.b.c", {"a.b": {"c": 4}}, 4.0),
        ("a.b", {"a": 5}, None),
        ("a", None, None),
        ("a", "text", None),
    ],
)
def test_paths(path, source, number):
    assert field(path).values(hits(source)) == [number]


def test_what_lacks_the_number_comes_last():
    assert scores("f", 2.0, None, 5.0, None) == [2.0, 0.0, 5.0, 0.0]
    assert scores("f", -3.0, None) == [-3.0, -6.0]
    assert scores("f", -1.7e308, None)[1] < -1.7e308
    assert scores("f", None, None) == [0.0, 0.0]
    assert scores("f", 2.0, None, missing=3) == [2.0, 3.0]
    assert field("f")("q", ["no", "source"]) == [0.0, 0.0]


def test_lower_is_better():
    assert scores("f", 2.0, None, 5.0, low=True) == [-2.0, -10.0, -5.0]


def test_decay_halves():
    assert scores("f", 10, 8, 6, None, decay=2) == [1.0, 0.5, 0.25, -0.75]
    assert scores("f", 10, 12, low=True, decay=2) == [1.0, 0.5]
    days = scores("f", "2024-03-01", "2024-02-28", decay=timedelta(days=2))
    assert days == [1.0, 0.5]


def test_its_name_source_and_fingerprint():
    rating = nbproxy.field("stats.rating")
    assert as_reranker(rating) is rating
    assert (rating.name, rating.source, rating.reads_source) == ("stats.rating", "field('stats.rating')", True)
    assert field("f", name="fresh").name == "fresh"
    made = [field("f"), field("g"), field("f", decay=2), field("f", missing=0), field("f", low=True)]
    assert len({one.fingerprint for one in made}) == len(made)


@pytest.mark.parametrize(
    "wrong",
    [dict(path=""), dict(path=3), dict(decay=0), dict(decay=-1), dict(decay="30d"), dict(decay=timedelta(0)),
     dict(decay=float("nan")), dict(missing="last"), dict(missing=True), dict(missing=float("inf"))],
)  # fmt: skip
def test_wrong_arguments(wrong):
    with pytest.raises(ConfigError, match="field"):
        field(**{"path": "f"} | wrong)
