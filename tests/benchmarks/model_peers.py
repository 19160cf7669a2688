"""Whom the transformers rerankers are measured beside: sentence-transformers with its defaults and with its own ONNX
and OpenVINO backends, and FlashRank; all on the same weights and on one thread.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbproxy.rerankers.backends import has_bfloat16

from .machine import ROOT, Missing
from .peers import HERE

PEER = "CrossEncoder.predict"
BACKENDS = (("onnx", "float32"), ("openvino", "float32"), ("openvino", "default"))
PYTHON = ROOT / ".venv-peers" / "bin" / "python"

Score = Callable[[str, list[str]], Any]


class Way(NamedTuple):
    """One way to score.

    :ivar clock: the processor time, in seconds, that it has taken so far.
    :ivar like: the name of ours that is to be no slower; None for what is ours.
    """

    name: str
    score: Score
    clock: Callable[[], float] = time.process_time
    like: str | None = None


@contextlib.contextmanager
def peers(model: Path) -> Iterator[list[Way]]:
    """All of them; the first is the one that the others are compared with."""
    from sentence_transformers import CrossEncoder

    plain = CrossEncoder(str(model), device="cpu")
    ways = [Way(PEER, lambda query, texts: plain.predict([(query, text) for text in texts])), flashrank(model)]
    with contextlib.ExitStack() as running:
        yield [*ways, *(running.enter_context(own_backend(model, *each)) for each in BACKENDS)]


@contextlib.contextmanager
def own_backend(model: Path, backend: str, precision: str) -> Iterator[Way]:
    """One of sentence-transformers' own backends, in a process of another environment, on a copy of the model."""
    if not PYTHON.is_file():
        raise Missing(f"{PYTHON} is not there; this installs it: make .venv-peers/.ready")
    folder = model.parent / f"{backend}-{precision}"  # exporters write beside the weights
    shutil.copytree(model, folder)
    command = [str(PYTHON), str(HERE / "sentence_backend.py"), str(folder), backend, precision]
    with (
        (folder / "log.txt").open("w+") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        said = _Remote(process)
        if not said.versions:
            raise RuntimeError(f"{' '.join(command)} failed:\n{Path(log.name).read_text()[-2000:]}")
        half = precision == "default" and has_bfloat16()
        like = f"{backend} {'bfloat16' if half else 'float32'}"
        print(f"{folder.name}: {said.versions}", flush=True)
        name = f"its own {backend}" + ("" if precision == "float32" else ", as it chooses")
        yield Way(name, said.score, lambda: said.seconds, like)
        assert process.stdin is not None
        process.stdin.close()


class _Remote:
    """A model in another process.

    :ivar versions: of the libraries there; "": it did not start.
    :ivar seconds: processor time of all its scoring.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers, self.seconds = process.stdin, process.stdout, 0.0
        self.versions = self._answers.readline().strip()

    def score(self, query: str, texts: list[str]) -> list[float]:
        self._asked.write(json.dumps([query, texts]) + "\n")
        self._asked.flush()
        answer = json.loads(self._answers.readline())
        self.seconds += answer["seconds"]
        scores: list[float] = answer["scores"]
        return scores


def flashrank(model: Path) -> Way:
    """FlashRank on the same weights: transformers' graph, unchanged, in float32 and on one thread."""
    import onnxruntime
    import transformers
    from flashrank import Ranker, RerankRequest

    from nbproxy.rerankers.modules import Logits, sample_inputs
    from nbproxy.rerankers.onnx import export

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

    return Way("FlashRank", score, like="torch float32")
