"""One recorded exchange, to be looked at: what ``session.exchange(id)`` gives."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from .cards import card_html, card_text

LARGEST = 2**20  # a body beyond this is not parsed to be shown
_FIRST = 1000  # bytes of what is not JSON


class RecordedExchange:
    """One row of ``session.frame``, shown with its bodies decoded and pretty-printed, the first part of each.

    :ivar row: the row's columns as Python values.
    """

    def __init__(self, row: Mapping[str, Any], parsed: Callable[[str], Any]) -> None:
        self.row, self._parsed = row, parsed

    def __getitem__(self, column: str) -> Any:
        return self.row[column]

    @property
    def request(self) -> Any:
        """The request's JSON.

        :raises ValueError: it was not recorded, or is not JSON.
        """
        return self._parsed("request")

    @property
    def response(self) -> Any:
        """The answer's JSON, as the client got it.

        :raises ValueError: it was not recorded, or is not JSON.
        """
        return self._parsed("response")

    def __repr__(self) -> str:
        return card_text(*self._card())

    def _repr_html_(self) -> str:
        return card_html(*self._card())

    def _card(self) -> tuple[str, dict[str, object], dict[str, str]]:
        row = self.row
        title = f"{row['method']} {row['target']} → {row['status'] or 'no answer'}"
        return title, _facts(row), {f"{side} {part}": text for side, part, text in self._folded()}

    def _folded(self) -> list[tuple[str, str, str]]:
        sides = ("request", "response")
        heads = [(side, "headers", self.row[f"{side}_headers"] or "") for side in sides]
        bodies = [(side, "body", self._body(side)) for side in sides]
        return [one for one in [*bodies, *heads] if one[2]]

    def _body(self, side: str) -> str:
        body = self.row[f"{side}_body"]
        if not body:
            return ""
        if len(body) <= LARGEST:
            with contextlib.suppress(ValueError, RecursionError):
                return json.dumps(self._parsed(side), indent=2, ensure_ascii=False)
        size = self.row["bytes_in" if side == "request" else "bytes_out"]
        return str(bytes(body[:_FIRST]))[2:-1] + (f" … {size:,} bytes in all" if size > _FIRST else "")


def _facts(row: Mapping[str, Any]) -> dict[str, object]:
    """Those that are known."""
    facts: dict[str, object] = {
        "exchange": row["exchange_id"] if row["part"] is None else f"{row['exchange_id']}, part {row['part']}",
        "started": row["started"],
        "client": row["client"],
        "query": row["query"],
        "outcome": _outcome(row),
        "took": _times(row),
        "content": f"{row['bytes_in']:,} bytes in, {row['bytes_out']:,} bytes out",
        "error": row["error"],
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _outcome(row: Mapping[str, Any]) -> str:
    if row["reranked"]:
        return f"reranked by {row['model']}, the first {row['depth']} hits"
    return f"not reranked: {row['reason']}" if row["reason"] else "passed on"


def _times(row: Mapping[str, Any]) -> str | None:
    """``12.1 ms: upstream 8.0, reranking 4.1``."""
    if row["total_ms"] is None:
        return None
    spans = {"upstream": row["upstream_ms"], "reranking": row["rerank_ms"]}
    parts = ", ".join(f"{name} {value:.1f}" for name, value in spans.items() if value is not None)
    return f"{row['total_ms']:.1f} ms" + (f": {parts}" if parts else "")
