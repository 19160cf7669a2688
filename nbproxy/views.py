"""What the views show, as pure functions from a snapshot; the panel and the terminal share them.

Laws: recorded text is never trusted (:func:`plain` for a terminal, :func:`escaped` for HTML: everything shown goes
through one of the two); nothing is told by colour alone; no function here does I/O or reads a clock.
"""

from __future__ import annotations

import html
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .controls import Line, Place, Sight, Snapshot
from .tables import clean

NOTHING = "–"
NONE = "none"  # how "no model" is called among ``Snapshot.models``
WIDEST = 160
_HIDDEN = dict.fromkeys([0x061C, 0x200B, 0x2028, 0x2029, 0x2060, 0xFEFF, *range(0xFFF9, 0xFFFC)], " ")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ("B", "kB", "MB", "GB", "TB")
_MARKS = {"starting": "◌", "running": "●", "stopping": "◌", "stopped": "■", "failed": "✖"}
_ROUTES = {"pass": "passed on", "own": "nbproxy's own"}


# -- recorded text


def plain(text: object, width: int = WIDEST) -> str:
    """One harmless line of at most ``width`` characters.

    Control sequences, other control characters, and what turns writing round or cannot be seen are taken out; half
    a surrogate pair, which no terminal and no message can carry, is shown as a question mark.
    """
    raw = str(text)[: 8 * width + 64]  # a recorded text may be megabytes long
    line = clean(raw.translate(_HIDDEN)).encode("utf-8", "replace").decode()
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def escaped(text: object, width: int = WIDEST) -> str:
    """As :func:`plain`, for HTML text and quoted attributes."""
    return html.escape(plain(text, width))


# -- numbers


def move(place: Place) -> str:
    """How far a hit moved: ``▲3``, ``▼2``, ``=``."""
    up = place.original_rank - place.rank
    return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else "="


def move_words(place: Place) -> str:
    """The same for a screen reader: ``up 3``, ``down 2``, ``unmoved``."""
    up = place.original_rank - place.rank
    return f"up {up}" if up > 0 else f"down {-up}" if up < 0 else "unmoved"


def age(started: int, now: float) -> str:
    """How long ago epoch microseconds were, at ``now`` (epoch seconds): ``3 s``, ``2 min``."""
    seconds = max(0, int(now - started / 1e6))
    return next((f"{seconds // size} {unit}" for size, unit in _UNITS if seconds >= size), "0 s")


def clock(started: int) -> str:
    """The UTC time of day of epoch microseconds."""
    return datetime.fromtimestamp(started / 1e6, UTC).strftime("%H:%M:%S")


def number(value: float | None, digits: int = 1) -> str:
    """A number of a table: thousands apart, ``–`` for none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def score(value: float | None) -> str:
    """A model's score: three digits after the point, or three in all where it is large or tiny."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def size(n: float) -> str:
    """Bytes as a person says them: ``3.1 MB``."""
    step = 0
    while n >= 999.95 and step < len(_SIZES) - 1:
        n, step = n / 1000, step + 1
    return f"{n:.0f} {_SIZES[step]}" if step == 0 else f"{n:.1f} {_SIZES[step]}"


# -- what a snapshot says


def serving(snapshot: Snapshot) -> str:
    """The name of the serving model, ``none`` for none."""
    model = snapshot.status.get("model")
    return str(model["name"]) if model else NONE


def traffic(snapshot: Snapshot) -> tuple[Line, ...]:
    """The newest exchanges without the views' own questions."""
    return tuple(line for line in snapshot.lines if line.route != "own")


def requests(snapshot: Snapshot) -> int:
    """How many exchanges there were, without the views' own questions."""
    routes: Mapping[str, int] = snapshot.status.get("counts", {}).get("route", {})
    return sum(n for route, n in routes.items() if route != "own")


def rate(before: Snapshot, after: Snapshot) -> float | None:
    """Exchanges a second between two snapshots; None where they do not follow each other."""
    seconds = float(after.status.get("uptime_s", 0)) - float(before.status.get("uptime_s", 0))
    more = requests(after) - requests(before)
    return more / seconds if seconds > 0 and more >= 0 else None


class Meter:
    """The rate over the last few snapshots, so that the number can be read.

    :param window: seconds of the proxy's own time.
    """

    def __init__(self, window: float = 3.0) -> None:
        self._window = window
        self._seen: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> float | None:
        """The rate up to this snapshot, None for the first."""
        if self._seen and rate(self._seen[-1], snapshot) is None:
            self._seen.clear()  # another proxy: it was restarted
        self._seen.append(Snapshot(status=snapshot.status))
        end = float(snapshot.status.get("uptime_s", 0))
        while len(self._seen) > 2 and end - float(self._seen[1].status.get("uptime_s", 0)) >= self._window:
            self._seen.popleft()
        return rate(self._seen[0], snapshot)


class Facts(NamedTuple):
    """The header, cleaned but not escaped."""

    state: str
    name: str
    address: str
    upstream: str
    model: str
    traffic: str
    latency: str
    recorded: str
    errors: str


def facts(snapshot: Snapshot, url: str, name: str, per_second: float | None) -> Facts:
    """The header of both views."""
    status = snapshot.status
    state = str(status.get("state", "?"))
    seen, failed = requests(snapshot), int(status.get("errors", 0))
    return Facts(
        state=f"{_MARKS.get(state, '?')} {plain(state, 20)}",
        name=plain(name, 40),
        address=plain(url),
        upstream=plain(status.get("upstream", "?")),
        model=plain(serving(snapshot), 60),
        traffic=f"{seen:,} request{'' if seen == 1 else 's'}, {number(per_second)}/s",
        latency=_latency(status.get("latency_ms", {})),
        recorded=_recorded(status.get("recording", {})),
        errors=f"{failed:,} error{'' if failed == 1 else 's'}",
    )


def _latency(spans: Mapping[str, Any]) -> str:
    """``total 12.1/30.2 · upstream 8.0/20.1 · rerank 4.1/9.7``, p50/p95."""
    parts = [f"{name} {number(q.get('p50'))}/{number(q.get('p95'))}" for name in _SPANS if (q := spans.get(name))]
    return " · ".join(parts) or NOTHING


_SPANS = ("total", "upstream", "rerank")


def _recorded(recording: Mapping[str, Any]) -> str:
    where = "" if recording.get("path") else " in memory"
    lost = f", {recording['dropped']:,} dropped" if recording.get("dropped") else ""
    return f"{recording.get('exchanges', 0):,} recorded{where}, {size(recording.get('bytes', 0))}{lost}"


def outcome(line: Line) -> str:
    """What became of an exchange: who reranked it, why it was not, or what went wrong."""
    if line.reranked:
        return plain(f"reranked by {line.model}" if line.model else "reranked", 60)
    if line.reason:
        return plain(line.reason, 60)
    return plain(line.error, 60) if line.error else _ROUTES.get(line.route, plain(line.route, 20))


def asked(line: Line) -> str:
    """The query of a search, else the request line."""
    return plain(line.query) if line.query else plain(f"{line.method} {line.target}")


def entitled(sight: Sight) -> str:
    """The heading of one search."""
    return f"“{plain(sight.query or NOTHING, 80)}”, reranked by {plain(sight.model or NONE, 60)}"


@dataclass(frozen=True, slots=True)
class Pair:
    """One rank, side by side: upstream's hit and the served one."""

    rank: int
    before: Place | None
    after: Place | None


def pairs(sight: Sight, n: int) -> list[Pair]:
    """The first ``n`` ranks of both orders; a place that one of them lacks is None there."""
    before = {place.original_rank: place for place in sight.places}
    after = {place.rank: place for place in sight.places}
    ranks = sorted(before.keys() | after.keys())[: max(n, 0)]
    return [Pair(rank, before.get(rank), after.get(rank)) for rank in ranks]


def label(place: Place | None, width: int = WIDEST) -> str:
    """A hit in one line: its text, its id before it."""
    if place is None:
        return ""
    name = plain(place.doc_id if place.doc_id is not None else "(no id)", 24)
    return plain(f"{name} · {plain(place.text, width)}" if place.text else name, width)
