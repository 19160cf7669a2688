"""Weights into memory, in silence, and the hub's folders onto the disk.

transformers draws progress bars and prints load reports. Both are switched off for the length of a load and put
back as the user had them; handlers of loggers are never touched. The switches are global, so loads take turns: two
at once would each remember the other's setting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingExtra
from .folders import Kind, ModelFolder

INSTALL = 'pip install "nbproxy[torch]"'

# What the hub may send: never a pickle, code only if that was asked for
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
_UNWANTED = ["onnx/*", "openvino/*"]

# Longer than any model: what tokenizers have where nobody wrote a limit down (transformers' VERY_LARGE_INTEGER)
_NO_LIMIT = 1_000_000
_FALLBACK_LENGTH = 512

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Parts:
    """A model in memory.

    :ivar max_length: tokens of one input, special ones included.
    """

    model: Any
    tokenizer: Any
    max_length: int


class NotOnHub(ConfigError):
    """The hub gave no model; the message says why."""


def libraries() -> tuple[Any, Any]:
    """torch and transformers, imported at the first call.

    :raises MissingExtra: one of them cannot be imported.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", INSTALL, str(error)) from error
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", INSTALL, str(error)) from error
    return torch, transformers


def checked_device(device: Any) -> str:
    """A device's name, once torch can compute there.

    :raises ConfigError: it is none of torch's, or this machine does not have it.
    """
    torch, _ = libraries()
    try:
        kind = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device={device!r} is none of torch's, such as 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={str(device)!r}: {_no_gpu(torch)}")
    if kind.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device='mps': this machine has none; leave device out, or give device='cpu'")
    return str(device)


def _no_gpu(torch: Any) -> str:
    count = torch.cuda.device_count()
    if count:
        return f"torch sees {count} CUDA device{'s' * (count > 1)}, counted from cuda:0"
    what = (
        "this build of torch is for the CPU; install one for CUDA" if torch.version.cuda is None else "check nvidia-smi"
    )
    return f"torch sees no CUDA device ({what}); leave device out, or give device='cpu', to compute on the CPU"


def load_parts(folder: ModelFolder, auto_class: str, device: str | None, code: bool = False) -> Parts:
    """Model and tokenizer of a folder, in evaluation mode on the device.

    :param auto_class: the name of transformers' Auto class.
    :param device: None: the first CUDA device where there is one, else the CPU.
    :param code: whether code that comes with the model may run.
    :raises ConfigError: transformers cannot load it, or weights that matter are missing.
    """
    torch, transformers = libraries()
    where = checked_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        with quiet():
            model, report = getattr(transformers, auto_class).from_pretrained(
                folder.path, use_safetensors=True, trust_remote_code=code, output_loading_info=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, trust_remote_code=code)
    except Exception as error:  # whatever two libraries raise about a folder, the user gets one kind of answer
        if folder.code and not code:
            raise ConfigError(_own_code(folder)) from error
        raise ConfigError(f"transformers cannot load {folder.path}: {type(error).__name__}: {error}") from error
    _refuse_random_weights(folder, report)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers makes where there are no files
        raise ConfigError(
            f"{folder.path} holds no tokenizer (tokenizer.json, vocab.txt, …), so every word would be unknown; save it "
            f"beside the model: tokenizer.save_pretrained({str(folder.path)!r})"
        )
    model.to(where).eval()
    return Parts(model, tokenizer, usable_length(model, tokenizer, folder.max_length))


_MAKERS: dict[Kind, str] = {
    "cross-encoder": "nbproxy.CrossEncoder",
    "bi-encoder": "nbproxy.BiEncoder",
    "causal-reranker": "nbproxy.rerankers.CausalReranker",
}


def _own_code(folder: ModelFolder) -> str:
    """What to say of a model that cannot be loaded without its own code."""
    return (
        f"{folder.path} comes with code of its own ({', '.join(folder.code)}), which is run only if you trust it: "
        f"read it, then {_MAKERS[folder.kind]}({str(folder.path)!r}, trust_remote_code=True)"
    )


def usable_length(model: Any, tokenizer: Any, configured: int | None = None) -> int:
    """How many tokens the model takes: what was configured, within what it has positions for.

    As sentence-transformers decides it, but a RoBERTa's first positions, which it cannot use, are taken off.
    """
    limits = [configured] if configured else [tokenizer.model_max_length, _positions(model)]
    known = [limit for limit in limits if limit and 0 < limit < _NO_LIMIT]
    return min([*known, *_embedded(model)], default=_FALLBACK_LENGTH)


def _positions(model: Any) -> int | None:
    value = getattr(model.config, "max_position_embeddings", None)  # XLNet writes -1 for none
    return value if isinstance(value, int) and value > 0 else None


def _embedded(model: Any) -> list[int]:
    """The length of each table of absolute positions; where it has a padding index, positions start after it."""
    tables = (module for name, module in model.named_modules() if name.endswith("embeddings.position_embeddings"))
    found = [(table.num_embeddings, getattr(table, "padding_idx", None)) for table in tables]
    return [size if padding is None else size - padding - 1 for size, padding in found]


def _refuse_random_weights(folder: ModelFolder, report: dict[str, Any]) -> None:
    """Weights that the files lack are drawn at random; only a bi-encoder's pooler is never used."""
    unused = "pooler." if folder.kind == "bi-encoder" else None
    missing = sorted(key for key in report.get("missing_keys") or () if not (unused and unused in key))
    if missing:
        raise ConfigError(
            f"the weights in {folder.path} lack {', '.join(missing[:4])}{' …' * (len(missing) > 4)}; transformers "
            "would draw them at random"
        )


def snapshot(hub_id: str, code: bool = False) -> Path:
    """The folder of a model of the Hugging Face hub, downloaded unless it is in the cache.

    :param code: whether code that comes with the model is downloaded too.

    :raises NotOnHub: the hub has no such model, or cannot be reached and the cache does not have it.
    """
    libraries()
    from huggingface_hub import snapshot_download

    try:
        with quiet():
            wanted, unwanted = ([*_WANTED, "*.py"], _UNWANTED) if code else (_WANTED, [*_UNWANTED, "*.py"])
            return Path(snapshot_download(hub_id, allow_patterns=wanted, ignore_patterns=unwanted))
    except Exception as error:  # names, network, authorisation, disk: the library has dozens, with no common root
        raise NotOnHub(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, nothing below an error; both as they were afterwards."""
    import huggingface_hub.utils
    from transformers.utils import logging as settings

    hub: Any = huggingface_hub.utils  # its switches are public, but not in its type information

    with _ONE_AT_A_TIME:
        bars, hub_bars = settings.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
        level = settings.get_verbosity()
        settings.disable_progress_bar()
        settings.set_verbosity_error()
        try:
            yield
        finally:
            settings.set_verbosity(level)
            if bars:
                settings.enable_progress_bar()
            # transformers' switch throws the hub's as well
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()
