"""A limit is kept to within two looks, and never broken early."""

from __future__ import annotations

from nbproxy.watch import Watched


def test_quiet_is_counted_from_the_first_look_that_saw_it() -> None:
    one = Watched()
    assert [one.overdue(now, 1.0) for now in (10.0, 10.9, 11.0, 11.1)] == [False, False, False, True]


def test_what_comes_begins_it_anew() -> None:
    one = Watched()
    one.overdue(10.0, 1.0)
    one.quiet_since = None
    assert not one.overdue(20.0, 1.0)
    assert one.overdue(21.5, 1.0)


def test_without_a_limit_nothing_is_overdue() -> None:
    one = Watched()
    assert not any(one.overdue(now, None) for now in (0.0, 1e9))
