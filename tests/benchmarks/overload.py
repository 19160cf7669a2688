"""32 clients that search without pause before a model that does ten searches a second, one at a time: how long they
wait at most, and what they are answered with. Deadlines of half a second and of two.

Nothing may be lost: any search without its answer, or whose exchange is not recorded, fails the run. Then the same
model with ``score_many``, whose calls take a tenth of a second however many searches they are for.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import peers
from .machine import temporary_folder
from .proxy import Proxy
from .report import table
from .searches import during

if TYPE_CHECKING:
    import nbproxy
    from nbproxy.ranking import Hit

NEEDS = ("nginx",)
CLIENTS = 32
CALL_S = 0.1


class TenASecond:
    """Takes a tenth of a second a call, without the interpreter."""

    name, fingerprint = "ten-a-second", "0" * 16

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        time.sleep(CALL_S)
        return [float(hit.rank) for hit in hits]


class TogetherToo(TenASecond):
    """As long for several searches."""

    name = "with score_many"

    def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> list[list[float]]:
        time.sleep(CALL_S)
        return [[float(hit.rank) for hit in hits] for _, hits in searches]


class Recorded(NamedTuple):
    reasons: dict[str, int]
    late: int


def recorded(session: nbproxy.Session) -> Recorded:
    """How many searches had which reason, and how many late scores there are."""
    session.flush(60)
    frame, hits = session.frame, session.hits
    reasons = Counter("reranked" if reranked else reason for reranked, reason in zip(frame.reranked, frame.reason))  # noqa: B905
    return Recorded(dict(reasons), int(hits.exchange_id[hits.role == "shadow"].nunique()))


def main(quick: bool = False) -> None:
    seconds = 3 if quick else 15
    cases = [(model, deadline) for model in (TenASecond(), TogetherToo()) for deadline in (0.5, 2.0)]
    heads = ("model", "deadline", "searches", "p50 ms", "p99 ms", "max ms", "over the deadline, p99", "reranked /s",
             "deadline", "overloaded", "late scores")  # fmt: skip
    print(table(heads, [_row(model, deadline, seconds) for model, deadline in cases]))


def _row(model: Any, deadline: float, seconds: float) -> tuple[str, ...]:
    with temporary_folder() as folder, peers.upstream(folder) as upstream:
        options = {"model": model, "deadline": deadline, "record": folder / "recording"}
        with Proxy("nbproxy", upstream.port, **options) as proxy:
            times, _ = during(proxy, CLIENTS, lambda: time.sleep(seconds))
            reasons, late = proxy.ask(recorded)
    if sum(reasons.values()) != len(times):
        raise RuntimeError(f"{len(times)} searches were answered, recorded were {reasons}")
    cuts = statistics.quantiles(times, n=100)
    return (
        model.name,
        f"{deadline:g} s",
        f"{len(times):,}",
        *(f"{each:,.0f}" for each in (cuts[49], cuts[98], max(times))),
        f"{cuts[98] - deadline * 1e3:+,.0f} ms",
        f"{reasons.get('reranked', 0) / seconds:.1f}",
        *(f"{reasons.get(reason, 0):,}" for reason in ("deadline", "overloaded")),
        f"{late:,}",
    )
