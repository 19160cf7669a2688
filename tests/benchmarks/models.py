"""How fast the transformers rerankers score, against sentence-transformers on the same weights in the same run.

The packaged MiniLM's body (6 layers, 384 wide) as a cross-encoder whose head is drawn at random (no cross-encoder
comes in a package), so its nDCG is low for all and tells only what a precision changes: 20 queries with 50 passages of
8 to 300 words each. All sides compute on one thread; rounds are interleaved, and what counts is the processor time,
which other work on the machine changes less than the clock's.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import nbproxy
from nbproxy import datasets
from nbproxy.rerankers import packaged_minilm

from .machine import ROOT, temporary_folder
from .report import table

QUERIES, PASSAGES, WORDS = 20, 50, (8, 300)
CANDIDATES = 20  # of each judged query
FLASHRANK = ROOT / ".venv-bench" / "flashrank"
PEER = "CrossEncoder.predict"
SHARED = Path(os.environ.get("NBPROXY_SHARED", ROOT.parent / "shared"))

Pairs = list[tuple[str, list[str]]]
Score = Callable[[str, list[str]], Any]


class Way(NamedTuple):
    """One way to score, and its name."""

    name: str
    score: Score


class Judged(NamedTuple):
    """Searches of a collection: candidates by BM25, and what is relevant."""

    name: str
    pairs: Pairs
    ids: list[tuple[str, list[str]]]
    qrels: pd.DataFrame


def main(quick: bool = False) -> None:
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    with temporary_folder() as folder, quiet():
        model = cross_encoder(folder / "model")
        collections = [judged(name, quick) for name in _there()]
        pairs = workload(collections, QUERIES // 10 if quick else QUERIES)
        ways = [*peers(model), *ours(model, collections)]
        print(f"{len(pairs)} queries × {PASSAGES} passages, one thread; torch {torch.__version__}\n")
        print(table(*figures(ways, pairs, collections)))
        print("\n" + table(*cached(model, pairs)))


@contextmanager
def quiet() -> Iterator[None]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cross_encoder(folder: Path) -> Path:
    """MiniLM's body under a head drawn at random, saved."""
    import torch
    import transformers

    torch.manual_seed(0)
    body = packaged_minilm()
    transformers.AutoModelForSequenceClassification.from_pretrained(body, num_labels=1).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(body).save_pretrained(folder)
    return folder


def _there() -> list[str]:
    cranfield = SHARED / "data" / "cranfield"
    return ["household", *([str(cranfield)] if cranfield.is_dir() else [])]


def judged(name: str, quick: bool) -> Judged:
    """A collection's queries with the 20 candidates that BM25 finds."""
    grades = datasets.CRANFIELD_GRADES if name.endswith("cranfield") else None
    collection = datasets.load(name, grades=grades)
    queries = collection.queries.head(6 if quick else 25)
    ids = list(collection.documents["doc_id"])
    texts = [f"{t}\n{x}" for t, x in zip(collection.documents["title"], collection.documents["text"], strict=True)]
    found = [(row.query_id, row.query, _best(row.query, texts)) for row in queries.itertuples()]
    return Judged(
        Path(name).name,
        [(query, [texts[place] for place in places]) for _, query, places in found],
        [(query_id, [ids[place] for place in places]) for query_id, _, places in found],
        collection.qrels[collection.qrels["query_id"].isin(queries["query_id"])],
    )


def _best(query: str, texts: list[str]) -> Any:
    return np.argsort(-np.array(_bm25()(query, texts)), kind="stable")[:CANDIDATES]


def _bm25() -> Any:
    return nbproxy.as_reranker("bm25")


def workload(collections: list[Judged], count: int) -> Pairs:
    """Queries with passages of 8 to 300 words, made of the collections' words in their order."""
    rng = random.Random(7)
    words = [word for each in collections for _, texts in each.pairs for text in texts for word in text.split()]
    queries = [query for each in collections for query, _ in each.pairs]

    def passage() -> str:
        start = rng.randrange(len(words) - WORDS[1])
        return " ".join(words[start : start + rng.randint(*WORDS)])

    return [(rng.choice(queries), [passage() for _ in range(PASSAGES)]) for _ in range(count)]


def peers(model: Path) -> list[Way]:
    """sentence-transformers with its defaults, which the others are compared with; FlashRank where it is installed.

    sentence-transformers' own ONNX and OpenVINO backends are left out: the packages that they need (optimum-onnx,
    optimum-intel) exclude the transformers and torch that all others here are measured with.
    """
    from sentence_transformers import CrossEncoder

    plain = CrossEncoder(str(model), device="cpu")
    ways = [Way(PEER, lambda query, texts: plain.predict([(query, text) for text in texts]))]
    return [*ways, flashrank(model)] if FLASHRANK.is_dir() else ways


def flashrank(model: Path) -> Way:
    """FlashRank on the same weights: transformers' graph, unchanged, in float32 and on one thread."""
    import onnxruntime
    import transformers

    from nbproxy.rerankers.modules import Logits, sample_inputs
    from nbproxy.rerankers.onnx import export

    sys.path.insert(0, str(FLASHRANK))
    from flashrank import Ranker, RerankRequest

    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    sample = sample_inputs(loaded)
    folder = model.parent / "ms-marco-TinyBERT-L-2-v2"  # it takes the names that it knows
    path = folder / "flashrank-TinyBERT-L-2-v2.onnx"
    shutil.copytree(model, folder)
    (folder / "special_tokens_map.json").write_text("{}")
    export(Logits(loaded).eval(), sample | {"token_type_ids": sample["input_ids"] * 0}, path)
    ranker = Ranker(folder.name, cache_dir=str(model.parent), max_length=512, log_level="ERROR")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    ranker.session = onnxruntime.InferenceSession(str(path), options)

    def score(query: str, texts: list[str]) -> list[float]:
        passages = [{"id": place, "text": text} for place, text in enumerate(texts)]
        found = ranker.rerank(RerankRequest(query=query, passages=passages))
        return [float(each["score"]) for each in sorted(found, key=lambda each: each["id"])]

    return Way("FlashRank", score)


def ours(model: Path, collections: list[Judged]) -> list[Way]:
    """Every backend and precision that this CPU has, without the cache."""
    from nbproxy.rerankers.backends import has_bfloat16

    half = [("torch", "bfloat16"), ("openvino", "bfloat16")] if has_bfloat16() else []
    chosen = [("torch", "float32"), ("onnx", "float32"), ("openvino", "float32"), *half, ("openvino", "int8")]
    ways = []
    for backend, precision in chosen:
        traffic = [pair for each in collections for pair in each.pairs] if precision == "int8" else None
        reranker = nbproxy.CrossEncoder(
            model, backend=backend, precision=precision, device="cpu", cache=0, calibration=traffic, max_loss=None
        )
        if reranker.report:
            print(f"{reranker.report}\n")
        ways.append(Way(f"{backend} {precision}", reranker))
    return ways


def figures(ways: list[Way], pairs: Pairs, collections: list[Judged]) -> tuple[list[str], list[list[str]]]:
    """Ratios of processor time, agreement with the peer, and nDCG@10."""
    spent: dict[str, list[float]] = {way.name: [] for way in ways}
    scores: dict[str, list[Any]] = {way.name: [] for way in ways}
    for way in ways:
        way.score(*pairs[0])  # warm
    for pair in pairs:
        for way in ways:
            found, seconds = _timed(way, [pair])
            spent[way.name].append(seconds)
            scores[way.name] += found
    rows = []
    for way in ways:
        ratios = [base / own for base, own in zip(spent[PEER], spent[way.name], strict=True)]
        agreement = np.mean([_rank_correlation(*both) for both in zip(scores[way.name], scores[PEER], strict=True)])
        measured = [f"{_ndcg(way, each):.4f}" for each in collections]
        rows.append([way.name, f"{statistics.median(ratios):.2f}×", f"{agreement:.5f}", *measured])
    heads = ["same weights, float32 unless said", "speed", "rank correlation"]
    return [*heads, *(f"nDCG@10 {each.name}" for each in collections)], rows


def _timed(way: Way, pairs: Pairs) -> tuple[list[Any], float]:
    began = time.process_time()
    scores = [np.asarray(way.score(query, texts), dtype=np.float64) for query, texts in pairs]
    return scores, time.process_time() - began


def _rank_correlation(one: Any, other: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _ndcg(way: Way, collection: Judged) -> float:
    rows = [
        {"query_id": query_id, "doc_id": doc_id, "score": float(score)}
        for (query, texts), (query_id, ids) in zip(collection.pairs, collection.ids, strict=True)
        for doc_id, score in zip(ids, way.score(query, texts), strict=True)
    ]
    found = nbproxy.evaluate(pd.DataFrame(rows), collection.qrels, measures=["nDCG@10"])
    return float(found.summary["nDCG@10"].iloc[0])


def cached(model: Path, pairs: Pairs) -> tuple[list[str], list[list[str]]]:
    """What a search costs whose texts were scored before."""
    reranker = nbproxy.CrossEncoder(model, device="cpu")
    way = Way("", reranker)
    (cold, first), (warm, second) = _timed(way, pairs[:4]), _timed(way, pairs[:4])
    if not all(np.array_equal(a, b) for a, b in zip(cold, warm, strict=True)):
        raise RuntimeError("kept scores are not those that were computed")
    return ["the same searches again", "speed"], [["first", "1×"], ["from the cache", f"{first / second:.0f}×"]]
