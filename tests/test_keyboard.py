"""Keys by their names."""

from __future__ import annotations

import threading

import pytest

from nbproxy.keyboard import keyboard, named

TYPED = [
    ("pQ/", ["p", "Q", "/"]),
    ("\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
    ("\x1b[5~\x1b[6~", ["page up", "page down"]),
    ("\x1b", ["escape"]),
    ("\r\n\x7f\x08\x15 ", ["enter", "enter", "backspace", "backspace", "clear", "space"]),
    ("\x1b[15~\x1b[1;5Cq\x01", ["q"]),
    ("\x0c\x1a", ["redraw", "suspend"]),
    ("寿ß", ["寿", "ß"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "keys"), TYPED, ids=[repr(text) for text, _ in TYPED])
def test_keys(text: str, keys: list[str]) -> None:
    assert named(text) == keys


def test_without_a_terminal_no_keys_come(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr("sys.stdin", None)
    with keyboard() as keys:
        assert list(keys(60.0, stop)) == []
