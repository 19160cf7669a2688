"""What the models of other libraries are called, and what tells two of them apart."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from .base import hex16
from .fingerprints import callable_fingerprint, own_fingerprint
from .folders import folder_name, is_there

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def source_name(source: object, fallback: object) -> str:
    """A hub id as it is, a path's last folder; the class of ``fallback`` where there is no source.

    >>> source_name("cross-encoder/some-model", None)
    'cross-encoder/some-model'
    """
    if not isinstance(source, (str, Path)) or not str(source):
        return type(fallback).__name__
    path = Path(source)
    return folder_name(path) if path.is_absolute() or is_there(str(source)) else str(source)


def weights_name(model: Any) -> str:
    """What a model of transformers, or of a library around it, was loaded from."""
    config = getattr(model, "config", None)
    return source_name(getattr(config, "name_or_path", None), model)


def weights_fingerprint(module: Any, *more: str) -> str:
    """16 hex digits over a module of torch: its weights, its configuration, and whatever else is said.

    Taken once, when the model is assigned: training it further does not change it.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    config: Any = getattr(module, "config", None)
    said = config.to_json_string(use_diff=False) if hasattr(config, "to_json_string") else ""
    return hex16(digest.digest(), said.encode(), *(part.encode("utf-8", "surrogatepass") for part in more))


def object_fingerprint(x: Any, *more: str) -> str:
    """16 hex digits over an object by its class, its methods, its simple attributes and how it shows; its own
    ``fingerprint`` wins."""
    own = own_fingerprint(x)
    if own is not None:
        return own
    shown = _ADDRESS.sub("", repr(x))
    parts = (callable_fingerprint(x), type(x).__qualname__, shown, *more)
    return hex16(*(part.encode("utf-8", "surrogatepass") for part in parts))


def files_fingerprint(folder: Path) -> str | None:
    """16 hex digits over all files under a folder; None: there are none."""
    parts: list[bytes] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as content:
            parts += [str(path.relative_to(folder)).encode(), hashlib.file_digest(content, "sha256").digest()]
    return hex16(*parts) if parts else None
