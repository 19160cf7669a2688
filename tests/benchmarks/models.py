"""How fast the transformers rerankers score, against others on the same weights in the same run; and what a precision
costs, by judgments (``model_quality``).

The packaged MiniLM's body (6 layers, 384 wide) as a cross-encoder, whose head is fitted here to the same model's scores
as a bi-encoder, on every second query (no cross-encoder comes in a package); its nDCG is of the other queries. That is
no good cross-encoder, so two more tables have the nDCG of one that is trained here end to end (``model_trained``), and
of the packaged model as it was trained. 20 queries with 50 passages of 8 to 300 words each. All sides compute on one
thread; rounds are interleaved, and what counts is the processor time, which other work on the machine changes less than
the clock's.
"""

from __future__ import annotations

import os
import random
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import nbproxy
from nbproxy.rerankers import packaged_minilm
from nbproxy.rerankers.backends import has_bfloat16

from .machine import SHARED, temporary_folder
from .model_peers import PEER, Way, peers
from .model_quality import HALVES, Judged, Pairs, Values, compared, judged, ndcg, said
from .model_trained import trained
from .report import table

QUERIES, PASSAGES, WORDS = 20, 50, (8, 300)
RIDGE = 0.01
FASTEST = ("torch float32", "onnx float32", "openvino float32", "torch bfloat16", "openvino bfloat16", "openvino int8")
PRECISIONS = ("openvino float32", "openvino bfloat16", "openvino int8")


def main(quick: bool = False) -> None:
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    with temporary_folder() as folder, quiet():
        collections = [judged(name, 8 if quick else None) for name in _there()]
        seen, unseen = ([each.half(which) for each in collections] for which in HALVES)
        model = cross_encoder(folder / "model", seen)
        pairs = workload(collections, QUERIES // 10 if quick else QUERIES)
        with peers(model) as theirs:
            ways = [*theirs, *ours(nbproxy.CrossEncoder, model, FASTEST, seen, cache=0)]
            print(f"\n{len(pairs)} queries × {PASSAGES} passages, one thread; torch {torch.__version__}\n")
            print(table(*figures(ways, pairs, unseen)), flush=True)
        print("\n" + table(*cached(model, pairs)), flush=True)
        torch.set_num_threads(os.cpu_count() or 1)  # from here on nothing is timed
        end_to_end = [trained(folder / f"trained-{n}", [each.half(n) for each in collections]) for n in HALVES]
        for make, models, what in (
            (nbproxy.CrossEncoder, end_to_end, "a cross-encoder trained end to end"),
            (nbproxy.BiEncoder, [packaged_minilm()] * 2, "all-MiniLM-L6-v2, as it was trained"),
        ):
            print("\n" + table(*judgments(make, models, what, collections)), flush=True)


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
    seen = [pair for each in collections for pair in each.pairs]
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


def workload(collections: list[Judged], count: int) -> Pairs:
    """Queries with passages of 8 to 300 words, made of the collections' words in their order."""
    rng = random.Random(7)
    words = [word for each in collections for _, texts in each.pairs for text in texts for word in text.split()]
    queries = [query for each in collections for query, _ in each.pairs]

    def passage() -> str:
        start = rng.randrange(len(words) - WORDS[1])
        return " ".join(words[start : start + rng.randint(*WORDS)])

    return [(rng.choice(queries), [passage() for _ in range(PASSAGES)]) for _ in range(count)]


def ours(
    make: Callable[..., Any], model: Path, names: Sequence[str], collections: list[Judged], **options: Any
) -> list[Way]:
    """Backends and precisions that this CPU has; int8 is calibrated on the collections' searches."""
    there = [name for name in names if has_bfloat16() or not name.endswith("bfloat16")]
    traffic = [pair for each in collections for pair in each.pairs]
    return [_way(make, model, *name.split(), traffic, options) for name in there]


def _way(
    make: Callable[..., Any], model: Path, backend: str, precision: str, traffic: Pairs, options: dict[str, Any]
) -> Way:
    if precision == "int8":
        options = options | {"calibration": traffic, "max_loss": None}
    reranker = make(model, backend=backend, precision=precision, device="cpu", **options)
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
    quality, lines = _qualities(ways, collections), []
    for way in ways:
        agreement = np.mean([_rank_correlation(*both) for both in zip(scores[way.name], scores[PEER], strict=True)])
        beside = f"{_ratio(spent[way.name], spent[way.like]):.2f}×" if way.like in spent else "–"
        speed = f"{_ratio(spent[PEER], spent[way.name]):.2f}×"
        lines.append([way.name, speed, beside, f"{agreement:.5f}", *quality.get(way.name, ["–"] * len(collections))])
    heads = ["same weights, float32 unless said", "speed", "ours beside it", "rank correlation"]
    return [*heads, *(f"nDCG@10 {each.name}" for each in collections)], lines


def _qualities(ways: list[Way], collections: list[Judged]) -> dict[str, list[str]]:
    """Of ours by name. float32 orders alike everywhere, as the rank correlation shows, and is measured once."""
    own = {way.name: way.score for way in ways if way.like is None and way.name != PEER}
    plain = [ndcg(own["openvino float32"], each) for each in collections]
    alike = [PEER, *(name for name in own if name.endswith(" float32"))]
    same = {name: [f"{values.mean():.4f}" for values in plain] for name in alike}
    other = {name: [ndcg(score, each) for each in collections] for name, score in own.items() if name not in same}
    return same | {name: [said(*both) for both in zip(found, plain, strict=True)] for name, found in other.items()}


def _ratio(others: list[float], own: list[float]) -> float:
    """How many times as fast as another, the median of rounds."""
    return statistics.median(base / spent for base, spent in zip(others, own, strict=True))


def judgments(
    make: Callable[..., Any], models: Sequence[Path], what: str, collections: list[Judged]
) -> tuple[list[str], list[list[str]]]:
    """A model in every precision, by people's judgments of all queries.

    :param models: two, each of which saw the half of the queries that has its number; it is measured on the others.
    """
    found: dict[str, list[list[Values]]] = {}
    for half, model in zip(HALVES, models, strict=True):
        for way in ours(make, model, PRECISIONS, [each.half(half) for each in collections]):
            values = [ndcg(way.score, each.half(1 - half)) for each in collections]
            found.setdefault(way.name, []).append(values)
    whole = [[np.concatenate(parts) for parts in zip(*halves, strict=True)] for halves in found.values()]
    heads = [f"nDCG@10 {each.name}, {len(each.pairs)} queries (lost; 95 % interval)" for each in collections]
    return [what, *heads], compared([*found], whole)


def _timed(way: Way, pairs: Pairs) -> tuple[list[Any], float]:
    began = way.clock()
    scores = [np.asarray(way.score(query, texts), dtype=np.float64) for query, texts in pairs]
    return scores, way.clock() - began


def _rank_correlation(one: Any, other: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def cached(model: Path, pairs: Pairs) -> tuple[list[str], list[list[str]]]:
    """What a search costs whose texts were scored before."""
    reranker = nbproxy.CrossEncoder(model, device="cpu")
    way = Way("", reranker)
    (cold, first), (warm, second) = _timed(way, pairs[:2]), _timed(way, pairs[:2])
    if not all(np.array_equal(a, b) for a, b in zip(cold, warm, strict=True)):
        raise RuntimeError("kept scores are not those that were computed")
    return ["the same searches again", "speed"], [["first", "1×"], ["from the cache", f"{first / second:.0f}×"]]
