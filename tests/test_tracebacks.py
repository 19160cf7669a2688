"""Where an error of ours ends a cell, its traceback ends at the user's line; ``%tb`` has the rest."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

import pytest

from nbproxy import ConfigError
from nbproxy.tracebacks import rendered

from .kernels import Kernel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.run('import nbproxy\nsession = nbproxy.start("http://127.0.0.1:9", record=False)')
        yield kernel


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nbproxy.start('ftp://a')", "ConfigError: upstream must look like"),
        ("nbproxy.connect('http://127.0.0.1:9')", "SessionClosed: nothing answers"),
        ("nbproxy.load('/no/such/folder')", "ConfigError: there is no directory"),
        ("session.model = '/no/such/folder'", "ConfigError: '/no/such/folder' is no built-in model"),
        ("session.models['a'] = object()", "cannot be a model"),
        ("session.swap(object()).result()", "cannot be a model"),
        ("session.depth = 0", "depth"),
        ("session.compare()", "ConfigError: "),
    ],
)
def test_a_traceback_ends_at_the_users_line(kernel: Kernel, line: str, message: str) -> None:
    shown = kernel.run(f"def mine():\n    {line}  # mine\n\nmine()")["error"]
    assert "----> 4 mine()" in shown
    assert re.search(
        rf"^----> 2 +{re.escape(line)}(?:  # mine)?$", shown, re.MULTILINE
    )  # IPython 8: no indent, no comment
    assert message in shown
    assert "/nbproxy/" not in shown  # no file of ours
    assert "of nbproxy left out" in shown
    assert "%tb shows all]" in shown


def test_tb_shows_all(kernel: Kernel) -> None:
    short = kernel.run("session.model = '/no/such/folder'")["error"]
    assert "live_settings.py" not in short
    whole = kernel.run("%tb")["error"]
    assert "live_settings.py" in whole
    assert "left out" not in whole


def test_what_others_raise_is_shown_whole(kernel: Kernel) -> None:
    kernel.run("def callback(exchange):\n    raise nbproxy.ConfigError('mine')")
    assert "raise nbproxy.ConfigError('mine')" in kernel.run("callback(1)")["error"]
    assert "left out" not in kernel.run("callback(1)")["error"]


def raised() -> ConfigError:
    from nbproxy.origin import origin

    try:
        origin("ftp://a")
    except ConfigError as error:
        error.__cause__ = ValueError("deeper")
        return error
    raise AssertionError


def test_outside_a_shell_too_and_nothing_is_lost() -> None:
    error = raised()
    before = traceback.format_exception(error)
    short = "".join(rendered(error))
    assert "origin.py" not in short
    assert "ValueError: deeper" not in short
    assert "and the ValueError behind it" in short
    assert traceback.format_exception(error) == before
    assert "".join(rendered(error)) == "".join(before)
