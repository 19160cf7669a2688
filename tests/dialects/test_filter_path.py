import pytest

from nbproxy.dialects.filter_path import FilterPath

CASES = [
    ("hits.hits", "whole"),
    ("hits", "whole"),
    ("*", "whole"),
    ("**._source", "whole"),
    ("took,hits.hits._source", "whole"),
    ("hits.h*._s*", "whole"),
    ("-_shards,-took", "whole"),
    ("-hits.hits._id", "whole"),
    ("hits.hits._id", "sourceless"),
    ("hits.hits._id,hits.hits.fields", "sourceless"),
    ("took", "unusable"),
    ("hits.total", "unusable"),
    ("-hits.hits", "unusable"),
    ("-hits.hits._source", "unusable"),
    ("hits.hits._source.title", "unusable"),
    ("hits.hits._id,hits.hits._source.title", "unusable"),
    ("-hits.hits._source.title", "unusable"),
    ("hits.hits.fields", "unusable"),
    ("hits.**", "unusable"),
]


@pytest.mark.parametrize(("value", "verdict"), CASES)
def test_verdict(value: str, verdict: str) -> None:
    assert FilterPath(value).verdict() == verdict
