"""From texts to token ids: cut as sentence-transformers cuts them, or as windows; then into batches.

``passages="first"``: a text that is longer than the model is cut, and its beginning scored. ``passages="max"``: it is
read through windows of the model's length that overlap, and the best window's score is the text's. A text that fits
has one window, and the same score either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError
from ..ranking import readable

Passages = Literal["first", "max"]
PASSAGES = ("first", "max")
OVERLAP = 0.25  # of a window's tokens: a sentence that one window cuts stands whole in the next

Ids = dict[str, list[list[int]]]


@dataclass(frozen=True)
class Encoded:
    """Token ids of what a model reads.

    :ivar ids: per input of the model, one list for each window.
    :ivar owners: per window, the position of its text; ascending.
    """

    ids: Ids
    owners: list[int]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each window."""
        return [len(ids) for ids in self.ids["input_ids"]]


def joined(several: Sequence[Encoded]) -> Encoded:
    """Inputs of several searches as one: their texts are numbered on."""
    ids: Ids = {key: [row for one in several for row in one.ids[key]] for key in several[0].ids}
    owners: list[int] = []
    for one in several:
        begin = owners[-1] + 1 if owners else 0  # every text has a window
        owners += [begin + owner for owner in one.owners]
    return Encoded(ids, owners)


class Reader:
    """A tokenizer with a length and a way of reading long texts.

    :param max_length: tokens of one window, special ones and the query included.
    :raises ConfigError: windows are asked for, and the tokenizer cannot give any.
    """

    def __init__(self, tokenizer: Any, max_length: int, passages: str) -> None:
        if passages not in PASSAGES:
            raise ConfigError(f"passages must be 'first' or 'max', not {passages!r}")
        if passages == "max" and not tokenizer.is_fast:
            raise ConfigError(f"passages='max' needs a fast tokenizer; {type(tokenizer).__name__} is none")
        self.tokenizer, self.max_length, self.passages = tokenizer, max_length, passages
        notes = getattr(tokenizer, "deprecation_warnings", {})
        notes["Asking-to-pad-a-fast-tokenizer"] = True  # advice that transformers 4 prints on the first pad()

    def pairs(self, query: str, texts: list[str]) -> Encoded:
        """A cross-encoder's inputs."""
        cut = self.cut(readable(query))
        return self._encode([cut] * len(texts), list(map(readable, texts)), room=self.max_length - self._taken(cut))

    def singles(self, texts: list[str]) -> Encoded:
        """A bi-encoder's inputs."""
        return self._encode(list(map(readable, texts)), room=self.max_length - self._taken(None))

    def _encode(self, *texts: list[str], room: int) -> Encoded:
        if self.passages == "first":
            encoded = self.tokenizer(*texts, truncation="longest_first", max_length=self.max_length, verbose=False)
            return Encoded(dict(encoded), list(range(len(texts[0]))))
        encoded = self.tokenizer(
            *texts,
            truncation="only_second" if len(texts) == 2 else True,
            max_length=self.max_length,
            stride=int(max(0, room) * OVERLAP),
            return_overflowing_tokens=True,
            verbose=False,
        )
        ids = dict(encoded)
        return Encoded(ids, list(ids.pop("overflow_to_sample_mapping")))

    def _taken(self, query: str | None) -> int:
        """How many tokens of a window are not the text's."""
        empty = self.tokenizer("", verbose=False) if query is None else self.tokenizer(query, "", verbose=False)
        return len(empty["input_ids"])

    def cut(self, query: str) -> str:
        """The query's first tokens, at most half of ``max_length``."""
        half = self.max_length // 2
        fast = bool(self.tokenizer.is_fast)
        encoded = self.tokenizer(
            query,
            add_special_tokens=False,
            truncation=True,
            max_length=half + 1,
            return_offsets_mapping=fast,
            verbose=False,
        )
        if len(encoded["input_ids"]) <= half:
            return query
        if fast:
            return query[: encoded["offset_mapping"][half - 1][1]]
        return str(self.tokenizer.decode(encoded["input_ids"][:half]))

    def batches(self, encoded: Encoded, budget: int) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Positions and padded arrays of shape ``(n, tokens)``, the longest first."""
        for batch in batches(encoded.lengths, budget if self.tokenizer.pad_token_id is not None else 0):
            yield batch, {key: self._padded(key, [values[i] for i in batch]) for key, values in encoded.ids.items()}

    def _padded(self, key: str, rows: list[list[int]]) -> Any:
        longest = max(map(len, rows))
        padded = np.full((len(rows), longest), self._padding(key), dtype=np.int64)
        for row, ids in zip(padded, rows, strict=True):
            row[longest - len(ids) if self.tokenizer.padding_side == "left" else 0 :][: len(ids)] = ids
        return padded

    def _padding(self, key: str) -> int:
        named = {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        return named.get(key) or 0


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions, the longest inputs first, in batches whose size with padding is within the budget.

    An input over the budget is a batch of its own.

    >>> list(batches([3, 9, 4, 4], budget=8))
    [[1], [2, 3], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        count = max(1, budget // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]
