"""Who may call a model now: nobody while another does (contract §2), under whatever names and in whatever fusion."""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from contextlib import AbstractContextManager, nullcontext

from ..ranking import Reranker
from .base import Adopted
from .functions import FunctionReranker

_turns: weakref.WeakKeyDictionary[object, threading.RLock] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _forked() -> None:
    """In a fork's child no other thread is there to end its turn."""
    global _making
    _making = threading.Lock()
    _turns.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def called(reranker: Reranker) -> object:
    """What of the user's own is called in the end: under two names, it is still one object."""
    while isinstance(reranker, Adopted):
        reranker = reranker.inner
    if isinstance(reranker, FunctionReranker):
        return reranker.function.__self__ if inspect.ismethod(reranker.function) else reranker.function
    source = getattr(reranker, "source", None)  # (model, tokenizer): the library's model, which others may have too
    if isinstance(source, tuple) and source and getattr(reranker, "model", None) is source[0]:
        return source[0]
    return reranker


def turn(reranker: Reranker) -> AbstractContextManager[object]:
    """Held while the model is called; what cannot be told apart (no weak references to it) is not guarded."""
    one = called(reranker)
    try:
        with _making:
            return _turns.setdefault(one, threading.RLock())
    except TypeError:
        return nullcontext()
