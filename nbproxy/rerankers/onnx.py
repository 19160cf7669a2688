"""ONNX Runtime: the module exported once, kept in the user's cache directory under its fingerprint."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import ConfigError
from .backends import Inputs, Rows, missing, names_of
from .loading import libraries

_OPSET = 17  # the first with LayerNormalization, which the runtime then need not recognise


class OnnxBackend:
    """Float32 or int8 on the CPU.

    :raises ConfigError: torch cannot export the module.
    :raises MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, module: Any, sample: Mapping[str, Any], key: str) -> None:
        runtime, (torch, transformers) = _runtime(), libraries()
        versions = f"{__version__}-torch{torch.__version__}-transformers{transformers.__version__}"
        path = cache_folder() / f"{key}-{versions}.onnx"
        if not path.is_file():
            export(module, sample, path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_inputs()]  # what the module does not use is left out

    def run(self, inputs: Inputs) -> Rows:
        rows = self._session.run(None, {name: inputs[name] for name in self._names})[0]
        return np.asarray(rows, dtype=np.float32)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnx", str(error)) from error
    return onnxruntime


def cache_folder() -> Path:
    """Where exported models are kept; it may be removed at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("nbproxy") / "models"


def export(module: Any, sample: Mapping[str, Any], path: Path) -> None:
    """Write the module as ONNX, whole or not at all.

    By the exporter that traces: torch's newer one needs two more packages, and its graphs run slower.

    :raises ConfigError: torch cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        _export(module, sample, part)
        part.replace(path)
    except Exception as error:  # torch raises dozens of kinds
        raise ConfigError(f"torch cannot export this model to ONNX: {type(error).__name__}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _export(module: Any, sample: Mapping[str, Any], path: Path) -> None:
    torch, _ = libraries()
    names = names_of(sample)
    both = {0: "rows", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # notes on tracing, none of them about what the user did
        torch.onnx.export(
            module,
            tuple(sample[name] for name in names),
            str(path),
            input_names=names,
            output_names=["rows"],
            dynamic_axes=dict.fromkeys(names, both) | {"rows": {0: "rows"}},
            opset_version=_OPSET,
            dynamo=False,
        )
