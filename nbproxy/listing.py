"""What a view asks of a recording: a page of its exchanges, one of them whole, every order of one search.

Laws: a page is found by walking the columns in slices from where it begins, and stops as soon as it is full, so that
the newest of a million rows cost as much as the newest of a hundred; no bodies are read for it. Nothing here changes
anything, and nothing is kept between two questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .controls import Asking, Line, Listed, Place, Sight
from .frames import FRAME_COLUMNS, conform
from .pages import Pages, Run, numbered
from .segments import HITS, ROWS, Kind

SLICE_ROWS = 8192
MOST = 1000
_LISTED = tuple(name for name in Line.__struct_fields__ if name in FRAME_COLUMNS)
_ROLES = {"served": 0, "shadow": 1, "replay": 2}
_TEXTS = ("query", "target", "error")


def listed(pages: Pages, asking: Asking) -> Listed:
    """The page that is asked for."""
    runs = pages.runs(ROWS, _LISTED)
    count = max(1, min(asking.count, MOST))
    found: list[tuple[int, Any]] = []
    begin = runs[-1].end if asking.before is None else min(asking.before, runs[-1].end)
    slices = _backwards(runs, begin) if asking.after is None else _forwards(runs, asking.after)
    for at, table in slices:
        places = np.flatnonzero(_mask(table, asking))
        places = places[::-1] if asking.after is None else places
        found += [(at + int(place), table.slice(int(place), 1)) for place in places[: count - len(found)]]
        begin = at
        if len(found) == count:
            begin = found[-1][0]
            break
    found.sort(key=lambda pair: -pair[0])
    lines = _lines([table for _, table in found])
    return Listed(
        lines=lines,
        numbers=tuple(number for number, _ in found),
        begin=found[-1][0] if found and asking.after is not None else begin,
        first=runs[0].begin,
        total=runs[-1].end,
    )


def _backwards(runs: list[Run], before: int) -> Iterator[tuple[int, Any]]:
    """Slices with the number of their first row, the newest first."""
    for run in reversed(runs):
        if run.begin >= before:
            continue
        for place, table in run.backwards():
            at = run.begin + place
            for start in reversed(range(0, table.num_rows, SLICE_ROWS)):
                if at + start < before:
                    yield at + start, _conformed(table.slice(start, min(SLICE_ROWS, before - at - start)))


def _forwards(runs: list[Run], after: int) -> Iterator[tuple[int, Any]]:
    for run in runs:
        if run.end <= after:
            continue
        skip = max(0, after - run.begin)
        for at, table in numbered(run.pieces(skip), run.begin + skip):
            for start in range(0, table.num_rows, SLICE_ROWS):
                yield at + start, _conformed(table.slice(start, SLICE_ROWS))


def _conformed(table: Any) -> Any:
    return conform(table, {name: FRAME_COLUMNS[name] for name in _LISTED})


def _mask(table: Any, asking: Asking) -> Any:
    """Which rows are asked for."""
    masks = [pc.not_equal(table["route"], "own")]
    masks += [pc.equal(table[name], value) for name in ("route", "model") if (value := getattr(asking, name))]
    if asking.reason:
        masks.append(table["reranked"] if asking.reason == "reranked" else pc.equal(table["reason"], asking.reason))
    if asking.status:
        masks.append(_of_status(table["status"], asking.status))
    if asking.text:
        found = [pc.match_substring(table[name], asking.text, ignore_case=True) for name in _TEXTS]
        masks.append(pc.or_kleene(pc.or_kleene(*found[:2]), found[2]))
    return np.logical_and.reduce([np.asarray(pc.fill_null(mask, False)) for mask in masks])


def _of_status(column: Any, wanted: str) -> Any:
    if wanted[:1].isdecimal() and wanted[1:] == "xx":
        return pc.equal(pc.divide(column, 100), int(wanted[0]))
    return pc.equal(column, int(wanted) if wanted.isdecimal() and len(wanted) < 6 else -1)


def _lines(rows: list[Any]) -> tuple[Line, ...]:
    if not rows:
        return ()
    table = pa.concat_tables(rows)
    place = table.schema.get_field_index("started")
    micros = table.set_column(place, "started", pc.cast(table["started"], pa.int64()))
    return tuple(Line(**{**row, "reranked": bool(row["reranked"])}) for row in micros.to_pylist())


# -- one exchange


def sights(pages: Pages, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
    """Every recorded order of one search, ``served`` first."""
    rows = _hits_of(pages, exchange_id)
    groups: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["part"] == part:
            key = (_ROLES.get(row["role"], 9), row["model"] or "", row["model_fingerprint"] or "")
            groups.setdefault(key, []).append(row)
    return tuple(_sight(group) for _, group in sorted(groups.items()))


def _hits_of(pages: Pages, exchange_id: str) -> list[dict[str, Any]]:
    """The rows of ``hits`` that belong to one exchange."""
    return _rows_of(pages, HITS, sorted(_numbers_of(pages, HITS, exchange_id)))


def _numbers_of(pages: Pages, kind: Kind, exchange_id: str) -> list[int]:
    """The numbers of an exchange's rows, the newest first."""
    numbers: list[int] = []
    for run in reversed(pages.runs(kind, ("exchange_id",))):
        for place, table in run.holding(exchange_id):
            there = np.flatnonzero(np.asarray(pc.equal(table["exchange_id"], exchange_id)))
            numbers += [run.begin + place + int(number) for number in there[::-1]]
    return numbers


def row(pages: Pages, exchange_id: str, part: int | None = None) -> dict[str, Any] | None:
    """One row of the frame, bodies included; None: it is not recorded. Of the others only the ids are looked at."""
    found = _rows_of(pages, ROWS, sorted(_numbers_of(pages, ROWS, exchange_id)))
    return next((one for one in found if one["part"] == part), None)


def _rows_of(pages: Pages, kind: Kind, numbers: list[int]) -> list[dict[str, Any]]:
    """Whole rows by their numbers (sorted), texts included."""
    found: list[dict[str, Any]] = []
    wanted = set(numbers)
    for run in pages.runs(kind, tuple(kind.columns)) if numbers else ():
        while wanted and run.begin <= min(wanted) < run.end:
            begin = min(wanted)
            piece = next(iter(run.pieces(begin - run.begin)))
            there = sorted(number for number in wanted if number < begin + piece.num_rows)
            found += conform(piece.take([number - begin for number in there]), kind.columns).to_pylist()
            wanted -= set(there)
    return found


def _sight(rows: list[dict[str, Any]]) -> Sight:
    first = rows[0]
    return Sight(
        exchange_id=first["exchange_id"],
        part=first["part"],
        query=first["query"],
        model=first["model"],
        role=first["role"],
        places=tuple(_place(row) for row in sorted(rows, key=lambda row: row["original_rank"] or 0)),
    )


def _place(row: dict[str, Any]) -> Place:
    score = row["score"]
    return Place(
        doc_id=row["doc_id"],
        index=row["index"],
        original_rank=row["original_rank"],
        rank=row["rank"],
        score=None if score is None or score != score else score,
        text=row["text"],
        returned=bool(row["returned"]),
    )
