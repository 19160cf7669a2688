"""Warnings point at the user's line."""

from __future__ import annotations

import pytest

from nbproxy.warn import warn


def test_a_warning_points_here() -> None:
    with pytest.warns(UserWarning, match="look") as caught:
        warn("look")
    assert caught[0].filename == __file__
