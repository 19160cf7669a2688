"""How fast the transformers rerankers score, against others on the same weights in the same run; and what a precision
costs, by judgments.

The packaged MiniLM's body (6 layers, 384 wide) as a cross-encoder, whose head is fitted here to the same model's scores
as a bi-encoder, on every second query (no cross-encoder comes in a package); what is measured are the other queries.
That is no good cross-encoder, so two more tables have the nDCG of one that is trained here end to end
(``model_trained``), and of the packaged model as it was trained. One swap at the top of one of Cranfield's 60 measured
queries moves its mean by as much as 2 %, which is more than a precision is allowed to lose: read the rank correlation
too. 20 queries with 50 passages of 8 to 300 words each. All sides compute on one thread; rounds are interleaved, and
what counts is the processor time, which other work on the machine changes less than the clock's.
"""

from __future__ import annotations

import os
import random
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import nbproxy
from nbproxy import datasets
from nbproxy.rerankers import packaged_minilm
from nbproxy.rerankers.backends import has_bfloat16

from .machine import SHARED, temporary_folder
from .model_peers import PEER, Way, peers
from .model_trained import trained
from .report import table

QUERIES, PASSAGES, WORDS = 20, 50, (8, 300)
CANDIDATES, ASKED = 20, 120  # of each judged query; and of these, every second one seen, the others measured
RIDGE = 0.01
FASTEST = ("torch float32", "onnx float32", "openvino float32", "torch bfloat16", "openvino bfloat16", "openvino int8")
PRECISIONS = ("torch float32", "openvino bfloat16", "openvino int8")  # float32 is the same everywhere

Pairs = list[tuple[str, list[str]]]


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
        collections = [judged(name, quick) for name in _there()]
        model = cross_encoder(folder / "model", collections)
        pairs = workload(collections, QUERIES // 10 if quick else QUERIES)
        with peers(model) as theirs:
            ways = [*theirs, *ours(nbproxy.CrossEncoder, model, FASTEST, collections)]
            print(f"\n{len(pairs)} queries × {PASSAGES} passages, one thread; torch {torch.__version__}\n")
            print(table(*figures(ways, pairs, collections)), flush=True)
        end_to_end = trained(folder / "trained", collections)
        for make, model_of, what in (
            (nbproxy.CrossEncoder, end_to_end, "a cross-encoder trained end to end"),
            (nbproxy.BiEncoder, packaged_minilm(), "all-MiniLM-L6-v2, as it was trained"),
        ):
            print("\n" + table(*judgments(make, model_of, what, collections)), flush=True)
        print("\n" + table(*cached(model, pairs)))


@contextmanager
def quiet() -> Iterator[None]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cross_encoder(folder: Path, collections: list[Judged]) -> Path:
    """MiniLM's body under a head that repeats, as far as it can, what the model says as a bi-encoder; saved."""
    import torch
    import transformers

    torch.manual_seed(0)
    body = packaged_minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(body)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(body, num_labels=1).eval()
    seen = [pair for each in collections for pair in each.pairs[::2]]
    with torch.inference_mode():
        rows = [model.bert(**_inputs(tokenizer, *pair)).pooler_output for pair in seen]
        bi_encoder: Any = nbproxy.as_reranker("minilm")
        _fit(model.classifier, torch.cat(rows).double(), torch.tensor(np.concatenate([bi_encoder(*p) for p in seen])))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _inputs(tokenizer: Any, query: str, texts: list[str]) -> Any:
    return tokenizer([query] * len(texts), texts, truncation=True, max_length=256, padding=True, return_tensors="pt")


def _fit(head: Any, rows: Any, wanted: Any) -> None:
    """Ridge regression; then widened, so that scores lie in the sigmoid's middle and not all in one place."""
    import torch

    centred, middle = rows - rows.mean(0), rows.mean(0)
    weights = torch.linalg.solve(centred.T @ centred + RIDGE * torch.eye(rows.shape[1]).double(), centred.T @ wanted)
    weights /= (centred @ weights).std()
    head.weight.copy_(weights[None])
    head.bias.copy_(-middle @ weights[None].T)


def _there() -> list[str]:
    cranfield = SHARED / "data" / "cranfield"
    return ["household", *([str(cranfield)] if cranfield.is_dir() else [])]


def judged(name: str, quick: bool) -> Judged:
    """A collection's queries with the 20 candidates that BM25 finds."""
    grades = datasets.CRANFIELD_GRADES if name.endswith("cranfield") else None
    collection = datasets.load(name, grades=grades)
    queries = collection.queries.head(8 if quick else ASKED)
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


def ours(make: Callable[..., Any], model: Path, names: Sequence[str], collections: list[Judged]) -> list[Way]:
    """Backends and precisions that this CPU has, without the cache."""
    there = [name for name in names if has_bfloat16() or not name.endswith("bfloat16")]
    return [_way(make, model, *name.split(), collections) for name in there]


def _way(make: Callable[..., Any], model: Path, backend: str, precision: str, collections: list[Judged]) -> Way:
    traffic = [pair for each in collections for pair in each.pairs] if precision == "int8" else None
    reranker = make(
        model, backend=backend, precision=precision, device="cpu", cache=0, calibration=traffic, max_loss=None
    )
    if reranker.report:
        print(reranker.report, flush=True)
    return Way(f"{backend} {precision}", reranker)


def figures(ways: list[Way], pairs: Pairs, collections: list[Judged]) -> tuple[list[str], list[list[str]]]:
    """Ratios of processor time, agreement with the first, and what was lost of nDCG@10."""
    spent: dict[str, list[float]] = {way.name: [] for way in ways}
    scores: dict[str, list[Any]] = {way.name: [] for way in ways}
    for way in ways:
        way.score(pairs[0][0], pairs[0][1][:8])  # warm
    for pair in pairs:
        for way in ways:
            found, seconds = _timed(way, [pair])
            spent[way.name].append(seconds)
            scores[way.name] += found
    quality = [_qualities(way, collections) if way.like is None else ["–"] * len(collections) for way in ways]
    rows = []
    for way, measured in zip(ways, quality, strict=True):
        agreement = np.mean([_rank_correlation(*both) for both in zip(scores[way.name], scores[PEER], strict=True)])
        beside = f"{_ratio(spent[way.name], spent[way.like]):.2f}×" if way.like in spent else "–"
        speed = f"{_ratio(spent[PEER], spent[way.name]):.2f}×"
        rows.append([way.name, speed, beside, f"{agreement:.5f}", *measured])
    heads = ["same weights, float32 unless said", "speed", "ours beside it", "rank correlation"]
    return [*heads, *(f"nDCG@10 {each.name}" for each in collections)], rows


def _ratio(others: list[float], own: list[float]) -> float:
    """How many times as fast as another, the median of rounds."""
    return statistics.median(base / spent for base, spent in zip(others, own, strict=True))


def judgments(
    make: Callable[..., Any], model: Path, what: str, collections: list[Judged]
) -> tuple[list[str], list[list[str]]]:
    """A model in every precision, by people's judgments."""
    ways = ours(make, model, PRECISIONS, collections)
    plain = [_ndcg(ways[0], each) for each in collections]
    rows = []
    for way in ways:
        own = [_ndcg(way, each) for each in collections]
        lost = [f"{value:.4f} ({(of - value) / of:+.2%})" for value, of in zip(own, plain, strict=True)]
        rows.append([way.name, *lost])
    return [what, *(f"nDCG@10 {each.name} (lost)" for each in collections)], rows


def _qualities(way: Way, collections: list[Judged]) -> list[str]:
    return [f"{_ndcg(way, each):.4f}" for each in collections]


def _timed(way: Way, pairs: Pairs) -> tuple[list[Any], float]:
    began = way.clock()
    scores = [np.asarray(way.score(query, texts), dtype=np.float64) for query, texts in pairs]
    return scores, way.clock() - began


def _rank_correlation(one: Any, other: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _ndcg(way: Way, collection: Judged) -> float:
    rows = [
        {"query_id": query_id, "doc_id": doc_id, "score": float(score)}
        for (query, texts), (query_id, ids) in _measured(collection)
        for doc_id, score in zip(ids, way.score(query, texts), strict=True)
    ]
    found = nbproxy.evaluate(pd.DataFrame(rows), collection.qrels, measures=["nDCG@10"])
    return float(found.summary["nDCG@10"].iloc[0])


def _measured(collection: Judged) -> list[Any]:
    """The queries that nothing was fitted or calibrated on."""
    return list(zip(collection.pairs, collection.ids, strict=True))[1::2]


def cached(model: Path, pairs: Pairs) -> tuple[list[str], list[list[str]]]:
    """What a search costs whose texts were scored before."""
    reranker = nbproxy.CrossEncoder(model, device="cpu")
    way = Way("", reranker)
    (cold, first), (warm, second) = _timed(way, pairs[:2]), _timed(way, pairs[:2])
    if not all(np.array_equal(a, b) for a, b in zip(cold, warm, strict=True)):
        raise RuntimeError("kept scores are not those that were computed")
    return ["the same searches again", "speed"], [["first", "1×"], ["from the cache", f"{first / second:.0f}×"]]
