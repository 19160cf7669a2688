"""What is odd about a model's scores, said once: texts that it cannot tell apart, scores that its squash cannot."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from ..warn import warn

_LOG = logging.getLogger(__name__)
_LEAST = 4  # of fewer different texts, that some tie says nothing

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Doubts:
    """Looks at each query's scores until it has warned of both.

    In the main thread (a notebook's cell) a ``UserWarning``; elsewhere, where the proxy scores, a line of the logger
    ``nbproxy.rerankers.doubts``, for nothing of ours prints from its threads.

    :ivar said: what it has warned of, by kind: ``ties``, ``saturation``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: dict[str, str] = {}

    def look(self, raw: Floats, squashed: Floats) -> None:
        """At the raw and the squashed scores of one query's different texts, each of shape ``(n,)``."""
        for kind, look in (("ties", _ties), ("saturation", _saturation)):
            if kind not in self.said and (seen := look(raw, squashed)):
                self.said[kind] = seen
                _say(f"{self.name}: {seen}")


def _ties(raw: Floats, _squashed: Floats) -> str | None:
    different = len(np.unique(raw))
    if len(raw) < _LEAST or different > len(raw) / 2:
        return None
    return f"{len(raw)} different texts have only {different} different scores; those that tie keep upstream's order"


def _saturation(raw: Floats, squashed: Floats) -> str | None:
    """Scores at the end of their range in float32 although the model tells the texts apart."""
    shown = squashed.astype(np.float32)
    full = np.isin(shown, (-1.0, 0.0, 1.0)) & (raw != squashed)
    if len(np.unique(raw[full])) < 2:
        return None
    return (
        f"{int(full.sum())} of {len(raw)} scores are saturated (logits from {raw.min():.3g} to {raw.max():.3g}); "
        "the order is the logits'"
    )


def _say(message: str) -> None:
    if threading.current_thread() is threading.main_thread():
        warn(message)
    else:
        _LOG.warning(message)
