"""Keeps every exchange: what the event loop has handed over, finished, redacted and written by a thread of its own.

Laws:

- The loop pays one append (:mod:`intake`); what is refused there, as the writer is too far behind, is counted.
- The thread writes 100 ms after the first row that waits, or when 16 MiB of bodies wait, one batch a time; what was
  written survives ``kill -9``. With nothing to write it sleeps.
- Nothing is stored before it is redacted. If the user's ``redact`` fails, all that it might have removed is
  withheld from the row.
- If the disk fails, rows wait in memory (``SPILL_BYTES`` a table) and are written when it works again; what
  does not fit is dropped and counted. The traffic never notices.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs

from . import frames
from .batches import events_batch, frame_batch, has_events, hits_batch, merged
from .clicks import Click
from .drafts import Draft
from .errors import ConfigError, NbproxyError
from .exchange import Exchange
from .finishing import OnError, Redact, finish, late
from .intake import Cut, Intake, Late, Row
from .newest import Newest
from .ranking import Ranking
from .sealing import LIMIT_BYTES, Sealer, roll_size
from .segments import EVENTS, HITS, ROWS, Kind, Log, Table, segments
from .slices import Placed, Slice
from .stats import Tally, tally
from .warn import warn

IDLE_S = 5.0  # with nothing to write for so long there is time to seal, one stream each time
RING = 256
MEMORY_BYTES = 256 * 2**20  # of each table where there is no directory
SPILL_BYTES = 64 * 2**20  # of each table while the disk refuses
FEW_ROWS = 64  # of which columns are made at once: then it costs little, and when many are read a lot

_SESSION = re.compile(r"[A-Za-z0-9_.-]+")


class BodiesRemoved(NbproxyError):
    """An event, not a failure: the recording reached its limit, so the oldest bodies (or texts) went."""


class RecordingStopped(NbproxyError):
    """The writing thread ended although nobody closed the recorder."""


def default_directory(name: str, session_id: str) -> Path:
    """Where a session records if nothing is said: under the user's data directory (not created here)."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".") or "default"
    return platformdirs.user_data_path("nbproxy", appauthor=False) / "recordings" / safe / session_id


class Recorder:
    """Records one session's exchanges.

    :param directory: created if it is missing (0700); None: in memory only, at most 256 MiB of each table and at
        most ``limit_bytes`` in all, the oldest bodies going first, then the oldest rows.
    :param session_id: letters, digits, ``_.-``; stands in every file's name. One that was used before goes on.
    :param redact: the user's, given each finished exchange without credentials; late rankings come to it as an
        exchange with nothing else in it. It runs on the recorder's thread.
    :param limit_bytes: of all recordings in the directory; over it the oldest bodies go. None: unlimited.
    :param on_error: called as (where, exchange id, exception), from any thread; ``where`` is ``complete``,
        ``redact`` or ``recording``. A disk that refuses is told once until it works again.
    :param count: called with a tally of exchanges that have come, written or dropped; from any thread.
    :raises ConfigError: the directory cannot be created or written to.

    :ivar exchanges: how many were recorded (searches of a multi-search not counted apart).
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        session_id: str,
        redact: Redact | None = None,
        limit_bytes: int | None = LIMIT_BYTES,
        on_error: OnError | None = None,
        count: Callable[[Tally], None] | None = None,
        roll_bytes: int | None = None,
    ) -> None:
        if not _SESSION.fullmatch(session_id):
            raise ConfigError(f"a session id is made of letters, digits and _.-, not {session_id!r}")
        self.path = directory if directory is None else Path(directory)
        self.exchanges = 0
        self._session, self._redact, self._limit, self._on_error = session_id, redact, limit_bytes, on_error
        self._count = count or (lambda _: None)
        self._lock = threading.Lock()
        roll_bytes = roll_bytes or roll_size(limit_bytes)
        self._all = self._rows, self._hits, self._events = self._tables(roll_bytes)
        self._intake = Intake(plain=redact is None, prepare=self._prepare)
        self._newest = Newest(RING)
        self._sealer = Sealer(
            self.path,
            session_id,
            self._all,
            roll_bytes=roll_bytes,
            limit=limit_bytes,
            lock=self._lock,
            came=lambda: (self.exchanges, self._intake.went),
            attempt=self._attempt,
            removed=self._removed,
        )
        self._unfit = 0
        self._sealing = self._finished = self._warned = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"nbproxy-recorder-{session_id}", daemon=True)
        self._thread.start()

    # --- what the event loop calls

    def append(self, row: Row) -> None:
        """Take an exchange, or the draft of one that has ended; from one thread only (the loop's)."""
        if not self._intake.append(row):
            self._count(tally([row]))

    def append_ranking(
        self, exchange_id: str, part: int | None, query_id: str | None, query: str | None, ranking: Ranking
    ) -> None:
        """Take a ranking that came after its exchange (a shadow's, a replay's); from any thread."""
        self._intake.offer(Late(late(exchange_id, part, query_id, query, ranking)))

    def append_click(self, click: Click) -> None:
        """Take a click that a request told of; from any thread."""
        carrier = Exchange(
            exchange_id=click.exchange_id, started=click.time, method="", target="", route="own", clicks=(click,)
        )
        if not self._intake.offer(Late(carrier)):
            self._unfit += 1

    def _prepare(self, cut: Cut) -> None:
        """What can be done before the thread has it."""
        if not cut.others:
            self._note(cut.plain, ())
            if self._rows.log is not None and cut.plain.num_rows >= FEW_ROWS:
                cut.plain.message = self._rows.log.message(cut.plain)

    # --- what others call

    def redact_by(self, redact: Redact | None) -> None:
        """Redact by another function from now on; what came before is written first. Nothing may come meanwhile."""
        if redact is not self._redact:
            self.flush()
            self._redact, self._intake.plain = redact, redact is None

    @property
    def dropped(self) -> int:
        """Rows that were lost: the writer was too far behind, memory was full, or a row could not be stored."""
        return self._intake.refused + self._unfit + self._rows.memory.dropped

    @property
    def bytes(self) -> int:
        """Of this session: on disk, and in memory what waits or has no disk to go to."""
        return self._sealer.bytes + sum(table.memory.bytes for table in self._all)

    def newest(self, n: int = RING) -> list[Exchange]:
        """At most ``n`` (and 256) of the newest recorded exchanges, newest first, redacted, without bodies.

        Does not wait: an exchange is in after 100 ms, or after :meth:`flush`.
        """
        return self._newest.exchanges(min(n, RING))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was appended before is in :meth:`frame` and :meth:`hits`.

        Not from the event loop, which would wait for itself.

        :param timeout: seconds; None: as long as it takes.
        :returns: whether it is so; False after ``timeout``, in a forked child, and on the recorder's own thread.
        """
        if os.getpid() != self._pid or threading.current_thread() is self._thread:
            return False
        done = self._intake.barrier()
        end = None if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive():
            if done.wait(0.25 if end is None else max(0.0, min(0.25, end - time.monotonic()))):
                return True
            if end is not None and time.monotonic() >= end:
                return done.is_set()
        self._stand_in()
        return True

    def frame(self, *, bodies: bool = True) -> pd.DataFrame:
        """``session.frame``: a fresh DataFrame (contract §5), one row per exchange in the order of recording.

        :param bodies: False leaves the four body columns null, which saves reading them.
        """
        self.flush()
        rows = self._rows.read(self._lock, bodies)
        return self._shown(rows, rows, frames.FRAME_COLUMNS)

    def hits(self, *, texts: bool = True) -> pd.DataFrame:
        """``session.hits``: a fresh DataFrame (contract §5), one row per hit of each ranking.

        :param texts: False leaves ``text`` null, which saves reading it.
        """
        self.flush()
        hits = self._hits.read(self._lock, texts)
        return self._shown(hits, self._rows.read(self._lock, False), frames.HITS_COLUMNS)

    def events(self) -> Any:
        """The interleaved searches and the clicks, as an Arrow table of ``EVENT_COLUMNS``."""
        self.flush()
        return self._events.read(self._lock, True)

    @property
    def tables(self) -> Mapping[str, Table]:
        """``rows``, ``hits`` and ``events``; whoever lists what is in them holds :attr:`lock`."""
        return {table.kind.name: table for table in self._all}

    @property
    def lock(self) -> threading.Lock:
        """Held while the tables change."""
        return self._lock

    def close(self, *, seal: bool = True, timeout: float | None = None) -> None:
        """Write what waits and end the thread; the frames can still be read. Idempotent.

        :param seal: False leaves the streams as they are (``load`` reads them too), which takes no time.
        :param timeout: seconds to wait for the thread; None: as long as it takes.
        """
        if os.getpid() != self._pid:  # a forked child: the files are its parent's
            for table in self._all:
                table.close()
            return
        if not self._intake.closed:
            self._sealing = seal
        self._intake.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            if not self._thread.is_alive():
                self._finish()

    # --- the thread

    def _run(self) -> None:
        while not self._intake.closed:
            self._intake.wait(IDLE_S if self._sealer.waiting else None)
            try:
                self._sealer.end_round(asked=self._drain())
            except BaseException as error:  # the thread goes on
                self._report("recording", None, error)
        self._finish()

    def _finish(self) -> None:
        """The last of it: once, by the thread, or by whoever closes a recorder whose thread died."""
        if self._finished:
            return
        self._finished = True
        self._drain()
        for table in self._all:
            self._attempt(table, table.retry)
            if self._sealing:
                self._sealer.finish(table)
            table.close()

    def _stand_in(self) -> None:
        """Do the thread's work in the caller's: it died, or the recorder is closed and only barriers wait."""
        if not self._finished:
            self._report("recording", None, RecordingStopped("the recording thread died; its caller went on"))
        self._drain()

    def _drain(self) -> bool:
        """Write what was cut. Whether somebody waited for it."""
        self._sealer.begin_round()
        asked = False
        for item in self._intake.taken():
            if not isinstance(item, Cut):
                item.set()
                asked = True
                continue
            try:
                with _uncollected() if item.others else contextlib.nullcontext():
                    self._write(item)
            except (Exception, SystemExit) as error:  # whatever it is, the next rows are not lost to it
                self._report("recording", None, error)
        return asked

    def _write(self, cut: Cut) -> None:
        """One batch of each table, of those that have something to say."""
        if not cut.others:
            self._store_rows(cut.plain, ())
            return
        came = [Placed(place, item) for place, item in cut.others if not isinstance(item, Late)]
        carriers: list[Placed[Row]] = [
            Placed(place, item.carrier) for place, item in cut.others if isinstance(item, Late)
        ]
        others = self._store_rows(cut.plain, self._completed(came))
        rows, late = [row for _, row in others], [row for _, row in self._completed(carriers)]
        self._store(self._hits, self._built(hits_batch, [*(row for row in rows if row.rankings), *late]))
        self._store(self._events, self._built(events_batch, [row for row in (*rows, *late) if has_events(row)]))
        with self._intake.gate:
            self._note(cut.plain, others)

    def _note(self, plain: Slice, others: Sequence[Placed[Exchange]]) -> None:
        """Count what was recorded, and show it. The gate is held."""
        whole = [row for _, row in others if row.part is None]
        if plain.num_rows:
            self._count(plain.tally)
        if whole:
            self._count(tally(whole))
        self.exchanges += plain.num_rows + len(whole)
        self._newest.add(plain, others)

    def _store_rows(self, plain: Slice, others: Sequence[Placed[Exchange]]) -> Sequence[Placed[Exchange]]:
        """:returns: which of the others could be stored."""
        if others:
            others, batch = self._fitting(others)
            if plain.num_rows and others:
                batch = merged(plain.batch(), batch, [place for place, _ in others])
        if others:
            self._store(self._rows, [batch])
        elif plain.num_rows:
            self._store(self._rows, [plain if plain.num_rows >= FEW_ROWS else plain.batch()])
        return others

    def _completed(self, rows: Sequence[Placed[Row]]) -> list[Placed[Exchange]]:
        """As they are stored."""
        done: list[Placed[Exchange]] = []
        for place, row in rows:
            try:
                exchange = row.exchange() if isinstance(row, Draft) else row
                done += [Placed(place, one) for one in finish(exchange, self._redact, self._report)]
            except Exception as error:  # not what an Exchange says it is; what cannot be redacted is not stored
                self._unfit += 1
                self._report("recording", row.exchange_id, error)
        return done

    def _fitting(self, rows: Sequence[Placed[Exchange]]) -> tuple[Sequence[Placed[Exchange]], Any]:
        """Those that can be stored, and their batch."""
        with contextlib.suppress(Exception):
            return rows, frame_batch([row for _, row in rows])
        fit = [one for one in rows if self._built(frame_batch, [one.item])]
        return fit, frame_batch([row for _, row in fit]) if fit else None

    def _built(self, make: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """One batch; where an item spoils it, one for each of the others."""
        with contextlib.suppress(Exception):
            return [make(items)] if items else []
        batches = []
        for item in items:
            try:
                batches.append(make([item]))
            except Exception as error:
                self._unfit += 1
                self._report("recording", item.exchange_id, error)
        return batches

    def _store(self, table: Table, batches: Sequence[Any]) -> None:
        for batch in batches:
            if batch.num_rows:
                self._attempt(table, partial(table.write, batch))
        self._sealer.look(table)

    def _attempt(self, table: Table, act: Callable[[], object], *, sealing: bool = False) -> None:
        """Do it, under the lock unless it is sealing; a disk that refuses either is told once until it does it again
        (outside of the lock: whoever is told may read the frames)."""
        try:
            with contextlib.nullcontext() if sealing else self._lock:
                act()
        except OSError as error:
            if sealing not in table.failing:
                self._report("recording", None, error)
            table.failing.add(sealing)
        else:
            table.failing.discard(sealing)

    def _removed(self, path: Path) -> None:
        why = f"the recording is over {self._limit:,} bytes: {path.name} was removed, its rows stay"
        self._report("recording", None, BodiesRemoved(why))

    def _report(self, where: str, exchange_id: str | None, error: BaseException) -> None:
        if self._on_error is not None:
            with contextlib.suppress(Exception):
                self._on_error(where, exchange_id, error)

    # --- parts

    def _tables(self, roll_bytes: int) -> tuple[Table, Table, Table]:
        path = self.path
        if path is None:
            share = MEMORY_BYTES if self._limit is None else min(MEMORY_BYTES, self._limit // 2)
            return Table(ROWS, None, share), Table(HITS, None, share), Table(EVENTS, None, share)

        def log(kind: Kind) -> Log:
            return Log(path, kind, self._session, roll_bytes=roll_bytes)

        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            rows, hits = log(ROWS), log(HITS)
            events = log(EVENTS) if self._session in segments(path, EVENTS) else None
        except OSError as error:
            raise ConfigError(f"cannot record to {path}: {error.strerror or error}") from error
        later = Table(EVENTS, events, SPILL_BYTES, begin=lambda: log(EVENTS))
        return Table(ROWS, rows, SPILL_BYTES), Table(HITS, hits, SPILL_BYTES), later

    def _shown(self, table: Any, rows: Any, columns: Mapping[str, frames.Column]) -> pd.DataFrame:
        ids = frames.ambiguous_ids(rows)
        if ids and not self._warned:
            self._warned = True
            warn(frames.warning_for(ids))
        return frames.to_frame(frames.without_ids(table, ids), columns)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: some ten thousand objects that are gone in a moment would have it go through all
    of the kernel's, again and again, for as long as it takes (50 ms, with little else in the kernel)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
