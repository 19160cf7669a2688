"""The top of the page: where the proxy stands, how it is, how much it does."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import views
from ..controls import Snapshot
from .charts import sparkline
from .markup import FAINT, copied, ink, message, region

KEPT = 60  # values of a sparkline
FRESH_S = 30.0  # how long an error colours the state
_MARKS = {"good": "●", "warn": "▲", "bad": "✖"}


@dataclass
class Pulse:
    """What the header remembers from look to look: the sparklines' values, and when an error last came."""

    meter: views.Meter = field(default_factory=views.Meter)
    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    upstream: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    rerank: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    per_second: float | None = None
    failed_at: float | None = None
    _errors: int | None = None

    def add(self, snapshot: Snapshot) -> None:
        """One look more. While nothing comes the lines stand still, so that nothing has to be sent."""
        status = snapshot.status
        self.per_second = self.meter.add(snapshot)
        self._note_errors(status)
        if self.per_second == 0 and self.rates and self.rates[-1] == 0:
            return
        self.rates.append(self.per_second)
        spans = status.get("latency_ms", {})
        self.upstream.append(spans.get("upstream", {}).get("p95"))
        self.rerank.append(spans.get("rerank", {}).get("p95"))

    def _note_errors(self, status: Mapping[str, Any]) -> None:
        errors = int(status.get("errors", 0))
        if self._errors is not None and errors > self._errors:
            self.failed_at = float(status.get("uptime_s", 0))
        self._errors = errors

    def fresh(self, snapshot: Snapshot) -> bool:
        """Whether an error came lately."""
        if self.failed_at is None:
            return False
        return float(snapshot.status.get("uptime_s", 0)) - self.failed_at < FRESH_S


def health(snapshot: Snapshot, pulse: Pulse, *, loading: bool = False, trouble: str = "") -> tuple[str, str]:
    """(``good``, ``warn`` or ``bad``; in words).

    Bad: it cannot be seen, has failed, or upstream did not answer the newest request. Warn: it begins or ends, loads a
    model, or there was an error in the last half minute.
    """
    state = str(snapshot.status.get("state", "?"))
    newest = next(iter(views.traffic(snapshot)), None)
    if trouble or state in ("failed", "stopped"):
        return "bad", "cannot be seen" if trouble else state
    if newest is not None and newest.error and (newest.status or 500) >= 500:
        return "bad", f"{state}, upstream fails"
    if state != "running":
        return "warn", state
    if loading:
        return "warn", "running, loading a model"
    return ("warn", "running, errors") if pulse.fresh(snapshot) else ("good", state)


def address(url: str, name: str) -> str:
    """The address with its button: a widget of its own, so that nothing redraws a button that has the focus."""
    return region(f"nbproxy {name}", [f"<b>nbproxy {views.escaped(name, 40)}</b> at {copied(url, 'the address')}"])


def header(snapshot: Snapshot, pulse: Pulse, *, notice: str = "", trouble: str = "", loading: bool = False) -> str:
    """All that changes with the traffic."""
    status = snapshot.status
    kind, words = health(snapshot, pulse, loading=loading, trouble=trouble)
    state = f'<b style="color:{ink(kind)}">{_MARKS[kind]}</b> <b>{views.escaped(words)}</b>'
    last = views.escaped(snapshot.errors[-1], 160) if snapshot.errors and kind != "good" else ""
    model, upstream = views.escaped(views.serving(snapshot), 60), views.escaped(status.get("upstream", "?"))
    facts = views.facts(snapshot, "", "", pulse.per_second)
    errors = f'<span style="{FAINT}">{views.escaped(facts.errors)}</span>'
    bar = '<progress aria-label="loading a model" style="width:90px;height:10px"></progress> ' if loading else ""
    return region(
        "state",
        [
            f"<div>{state} · upstream <code>{upstream}</code> · model <b>{model}</b> · {errors}</div>",
            f'<div style="display:flex;flex-wrap:wrap;gap:2px 22px">{_numbers(snapshot, pulse, facts)}</div>',
            f'<div style="color:{ink(kind)}">last error: <span style="color:inherit">{last}</span></div>'
            if last
            else "",
            f"{bar}{message(trouble or notice)}",
        ],
    )


def _numbers(snapshot: Snapshot, pulse: Pulse, facts: views.Facts) -> str:
    spans: dict[str, Any] = snapshot.status.get("latency_ms", {})
    shown = (
        (facts.traffic, sparkline(list(pulse.rates), "requests a second")),
        (_span("upstream", spans.get("upstream")), sparkline(list(pulse.upstream), "upstream, p95 in ms")),
        (_span("reranking", spans.get("rerank")), sparkline(list(pulse.rerank), "reranking, p95 in ms", "warn")),
        (facts.recorded, ""),
    )
    return "".join(f'<span style="white-space:nowrap">{views.escaped(text)} {line}</span>' for text, line in shown)


def _span(name: str, span: dict[str, Any] | None) -> str:
    quantiles = span or {}
    return f"{name} p50 {views.number(quantiles.get('p50'))}, p95 {views.number(quantiles.get('p95'))} ms"
