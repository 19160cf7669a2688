"""Pictures: in the page's ink, with ids of their own, small for any number of points."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nbproxy import plots

pytest.importorskip("matplotlib")
EVIL = "</text><script>alert(1)</script> $x^2$ \x1b[31mred"
MANY = np.linspace(0.001, 1, 50_000)
EDGES = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(11)]
DRAWN = {
    "areas": plots.areas(EDGES, {EVIL: range(10), "b": range(10)}, EVIL),
    "shares": plots.shares({EVIL: MANY, "b": [1.0]}, EVIL),
    "falling": plots.falling({EVIL: MANY, "b": MANY[:20]}, EVIL, EVIL),
    "differences": plots.differences({EVIL: [0.5, -0.5, 0.0], "b": [0.1]}, EVIL),
    "intervals": plots.intervals([(EVIL, 0.1, -0.1, 0.3)], EVIL),
    "nothing": plots.intervals([], EVIL),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_stands_in_a_page(name: str) -> None:
    svg = plots.picture(name, DRAWN[name])
    assert svg.startswith('<svg aria-hidden="true"')
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert "<metadata" not in svg
    assert all(one.startswith(f"{name}-") for one in re.findall(r' id="([^"]*)"', svg))
    used = re.findall(r"""(?:url\(|href=")#([\w.-]+)""", svg)
    assert set(used) <= set(re.findall(r' id="([^"]*)"', svg))
    assert len(svg) < 60_000
    assert svg == plots.picture(name, DRAWN[name])


def test_text_is_text_and_no_mathematics() -> None:
    assert "$x^2$ red" in plots.picture("text", DRAWN["shares"])
