"""What is shown is one line, harmless, and the same in three places."""

from __future__ import annotations

import pandas as pd
import pytest

from nbproxy.tables import Table, cell, clean, counted, to_html, to_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\r\nlines\tand  more", "two lines and more"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x9b31mred", "red"),
        ("\x1b", ""),
        ("a\x00b\x7f", "a b"),
        ("\u202etxt.exe\u2066", "txt.exe"),
        ("naïve 東京 🚲", "naïve 東京 🚲"),
    ],
)
def test_control_sequences_are_taken_out(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.500"), (0.0, "0.000"), (2.4e-7, "2e-07"), (None, "–"), (float("nan"), "–"), (pd.NA, "–"), (3, "3"),
     (True, "True"), (("a", "b"), "a, b"), ("x" * 99, "x" * 59 + "…")],
)  # fmt: skip
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_table_without_rows() -> None:
    table = Table("t", pd.DataFrame({"a": [], "b": []}), counted("left out", pd.Series({"x": 1})))
    assert to_text([table]) == "t\na  b\nleft out: x 1"
    assert "<tbody></tbody>" in to_html([table])
    assert counted("left out", pd.Series(dtype="int64")) == []


def test_wide_writing_keeps_its_column() -> None:
    shown = to_text([Table("t", pd.DataFrame({"query": ["日本語", "red shoes"], "n": [1, 20]}))])
    assert shown.splitlines() == ["t", "query       n", "日本語      1", "red shoes  20"]
