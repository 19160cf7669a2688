"""Reading, widening, reordering and writing 100 hits of 1 KB, against ``json`` and ``msgspec`` decoding and encoding
the same answer once."""

from __future__ import annotations

import json
import timeit

import msgspec

from nbproxy.dialects import Elasticsearch
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

RUNS = 300


def answer(hits: int = 100, size: int = 1000) -> bytes:
    words = "red shoes lamp river engine mountain paper quiet garden bright " * (size // 60)
    rows = [
        {
            "_index": "books",
            "_id": str(n),
            "_score": 9.5 - n / 100,
            "_source": {"title": f"document {n}", "body": words},
        }
        for n in range(hits)
    ]
    return json.dumps({"took": 3, "hits": {"total": {"value": hits}, "max_score": 9.5, "hits": rows}}).encode()


def main(quick: bool = False) -> None:
    dialect, body = Elasticsearch(), answer()
    request = Request("POST", "/books/_search", Headers(), b'{"query":{"match":{"body":"red shoes"}},"size":10}')
    order = list(range(99, 89, -1))

    def ours() -> None:
        search = dialect.read_search(request)
        assert isinstance(search, Search)
        widened = dialect.widen(request, search, 100)
        found = dialect.read_hits(body, search, undo=widened.undo)
        dialect.write_hits(found, order)

    peers = {
        "json": lambda: json.dumps(json.loads(body)),
        "msgspec": lambda: msgspec.json.encode(msgspec.json.decode(body)),
    }
    mine = min(timeit.repeat(ours, number=RUNS, repeat=3)) / RUNS
    print(f"{len(body) / 1000:.0f} KB: {mine * 1e3:.2f} ms", end="")
    for name, peer in peers.items():
        theirs = min(timeit.repeat(peer, number=RUNS, repeat=3)) / RUNS
        print(f", {mine / theirs:.2f}x of {name} loads+dumps ({theirs * 1e3:.2f} ms)", end="")
    print()


if __name__ == "__main__":
    main()
