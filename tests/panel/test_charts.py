"""Charts: numbers in, well-formed SVG out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from nbproxy.panel import charts

HOSTILE = "\"><script>alert(1)</script>&'"
numbers = st.lists(st.none() | st.floats(0, 1e9) | st.just(float("nan")), max_size=70)


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{text}</div>")


def tags(text: str) -> list[str]:
    return [element.tag for element in parsed(text).iter()]


@given(numbers)
def test_a_sparkline_of_anything(values: list[float | None]) -> None:
    root = parsed(charts.sparkline(values, HOSTILE))
    assert not list(root.iter("script"))
    for line in root.iter("polyline"):
        places = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert all(0 <= x <= 90 and 0 <= y <= 20 for x, y in places)


def test_a_gap_breaks_the_line() -> None:
    assert tags(charts.sparkline([1, 2, None, 3, 4], "x")).count("polyline") == 2
    assert 'aria-label="x, at most 4.0"' in charts.sparkline([1, 4], "x")


def test_slopes_tell_up_from_down_without_colour() -> None:
    chart = charts.slopes([(0, 1), (1, 0), (2, 2), (3, 9)], 4, 40)
    paths = [path.attrib for path in parsed(chart).iter("path")]
    assert len(paths) == 4
    assert [bool(path.get("stroke-dasharray")) for path in paths].count(True) == 2  # those that fell
    assert 'height="160"' in chart
    assert 'aria-label="1 of the 4 hits rose"' in chart


def test_the_timing_bar_is_as_long_as_its_parts() -> None:
    chart = charts.timing([("upstream", 3.0), (HOSTILE, 1.0)], 4.0, width=400)
    assert [rect.attrib["width"] for rect in parsed(chart).iter("rect")] == ["300.0", "100.0"]
    assert "upstream 3.0 ms" in chart
    assert "<script" not in chart
    assert charts.timing([("upstream", 0.0)], 0.0) == ""


def test_lines_over_time_have_a_legend_and_dashes_of_their_own() -> None:
    chart = charts.over_time({"a": [0.1, None, 0.3], HOSTILE: [None, 1.5, -1.0]}, ("10:00", "11:00 UTC"))
    root = parsed(chart)
    dashes = [line.get("stroke-dasharray") for line in root.iter("polyline")]
    assert len(set(dashes)) == 2
    assert "a 0.300" in "".join(root.itertext())
    assert not list(root.iter("script"))
    heights = [float(dot.attrib["cy"]) for dot in root.iter("circle")]
    assert all(0 <= height <= 180 for height in heights)
    assert not re.search("nan|inf", chart)
