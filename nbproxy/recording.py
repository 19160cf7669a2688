"""A recording read back, also after its process is gone; and what it has in common with a running session.

Laws:

- Reading changes nothing on disk, and may be done while sessions still write: each property reads anew and
  gives a fresh DataFrame.
- A stream that was cut (``kill -9``) gives its rows up to the last whole batch.
- Sessions in one directory come one after the other, by their first exchange; sessions that overlapped are
  merged by exchange id, which is time-ordered.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import frames
from .cards import card_html
from .content import decode
from .errors import ConfigError
from .exchange_card import RecordedExchange
from .segments import EVENTS, HITS, ROWS, Kind, read_all, read_row, segments, size_of
from .warn import warn

if TYPE_CHECKING:
    from .compare import Comparison
    from .evaluate import Evaluation
    from .interleaving import Interleaving

Which = Literal["request", "response", "upstream_request", "upstream_response"]
Scope = Literal["window", "page"]

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Recorded(ABC):
    """What can be asked of recorded exchanges, finished or still coming in.

    Needs only ``frame`` and ``hits``; ``_rows``, ``_lines`` and ``_row`` are there to be overridden by whoever can
    give them without reading bodies and texts.
    """

    @property
    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """One row per exchange, and one more per search of a multi-search (contract §5). Fresh: change it freely."""

    @property
    @abstractmethod
    def hits(self) -> pd.DataFrame:
        """One row per hit of each ranking (contract §5)."""

    def json(self, exchange_id: str, part: int | None = None, which: Which = "response") -> Any:
        """A recorded body, its content coding undone, as Python values; newline-delimited JSON as a list.

        :param part: which search of a multi-search; None: the exchange as a whole.
        :param which: ``request``, ``response``, ``upstream_request``, ``upstream_response``.
        :raises KeyError: there is no such exchange.
        :raises ValueError: the body was not recorded, or is not JSON.
        """
        if which not in _WHICH:
            raise ValueError(f"which must be one of {', '.join(_WHICH)}, not {which!r}")
        row = self._row(exchange_id, part)
        if row is None:
            raise KeyError(self._unknown(exchange_id, part))
        return _parsed(row, which)

    def exchange(self, exchange_id: str | None = None, part: int | None = None) -> RecordedExchange:
        """One recorded exchange, to be looked at: shown with its headers, and its bodies decoded and pretty-printed.

        :param exchange_id: None: the newest.
        :param part: which search of a multi-search; None: the exchange as a whole.
        :raises KeyError: there is no such exchange.
        """
        if exchange_id is None:
            rows = self._rows()
            exchange_id = "" if rows.empty else str(rows["exchange_id"].iloc[-1])
        row = self._row(exchange_id, part)
        if row is None:
            raise KeyError(self._unknown(exchange_id, part))
        return RecordedExchange(row, lambda which: _parsed(row, which))

    def compare(self, a: str = "original", b: str = "served", k: int = 10, *, scope: Scope = "window") -> Comparison:
        """How two systems ordered the recorded searches (contract §6).

        :param a: a system: ``original``, ``served``, or a model's name.
        :param k: the depth of ``overlap@k`` and of the first places.
        :param scope: ``window``: all hits that were reranked; ``page``: as many as the client got.
        """
        from .compare import compare_recorded

        return compare_recorded(self._rows(), self._orders(), a=a, b=b, k=k, scope=scope)

    def evaluate(
        self,
        qrels: pd.DataFrame,
        measures: Sequence[str] = ("nDCG@10", "RR@10"),
        baseline: str = "original",
        queries: pd.DataFrame | Sequence[str] | None = None,
        *,
        scope: Scope = "window",
    ) -> Evaluation:
        """Every system of the recording against judgments (contract §6).

        :param qrels: ``query_id, doc_id, relevance``, optionally ``index``.
        :param queries: ``query_id, query``, where the qrels' ids are neither recorded ids nor texts.
        """
        from .evaluate import evaluate_recorded

        return evaluate_recorded(
            self._rows(), self._orders(), qrels, measures=measures, baseline=baseline, queries=queries, scope=scope
        )

    def interleaving(self, model: str | None = None) -> Interleaving:
        """Which of two interleaved models users clicked more, and whether that may be chance (see
        :class:`nbproxy.Interleaving`).

        :param model: the name under which the two were served; None: the pair that was interleaved last. Exchanges of
            one pair count together, whatever the seed.
        :raises ConfigError: nothing was interleaved.
        """
        from .interleaving import interleaved

        return interleaved(self._rows(), self._lines(), self._events(), model=model, serving=self._serving())

    def report(self, path: str | Path, qrels: pd.DataFrame | None = None, queries: pd.DataFrame | None = None) -> Path:
        """Write one self-contained HTML page: traffic, latency, comparisons, errors, and an evaluation where there
        are judgments (``nbproxy report`` on the command line).

        :param path: the file; :param qrels: and ``queries`` as :meth:`evaluate` takes them.
        :raises MissingExtra: matplotlib is not installed.
        :raises ConfigError: the file cannot be written.
        """
        from .report import write

        return write(self, path, qrels, queries)

    def _events(self) -> Any:
        """Interleaved searches and clicks, as an Arrow table of ``frames.EVENT_COLUMNS``."""
        return frames.schema(frames.EVENT_COLUMNS).empty_table()

    def _serving(self) -> tuple[str, str] | None:
        """The names of the two models that are interleaved now."""
        return None

    def _rows(self) -> pd.DataFrame:
        """``frame``, where the bodies may be null."""
        return self.frame

    def _lines(self) -> pd.DataFrame:
        """``hits``, where the texts may be null."""
        return self.hits

    def _orders(self) -> pd.DataFrame:
        """``_lines`` without those of two interleaved models that came late: they gave no order."""
        from .systems import without_late

        return without_late(self._lines(), self._events())

    def _row(self, exchange_id: str, part: int | None) -> Mapping[str, Any] | None:
        """One row of ``frame``, missing values as None."""
        frame = self.frame
        same = frame["exchange_id"] == exchange_id
        found = frame[same & (frame["part"].isna() if part is None else (frame["part"] == part).fillna(False))]
        if found.empty:
            return None
        return {str(name): None if _missing(value) else value for name, value in found.iloc[0].items()}

    def _unknown(self, exchange_id: str, part: int | None) -> str:
        """What to say where :meth:`json` finds nothing."""
        frame = self._rows()
        parts = frame.loc[frame["exchange_id"] == exchange_id, "part"].dropna()
        if part is not None and (frame["exchange_id"] == exchange_id).any():
            have = f"parts 0 to {parts.max()}" if len(parts) else "no parts: leave `part` out"
            return f"exchange {exchange_id!r} has no part {part!r}; it has {have}"
        newest = f", the newest is {frame['exchange_id'].iloc[-1]!r}" if len(frame) else ""
        return (
            f"no exchange {exchange_id!r} among the {len(frame):,} recorded{newest}; ids are in .frame['exchange_id']"
        )


class Recording(Recorded):
    """A directory that sessions recorded to.

    :param path: that directory.
    :raises ConfigError: there is no recording in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._warned = False
        if not self.path.is_dir():
            raise ConfigError(f"there is no directory {self.path}")
        if not self.sessions:
            raise ConfigError(
                f"no recording in {self.path}: looked for rows-<session>-<number>.arrow or .arrows, found none; "
                "give the directory itself (session.recording.path), not the one above"
            )

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def sessions(self) -> list[str]:
        """The ids of the sessions that recorded here."""
        return sorted({*segments(self.path, ROWS), *segments(self.path, HITS)})

    @property
    def frame(self) -> pd.DataFrame:
        return self._shown(self._table(ROWS, bulky=True), ROWS)

    @property
    def hits(self) -> pd.DataFrame:
        return self._shown(self._table(HITS, bulky=True), HITS)

    def _rows(self) -> pd.DataFrame:
        return self._shown(self._table(ROWS, bulky=False), ROWS)

    def _lines(self) -> pd.DataFrame:
        return self._shown(self._table(HITS, bulky=False), HITS)

    def _events(self) -> Any:
        return self._table(EVENTS, bulky=True)

    def _row(self, exchange_id: str, part: int | None) -> Mapping[str, Any] | None:
        for listed in segments(self.path, ROWS).values():
            for segment in reversed(listed):
                if row := read_row(segment, exchange_id, part):
                    return row
        return None

    def _table(self, kind: Kind, *, bulky: bool) -> Any:
        """All sessions' rows of one kind, in order."""
        listed = segments(self.path, kind).values()
        return in_time_order([read_all(one, kind, bulky=bulky) for one in listed], kind)

    def _shown(self, table: Any, kind: Kind) -> pd.DataFrame:
        rows = table if kind is ROWS else self._table(ROWS, bulky=False)
        ids = frames.ambiguous_ids(rows)
        if ids and not self._warned:
            self._warned = True
            warn(frames.warning_for(ids))
        return frames.to_frame(frames.without_ids(table, ids), kind.columns)

    def _facts(self) -> dict[str, str]:
        """What the reprs say."""
        rows = self._table(ROWS, bulky=False)
        started = rows.column("started")
        span = pc.min_max(started).as_py() if rows.num_rows else {}
        size = sum(size_of(self.path, session) for session in self.sessions)
        times = [f"{time:%Y-%m-%d %H:%M:%S}" for time in (span.get("min"), span.get("max")) if time]
        return {
            "exchanges": f"{pc.sum(pc.is_null(rows.column('part'))).as_py() or 0:,}",
            "sessions": f"{len(self.sessions):,}",
            "time (UTC)": " to ".join(times) or "none",
            "size": f"{size / 2**20:,.1f} MiB",
            "path": str(self.path),
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return f"<Recording {facts['path']}: {facts['exchanges']} exchanges, {facts['time (UTC)']}, {facts['size']}>"

    def _repr_html_(self) -> str:
        return card_html("Recording", self._facts())


def load(path: str | Path) -> Recording:
    """The recording in a directory, also of a process that was killed (at most its last 100 ms are missing).

    :raises ConfigError: there is no recording in it.
    """
    return Recording(path)


def in_time_order(tables: Sequence[Any], kind: Kind) -> Any:
    """Each session's rows as one table: one after the other, merged by exchange id where they overlap in time."""
    full = [table for table in tables if table.num_rows]
    if not full:
        return frames.schema(kind.columns).empty_table()
    spans = {id(table): pc.min_max(table.column("exchange_id")).as_py() for table in full}
    full.sort(key=lambda table: spans[id(table)]["min"])
    together = pa.concat_tables(full)
    apart = all(spans[id(a)]["max"] < spans[id(b)]["min"] for a, b in itertools.pairwise(full))
    return together if apart else together.take(pc.sort_indices(together, sort_keys=[("exchange_id", "ascending")]))


_WHICH: Mapping[str, tuple[str, str, str]] = {
    # body, where it stands if it was the same on both sides, and the head that tells its content coding
    "request": ("request_body", "request_body", "request_headers"),
    "response": ("response_body", "response_body", "response_headers"),
    "upstream_request": ("upstream_request_body", "request_body", "request_headers"),
    "upstream_response": ("upstream_response_body", "response_body", "response_headers"),
}


def _parsed(row: Mapping[str, Any], which: str) -> Any:
    """The body's values; ValueError that says what is wrong."""
    name, same, head = _WHICH[which]
    own = row[name] is not None
    body = row[name] if own else row[same]
    what = f"the {which.replace('_', ' ')} body of {row['exchange_id']!r}"
    if body is None:
        raise ValueError(f"{what} was not recorded{_why(row, same)}")
    if not body:
        raise ValueError(f"{what} is empty")
    if row.get(f"{same.removesuffix('_body')}_truncated"):
        raise ValueError(f"only the first {len(body):,} bytes of {what} were recorded")
    # Only the client's heads are recorded: what upstream sent in a form of its own tells its coding by its first bytes.
    declared = (
        None if (own and name != same) or row["part"] is not None else _field(row[head] or "", "content-encoding")
    )
    return _values(_decoded(body, declared, what), what)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value


def _field(lines: str, name: str) -> str | None:
    """A header field's values, joined as the field list that they are."""
    pairs = (line.partition(":") for line in lines.split("\n"))
    values = [value.strip() for key, _, value in pairs if key.strip().lower() == name]
    return ", ".join(values) or None


def _why(row: Mapping[str, Any], body: str) -> str:
    """What is known of a body that is not there."""
    size = row["bytes_in" if body == "request_body" else "bytes_out"]
    return (
        f": its {size:,} bytes went when the recording reached its limit, or were withheld" if size else ": it had none"
    )


def _decoded(body: bytes, declared: str | None, what: str) -> bytes:
    """Its content coding undone: the declared one, else the one that its first bytes show."""
    shown = next((coding for magic, coding in _MAGIC.items() if body.startswith(magic)), None)
    try:
        return decode(body, declared or shown, None)
    except ValueError as error:
        raise ValueError(f"{what} cannot be decoded ({declared or shown}): {error}") from error


def _values(body: bytes, what: str) -> Any:
    """JSON, or one value for each line."""
    try:
        return json.loads(body)
    except ValueError as error:
        with contextlib.suppress(ValueError):
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            if len(lines) > 1:
                return lines
        raise ValueError(f"{what} is not JSON: {error}") from error
