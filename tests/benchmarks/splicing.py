"""Reading, widening, reordering and writing 100 hits of 1 KB, against ``orjson`` reading and writing the same answer.

Ours: the request is read and widened, the answer's hits and their texts are found, ten of the hits written in another
order. Theirs: the answer decoded and encoded once, which neither checks for repeated keys nor keeps a byte as it was.
Each figure is CPU time, the best of many short rounds taken in turn; what holds on another machine is the ratio.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec
import orjson

from nbproxy.dialects import Elasticsearch
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

from .report import table

RUNS = 20
ROUNDS = 75
DIALECT = Elasticsearch()
ORDER = range(99, 0, -10)
WORDS = "red shoes lamp river engine mountain paper quiet garden bright "
UMLAUTS = "rote Schuhe Öllampe Flüsse Räder Gebirgszüge Papier Stille Gärten größer "
KANJI = "赤い靴 灯り 川 機関車 山脈 紙 静かな庭 明るい "

PEERS: dict[str, Callable[[bytes], Any]] = {
    "orjson": lambda body: orjson.dumps(orjson.loads(body)),
    "msgspec": lambda body: msgspec.json.encode(msgspec.json.decode(body)),
    "json": lambda body: json.dumps(json.loads(body)),
}


class Case(NamedTuple):
    """An answer, and what the client asked to see of it.

    :ivar size: of a hit, in bytes.
    :ivar fields: how many more fields it has, for the same size.
    """

    name: str
    hits: int = 100
    size: int = 1000
    words: str = WORDS
    fields: int = 0
    indent: int | None = None
    shown: bytes = b""


CASES = (
    Case("100 hits of 1 KB"),
    Case("… pretty", indent=2),
    Case("… in German", words=UMLAUTS),
    Case("… in Japanese", words=KANJI),
    Case("… of 30 fields", fields=30),
    Case("… without the source", shown=b',"_source":false'),
    Case("… with the title only", shown=b',"_source":["title"]'),
    Case("50 hits of 0.65 KB", hits=50, size=650),
    Case("10 hits of 1 KB", hits=10),
)


def answer(case: Case) -> bytes:
    """As Elasticsearch writes one: no white space but where it is pretty, no escapes but those that must be."""
    hits = [
        {"_index": "books", "_id": str(n), "_score": 9.5 - n / 100, "_source": _source(n, case)}
        for n in range(case.hits)
    ]
    whole = {
        "took": 3, "timed_out": False, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {"total": {"value": 10_000, "relation": "gte"}, "max_score": 9.5, "hits": hits},
    }  # fmt: skip
    separators = (",", " : ") if case.indent else (",", ":")
    return json.dumps(whole, ensure_ascii=False, indent=case.indent, separators=separators).encode()


def _source(n: int, case: Case) -> dict[str, Any]:
    more = {f"field_{i}": f"value {n + i}" if i % 3 else n + i for i in range(case.fields)}
    source = {"title": f"document {n}", "body": "", **more}
    left = (
        case.size
        - len(json.dumps(source, separators=(",", ":")))
        - len('{"_index":"books","_id":"","_score":9.5,"_source":}')
    )
    words = case.words * (left // len(case.words.encode()) + 1)
    return source | {"body": words.encode()[:left].decode(errors="ignore")}


def ours(body: bytes, request: Request) -> bytes:
    search = DIALECT.read_search(request)
    assert isinstance(search, Search)
    widened = DIALECT.widen(request, search, 100)
    found = DIALECT.read_hits(body, search, undo=widened.undo)
    return DIALECT.write_hits(found, [i for i in ORDER if i < len(found.hits)])


def main(quick: bool = False) -> None:
    rounds = 15 if quick else ROUNDS
    rows = []
    for case in CASES:
        body, mine, theirs = measured(case, rounds)
        ratios = [f"{mine / each:.2f}×" for each in theirs.values()]
        rows.append(
            (case.name, f"{len(body) / 1000:.0f}", f"{mine * 1e3:.3f}", f"{theirs['orjson'] * 1e3:.3f}", *ratios)
        )
    heads = ("answer", "KB", "nbproxy ms", "orjson ms", *(f"over {name}" for name in PEERS))
    print(table(heads, rows))


def measured(case: Case, rounds: int) -> tuple[bytes, float, dict[str, float]]:
    """The answer, and how long it takes us and each of the peers, in seconds."""
    body = answer(case)
    text = b'{"query":{"match":{"body":"red shoes"}},"size":10' + case.shown + b"}"
    headers = Headers([(b"Content-Type", b"application/json")])

    def mine() -> bytes:
        return ours(body, Request("POST", "/books/_search", headers, text))

    _check(mine(), body)
    ways = {"nbproxy": mine, **{name: partial(peer, body) for name, peer in PEERS.items()}}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            best[name] = min(best[name], _cpu_s(way))
    return body, best.pop("nbproxy"), best


def _cpu_s(way: Callable[[], Any]) -> float:
    began = time.thread_time()
    for _ in range(RUNS):
        way()
    return (time.thread_time() - began) / RUNS


def _check(written: bytes, body: bytes) -> None:
    """What is measured is what is meant: the last hits first, and nothing but them changed."""
    there, here = json.loads(body), json.loads(written)
    wanted = [there["hits"]["hits"][i]["_id"] for i in ORDER if i < len(there["hits"]["hits"])]
    if [hit["_id"] for hit in here["hits"]["hits"]] != wanted or here["hits"]["total"] != there["hits"]["total"]:
        raise RuntimeError("an answer is not what it should be")


if __name__ == "__main__":
    main()
