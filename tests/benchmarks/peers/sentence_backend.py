"""One of sentence-transformers' own backends, in an environment of its own (``make .venv-peers/.ready``): what its
exporters need excludes the transformers that all others are measured with. Run as a program, by that environment's
Python; it imports nothing of ours.

    python sentence_backend.py FOLDER onnx|openvino float32|default

Reads a JSON line ``[query, texts]`` and writes ``{"scores": […], "seconds": …}``, processor time of ``predict`` alone;
its first line says what it is.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from typing import Any


def cross_encoder(folder: str, backend: str, precision: str) -> Any:
    """sentence-transformers' model, on one thread. OpenVINO by itself takes bfloat16 where the CPU has it."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(1)
    options = {"onnx": _onnx, "openvino": _openvino}[backend](precision)
    return CrossEncoder(folder, backend=backend, device="cpu", model_kwargs={"export": True, **options})


def _onnx(precision: str) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return {"session_options": options}


def _openvino(precision: str) -> dict[str, Any]:
    config = {"INFERENCE_NUM_THREADS": "1"}
    return {"ov_config": config if precision == "default" else config | {"INFERENCE_PRECISION_HINT": "f32"}}


def main(folder: str, backend: str, precision: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():  # exporters print
        warnings.simplefilter("ignore")
        model = cross_encoder(folder, backend, precision)
        names = ("sentence-transformers", "transformers", "optimum", "optimum-onnx", "optimum-intel")
        print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names), file=answers, flush=True)
        for line in sys.stdin:
            query, texts = json.loads(line)
            began = time.process_time()
            scores = model.predict([(query, text) for text in texts])
            seconds = time.process_time() - began
            print(json.dumps({"scores": [float(one) for one in scores], "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
