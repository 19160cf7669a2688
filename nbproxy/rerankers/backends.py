"""Where a model is computed: torch, ONNX Runtime or OpenVINO; and in which precision.

A backend gets padded token ids and gives one row for each input: a cross-encoder's logits, a bi-encoder's vector. Laws:

* nothing is imported until it is asked for; a library that is missing is named with its install command;
* ``"auto"`` chooses, and says what and why (:class:`Choice`); who names a backend or a precision gets it, or an error;
* threads are torch's: ``torch.set_num_threads(n)`` before a model is loaded holds for all three.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ..errors import ConfigError, MissingExtra
from .loading import checked_device, libraries

BackendName = Literal["torch", "onnx", "openvino"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
Rows = np.ndarray[Any, np.dtype[np.float32]]
Inputs = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]

BACKENDS: dict[str, tuple[str, str]] = {  # what it imports, and what installs it
    "torch": ("torch", 'pip install "nbproxy[torch]"'),
    "onnx": ("onnxruntime", 'pip install "nbproxy[onnx]"'),
    "openvino": ("openvino", 'pip install "nbproxy[openvino]"'),
}
PRECISIONS = ("float32", "bfloat16", "float16", "int8")

# Which backends have which precision on a CPU, the fastest first (tests/benchmarks/models.py)
_ON_CPU: dict[str, tuple[str, ...]] = {
    "float32": ("openvino", "onnx", "torch"),
    "bfloat16": ("openvino", "torch"),
    "int8": ("openvino", "onnx"),
}
# Tokens in one batch, padding included. On a CPU larger batches leave its caches; a GPU wants them.
_BUDGET = {"cpu": 1_024, "cuda": 65_536}
# How far two ways to compute may be apart, relative to the largest number
_CLOSE = {"float32": 1e-3, "bfloat16": 0.3, "int8": 1.0}
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})  # the last is Arm's


class Backend(Protocol):
    """Computes rows; called by one thread at a time."""

    def run(self, inputs: Inputs) -> Rows:
        """Shape ``(n, k)``, float32, of inputs of shape ``(n, tokens)``."""


@dataclass(frozen=True)
class Choice:
    """What a model is computed with.

    :ivar why: one line: that it was asked for, or what ``"auto"`` saw.
    :ivar auto: whether it was left to us, so that another may be taken where this one computes wrongly.
    """

    backend: str
    precision: str
    device: str
    why: str
    auto: bool = False

    @property
    def budget(self) -> int:
        """Tokens of one batch."""
        return _BUDGET.get(self.device.partition(":")[0], _BUDGET["cpu"])

    def __str__(self) -> str:
        return f"{self.backend} {self.precision} on {self.device}"


def choose(backend: str | None, precision: str | None, device: str | None) -> Choice:
    """What the arguments come to on this machine.

    :param backend: None: ``torch`` where it has the precision, else the fastest that has.
    :param precision: None: ``float16`` on a GPU, else ``float32``.
    :param device: None: the first CUDA device where there is one and torch is to compute, else the CPU.
    :raises ConfigError: there is no such backend or precision, or this machine does not have it.
    :raises MissingExtra: the backend's library is not installed.
    """
    if backend is None:
        backend = "auto" if precision == "int8" else "torch"
    if backend not in (*BACKENDS, "auto"):
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, auto, not {backend!r}")
    if precision not in (*PRECISIONS, "auto", None):
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, auto, not {precision!r}")
    where = str(device or ("cuda" if backend in ("torch", "auto") and _has_gpu() else "cpu"))
    if where.partition(":")[0] != "cpu":
        return _on_gpu(backend, precision, where)
    chosen, why = _cpu_precision(precision)
    name, reason = _cpu_backend(backend, chosen)
    said = "; ".join(part for part in (why, reason) if part) or "as asked for"
    return Choice(name, chosen, "cpu", said, auto=backend == "auto")


def _on_gpu(backend: str, precision: str | None, device: str) -> Choice:
    if backend not in ("torch", "auto"):
        raise ConfigError(f"backend={backend!r} computes on the CPU; device={device!r} needs backend='torch'")
    if precision == "int8":
        raise ConfigError(f"precision='int8' is for the CPU; device={device!r} has float32, bfloat16 and float16")
    half = precision in (None, "auto")
    why = "half precision on a GPU" if half else "as asked for"
    return Choice("torch", "float16" if half else str(precision), checked_device(device), why, auto=half)


def _cpu_precision(precision: str | None) -> tuple[str, str]:
    """On a CPU, and why."""
    if precision == "auto":
        has = has_bfloat16()
        return ("bfloat16" if has else "float32"), f"this CPU has {'bfloat16' if has else 'no bfloat16'}"
    if precision == "bfloat16" and not has_bfloat16():
        raise ConfigError(
            "precision='bfloat16' needs a CPU that computes with it (avx512_bf16, AMX or Arm's bf16); 'auto' takes "
            "what this one has"
        )
    if precision == "float16":
        raise ConfigError("precision='float16' is for a GPU; a CPU has float32, bfloat16 and int8")
    return precision or "float32", ""


def _cpu_backend(backend: str, precision: str) -> tuple[str, str]:
    able = _ON_CPU[precision]
    if backend == "auto":
        there = [name for name in able if is_installed(name)]
        if not there:
            raise missing(able[0], f"precision={precision!r} needs it")
        return there[0], f"{there[0]} is the fastest of what is installed ({', '.join(there)})"
    if backend not in able:
        raise ConfigError(f"backend={backend!r} has no precision={precision!r}; of those that do: {', '.join(able)}")
    if not is_installed(backend):
        raise missing(backend)
    return backend, ""


def missing(backend: str, why: str = "not installed") -> MissingExtra:
    """The error for a backend whose library is not there."""
    library, install = BACKENDS[backend]
    return MissingExtra(library, install, why)


def is_installed(backend: str) -> bool:
    """Whether a backend's library can be imported; it is not."""
    return find_spec(BACKENDS[backend][0]) is not None


def _has_gpu() -> bool:
    torch, _ = libraries()
    return bool(torch.cuda.is_available())


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself; emulation would be slower than float32."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return platform.system() == "Darwin" and _mac_bfloat16()
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return bool(_BF16_FLAGS & set(line.partition(":")[2].split()))


def _mac_bfloat16() -> bool:
    import subprocess

    asked = ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=5).stdout.strip() == "1"
    except (OSError, subprocess.SubprocessError):
        return False


def open_checked(choice: Choice, module: Any, sample: Sample, key: str) -> tuple[Choice, Backend]:
    """The backend that was chosen, around a module, once it has computed what torch computes.

    :param key: stands for the module in the cache of exported files.
    :raises ConfigError: it computes something else; where ``"auto"`` chose, torch computes instead.
    """
    if choice.precision == "float16":
        return _half(choice, module, sample, key)
    backend = open_backend(choice, module, sample, key)
    if choice.backend == "torch" or _agree(choice, backend, module, sample):
        return choice, backend
    # Padding that no token attends to is NaN to some runtimes where transformers leaves attention to torch.
    if hasattr(sample.model, "set_attn_implementation"):
        sample.model.set_attn_implementation("eager")
        backend = open_backend(choice, module, sample, f"{key}-eager")
        if _agree(choice, backend, module, sample):
            return choice, backend
    why = f"{choice.backend} does not compute this model as torch does"
    if not choice.auto:
        raise ConfigError(f"{why}; use backend='torch'")
    precision = "float32" if choice.precision == "int8" else choice.precision
    other = replace(choice, backend="torch", precision=precision, why=why)
    return other, open_backend(other, module, sample, key)


def _half(choice: Choice, module: Any, sample: Sample, key: str) -> tuple[Choice, Backend]:
    """float16, once it gives numbers: what is above 65,504 is infinite in it, which some models reach inside."""
    own = copy.deepcopy(module)  # rounded weights cannot be widened again
    backend = open_backend(choice, own, sample, key)
    if np.isfinite(backend.run(sample.probe)).all():
        return choice, backend
    why = "this model's numbers are too large for float16"
    if not choice.auto:
        raise ConfigError(f"{why}; use precision='float32' or 'bfloat16'")
    other = replace(choice, precision="float32", why=why)
    return other, open_backend(other, module, sample, key)


def _agree(choice: Choice, backend: Backend, module: Any, sample: Sample) -> bool:
    """Whether a backend's rows of the probe are torch's, as far as the precision goes."""
    wanted = TorchBackend(module, "cpu", "float32").run(sample.probe)
    found = backend.run(sample.probe)
    scale = max(1e-6, float(np.abs(wanted).max()))
    return bool(np.isfinite(found).all()) and float(np.abs(found - wanted).max()) <= _CLOSE[choice.precision] * scale


def open_backend(choice: Choice, module: Any, sample: Sample, key: str) -> Backend:
    """The backend that was chosen, around a module, not compared with anything."""
    if choice.backend == "torch":
        return TorchBackend(module, choice.device, choice.precision)
    if choice.backend == "onnx":
        from .onnx import OnnxBackend

        return OnnxBackend(module, sample.inputs, key)
    from .openvino import OpenVinoBackend

    return OpenVinoBackend(module, sample.inputs, choice.precision)


@dataclass(frozen=True)
class Sample:
    """Made-up inputs of a model.

    :ivar inputs: a few tokens, as tensors: for tracing; they name what the model takes.
    :ivar probe: as arrays, one row much longer than the other: for comparing.
    """

    model: Any
    inputs: Mapping[str, Any]
    probe: Inputs


class TorchBackend:
    """The module as it is, on a CPU or a GPU."""

    def __init__(self, module: Any, device: str, precision: str) -> None:
        self._torch, _ = libraries()
        from .modules import narrowed

        narrow = narrowed(module) if (device, precision) == ("cpu", "bfloat16") else None
        self._module = narrow or module.to(device=device, dtype=getattr(self._torch, precision))
        self._device = device

    def run(self, inputs: Inputs) -> Rows:
        with self._torch.inference_mode():
            tensors = {key: self._torch.from_numpy(value).to(self._device) for key, value in inputs.items()}
            rows: Rows = self._module(**tensors).float().cpu().numpy()
            return rows


def names_of(sample: Mapping[str, Any]) -> Sequence[str]:
    """The inputs of a module, in the order of its parameters."""
    return [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in sample]
