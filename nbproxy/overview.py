"""A running proxy at one moment, as the status route and the views see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._version import __version__
from .context import Context
from .controls import Line, Place, Sight, Snapshot
from .exchange import Exchange
from .ranking import Ranking
from .recorder import Recorder
from .rerankers import BaseReranker
from .settings import Settings
from .stats import Stats, percentiles

BUILT_IN = ("original", "bm25", "words")


def status(
    place: Mapping[str, Any], uptime_s: float, context: Context, settings: Settings, recorder: Recorder, stats: Stats
) -> dict[str, Any]:
    """The status route's answer (contract §7): no bodies, no queries, no credentials."""
    return {
        "version": __version__,
        "uptime_s": round(uptime_s, 3),
        **place,
        "model": _described(settings.model),
        "shadows": [_shadow(model) for model in settings.shadow.values()],
        "counts": stats.counts(),
        "latency_ms": stats.latency_ms(),
        "recording": {
            "path": str(recorder.path) if recorder.path else None,
            "exchanges": recorder.exchanges,
            "bytes": recorder.bytes,
            "dropped": recorder.dropped,
        },
        "errors": context.error_count,
    }


def snapshot(lines: int, status: dict[str, Any], context: Context, settings: Settings, recorder: Recorder) -> Snapshot:
    """What a view looks at: the newest exchanges, and the last reranked search of those still at hand. Flush first."""
    newest = recorder.newest()
    last = next((exchange for exchange in newest if exchange.reranked and exchange.rankings), None)
    return Snapshot(
        status=status,
        lines=tuple(_line(exchange) for exchange in newest[:lines]),
        last=_sight(last) if last else None,
        models=choices(settings),
        errors=tuple(f"{note.where}: {note.message}" for note in list(context.errors)[-5:]),
    )


def choices(settings: Settings) -> tuple[str, ...]:
    """The names that ``set_model`` takes."""
    serving = [settings.model.name] if settings.model else []
    return tuple(dict.fromkeys(["none", *BUILT_IN, *settings.models, *serving]))


def sight(exchange_id: str, recorder: Recorder) -> Sight | None:
    """One search side by side, None where it is unknown or no longer at hand."""
    recorder.flush()
    found = next((exchange for exchange in recorder.newest() if exchange.exchange_id == exchange_id), None)
    return _sight(found) if found and found.rankings else None


def _described(model: Any) -> dict[str, Any] | None:
    if model is None:
        return None
    reranker = getattr(model, "reranker", model)  # a scorer's
    details = reranker.details() if isinstance(reranker, BaseReranker) else {}
    return {"name": model.name, "fingerprint": model.fingerprint, **details}


def _shadow(model: Any) -> dict[str, Any]:
    """How a shadow keeps up: searches that wait for it, that it scored, and that it was spared."""
    tally = model.tally
    counts = {"waiting": tally.waiting, "scored": tally.scored, "dropped": tally.dropped}
    return {**(_described(model) or {}), **counts, "latency_ms": percentiles(sorted(tally.took))}


def _line(exchange: Exchange) -> Line:
    return Line(**{name: getattr(exchange, name) for name in Line.__struct_fields__})


def _sight(exchange: Exchange) -> Sight:
    ranking: Ranking = exchange.rankings[0]
    places = tuple(
        Place(
            doc_id=hit.doc_id,
            index=hit.index,
            original_rank=hit.rank,
            rank=rank,
            score=None if score is None or score != score else score,
            text=hit.text,
            returned=returned,
        )
        for hit, score, rank, returned in zip(
            ranking.hits, ranking.scores, ranking.ranks, ranking.returned, strict=True
        )
    )
    return Sight(exchange_id=exchange.exchange_id, query=exchange.query, model=exchange.model, places=places)
