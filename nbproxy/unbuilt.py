"""Rows of a recording in memory before anybody reads them: drafts, of which columns are made for whoever asks.

To make columns of each row costs a proxy more than all the rest of recording it, and most rows of a recording in memory
go without having been read. What may not wait is noted at once: the time (a machine that sleeps moves its clocks apart)
and the model's name (a model that was swapped must be let go of).

Laws: a row has one id, whoever asks for it first. Any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from .batches import plain_batch
from .drafts import Body, Draft, identify, start_times
from .ranking import Model
from .settings import Settings

ROW_BYTES = 512  # that a draft holds besides its bodies
_identifying = threading.Lock()  # a view's newest rows and the table's may be the same drafts


class _Named(NamedTuple):
    """What is kept of a model."""

    name: str
    fingerprint: str


class Unbuilt:
    """Plain drafts that have ended, in the place of their record batch.

    :ivar nbytes: about so many bytes of memory.
    """

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts, self._started = drafts, start_times(drafts)
        _release_models(drafts)
        self.num_rows = len(drafts)
        self.nbytes = sum([draft.weight for draft in drafts]) + ROW_BYTES * len(drafts)

    def __len__(self) -> int:
        return self.num_rows

    @classmethod
    def joined(cls, parts: Sequence[Unbuilt]) -> Unbuilt:
        """One in the place of several."""
        one = cls.__new__(cls)
        one._drafts = list(chain.from_iterable(part._drafts for part in parts))
        one._started = np.concatenate([part._started for part in parts])
        one.num_rows, one.nbytes = len(one._drafts), sum(part.nbytes for part in parts)
        return one

    def batch(self) -> Any:
        """The record batch, made anew."""
        with _identifying:
            identify(self._drafts, self._started)
        return plain_batch(self._drafts)

    def strip(self) -> None:
        """Let go of the bodies."""
        for draft in self._drafts:
            draft.sent_body, draft.got_body = _emptied(draft.sent_body), _emptied(draft.got_body)
        self.nbytes = ROW_BYTES * self.num_rows


def _emptied(body: Body | None) -> Body | None:
    return None if body is None else Body(body.limit, body.size)


def _release_models(drafts: Sequence[Draft]) -> None:
    """Keep of what was set only the model's name."""
    slim: dict[int, Settings] = {}
    for draft in drafts:
        settings = slim.get(id(draft.settings))
        if settings is None:
            settings = slim[id(draft.settings)] = _slim(draft.settings.model)
        draft.settings = settings


def _slim(model: Model | None) -> Settings:
    return Settings(model=model and _Named(model.name, model.fingerprint))
