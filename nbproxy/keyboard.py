"""Single keys of a terminal, without echo, by their names; none where standard input is no POSIX terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

Keys = Callable[[float, threading.Event], Sequence[str]]  # what was pressed within so many seconds

_PIECES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[A-Za-z])|.", re.DOTALL)
_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), "down"),
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~"), "home"),
    **dict.fromkeys(("\r", "\n"), "enter"),
    **dict.fromkeys(("\x7f", "\x08"), "backspace"),
    "\x15": "clear",  # Ctrl-U
    "\x0c": "redraw",  # Ctrl-L
    "\x1a": "suspend",  # Ctrl-Z
    "\x1b": "escape",
    " ": "space",
}


def named(text: str) -> list[str]:
    """What was typed, key by key: characters as they are, others by name; what is not known is left out.

    >>> named("p\\x1b[A\\x1b")
    ['p', 'up', 'escape']
    """
    pieces = _PIECES.findall(text)
    names = (_NAMES.get(piece, piece if len(piece) == 1 and piece.isprintable() else "") for piece in pieces)
    return [name for name in names if name]


@contextlib.contextmanager
def keyboard() -> Iterator[Keys]:
    """Keys of standard input while the context lasts; the terminal is as it was behind it. Ctrl-C stays Ctrl-C; Ctrl-Z
    is a key: whoever has changed the terminal has something to do before it stops."""
    try:
        import termios
        import tty

        device = sys.stdin.fileno()
        before = termios.tcgetattr(device)
    except (ImportError, OSError, ValueError, AttributeError):  # Windows, a pipe, a closed or replaced stdin
        yield _none
        return
    except termios.error:  # not a terminal
        yield _none
        return
    tty.setcbreak(device)
    modes = termios.tcgetattr(device)
    modes[6][termios.VSUSP] = b"\0"  # no character
    termios.tcsetattr(device, termios.TCSADRAIN, modes)
    decode = codecs.getincrementaldecoder("utf-8")("ignore").decode
    try:
        yield lambda seconds, _: _pressed(device, seconds, decode)
    finally:
        termios.tcsetattr(device, termios.TCSADRAIN, before)


def _none(seconds: float, stop: threading.Event) -> Sequence[str]:
    stop.wait(seconds)
    return ()


def _pressed(device: int, seconds: float, decode: Callable[[bytes], str]) -> Sequence[str]:
    """What was typed; ``gone`` where the terminal has gone."""
    if not select.select([device], [], [], seconds)[0]:
        return ()
    try:
        read = os.read(device, 64)
    except OSError:
        return ("gone",)
    return named(decode(read)) if read else ("gone",)
