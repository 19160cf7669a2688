"""What a notebook shows where an error of ours ends a cell: the user's own lines, then the message.

IPython asks an exception for ``_render_traceback_`` (``InteractiveShell.showtraceback``). Frames of this package are
left out, and so is what caused the error, but for its one line; both are counted. Nothing is lost: the exception keeps
its traceback and its cause, and ``%tb``, which asks a second time, gets the whole.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

_HERE = str(Path(__file__).parent) + os.sep
_SEEN = "_nbproxy_shown"


def rendered(error: BaseException) -> list[str]:
    """The lines that IPython shows: the short form first, the whole whenever it is asked for again."""
    trace = error.__traceback__
    kept, left_out = _until_ours(trace)
    if getattr(error, _SEEN, False) or not kept or not left_out:
        return _formatted(error, trace)
    setattr(error, _SEEN, True)
    *lines, last = _alone(error, kept)
    return [*lines, _said(error, left_out), last]


def _until_ours(trace: TracebackType | None) -> tuple[TracebackType | None, int]:
    """The frames before the first of ours, and how many there are from it on; all of them where the error was raised by
    somebody else's code that we called."""
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    first = next((n for n, one in enumerate(frames) if _is_ours(one)), len(frames))
    if not frames or not _is_ours(frames[-1]):
        first = len(frames)
    kept: TracebackType | None = None
    for one in reversed(frames[:first]):
        kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept, len(frames) - first


def _is_ours(trace: TracebackType) -> bool:
    """Of this package, and not one that runs a user's cell (the magics), which IPython hides by this mark."""
    frame = trace.tb_frame
    return frame.f_code.co_filename.startswith(_HERE) and "__tracebackhide__" not in frame.f_locals


def _alone(error: BaseException, trace: TracebackType) -> list[str]:
    """Without its cause, which is put back."""
    cause, context, hidden = error.__cause__, error.__context__, error.__suppress_context__
    error.__cause__ = error.__context__ = None
    try:
        return _formatted(error, trace)
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = cause, context, hidden


def _formatted(error: BaseException, trace: TracebackType | None) -> list[str]:
    """As IPython formats it, in the colours and the mode that the user has chosen (``%xmode``)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return traceback.format_exception(type(error), error, trace)
    return list(shell.InteractiveTB.structured_traceback(type(error), error, trace))


def _said(error: BaseException, left_out: int) -> str:
    """What is not shown."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    because = f", and the {type(cause).__name__} behind it" if cause is not None else ""
    frames = "1 frame" if left_out == 1 else f"{left_out} frames"
    return f"[... {frames} of nbproxy left out{because}; %tb shows all]\n"
