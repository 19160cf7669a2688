"""Exchanges to record, and what a recorder told."""

from __future__ import annotations

from typing import Any

from nbproxy.drafts import Draft
from nbproxy.exchange import Exchange
from nbproxy.heads import RequestHead
from nbproxy.ranking import Hit, Ranking
from nbproxy.settings import Settings

T0 = 1_700_000_000_000_000  # epoch µs


def exchange(number: int, **fields: Any) -> Exchange:
    """The ``number``-th exchange: ids and times rise with it."""
    known: dict[str, Any] = {"exchange_id": f"{number:08d}", "started": T0 + number, "method": "GET", "target": "/"}
    return Exchange(**(known | fields))


def ranking(*scores: float | None, role: Any = "served", model: str | None = "m", **fields: Any) -> Ranking:
    """Hits ``d0, d1 …`` in upstream's order with these scores; the order of the ranks is the same."""
    n = len(scores)
    hits = tuple(Hit("docs", f"d{i}", i + 1, 10.0 - i, f"text {i}", **fields) for i in range(n))
    return Ranking(role, model, "f", hits, scores, tuple(range(1, n + 1)), (True,) * n)


def draft(n: int, body: bytes = b"answer", model: Any = None) -> Draft:
    """The ``n``-th plain exchange, ended: as the loop hands it over."""
    head = RequestHead(b"GET", b"/%d?api_key=secret" % n, 1, b"Host: a\r\nAuthorization: Basic eA==\r\n")
    one = Draft(lambda _: None, "127.0.0.1:1", head, Settings(model=model), "pass", float(n))
    one.respond(200, b"Content-Length: 6\r\n")
    one.received(b"asked")
    one.returned(body)
    one.answered()
    one.finish()
    return one


class Told(list[tuple[str, str | None, BaseException]]):
    """An ``on_error`` that remembers."""

    def __call__(self, where: str, exchange_id: str | None, error: BaseException) -> None:
        self.append((where, exchange_id, error))
