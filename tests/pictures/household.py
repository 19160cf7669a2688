"""What the pictures show: the household collection, asked by a client."""

from __future__ import annotations

from itertools import cycle, islice
from threading import Event

import nbproxy

STAR = "scalded my hand with boiling water"


class Asking:
    """A client of a session that asks the collection's queries, one after the other."""

    def __init__(self, session: nbproxy.Session, queries: int = 24) -> None:
        from opensearchpy import OpenSearch

        self._client = OpenSearch(session.url)
        found = nbproxy.datasets.load("household").queries
        self.star = found.index[found["query"] == STAR][0]
        self._rows = [(row.query_id, row.query) for row in found.head(queries).itertuples()]
        self._star = (found.at[self.star, "query_id"], STAR)

    def ask(self, query_id: str, query: str) -> None:
        body = {"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}}
        self._client.search(index="household", body=body, headers={"X-Opaque-Id": query_id})

    def all(self) -> None:
        """Each query once."""
        for row in self._rows:
            self.ask(*row)

    def steadily(self, n: int, pause_s: float = 0.02) -> None:
        """``n`` searches with pauses, some of them pages and documents, and the one to be shown at the end."""
        quiet = Event()
        for count, row in enumerate(islice(cycle(self._rows), n)):
            self.ask(*row)
            if count % 7 == 3:
                self._client.get(index="household", id="d001", ignore=[404])
            if count % 11 == 5:
                self._client.count(index="household")
            quiet.wait(pause_s)
        self.ask(*self._star)
