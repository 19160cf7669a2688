"""What upstream answers: JSON of 0.65 KB, 6.6 KB, 33 KB and 1 MB, as a search engine would write it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SIZES = {"small": 650, "short": 6_600, "middle": 33_000, "big": 1_000_000}
HITS = {"small": 1, "short": 10, "middle": 50, "big": 1_000}
WORDS = [
    "lamp", "river", "engine", "mountain", "paper", "quiet", "garden", "bright", "kettle", "window", "copper", "thread",
    "winter", "market", "bridge", "salt", "harbour", "ladder", "mirror", "orchard", "pocket", "railway", "shelter",
    "timber", "velvet", "wagon", "yellow", "anchor", "basket", "candle",
]  # fmt: skip


def answers(folder: Path) -> None:
    """Write the files into ``folder``."""
    for name in SIZES:
        (folder / name).write_bytes(answer(name))


def answer(name: str) -> bytes:
    """An answer to a search, exactly ``SIZES[name]`` bytes with ``HITS[name]`` hits."""
    size, hits = SIZES[name], HITS[name]
    short = size - len(_encoded([""] * hits))
    words = random.Random(name)
    return _encoded([_text(words, short // hits + (n < short % hits)) for n in range(hits)])


def _text(words: random.Random, length: int) -> str:
    return " ".join(words.choices(WORDS, k=length // 3))[:length]


def _encoded(texts: list[str]) -> bytes:
    return json.dumps(_searched(texts), separators=(",", ":")).encode()


def _searched(texts: list[str]) -> dict[str, Any]:
    rows = [
        {"_index": "idx", "_id": f"{n:06}", "_score": 50.5 - n / 64, "_source": {"title": f"item {n:06}", "body": text}}
        for n, text in enumerate(texts)
    ]
    total = {"value": 10_000, "relation": "gte"}
    shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
    hits = {"total": total, "max_score": 50.5, "hits": rows}
    return {"took": 3, "timed_out": False, "_shards": shards, "hits": hits}
