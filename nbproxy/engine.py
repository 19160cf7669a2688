"""The embedded demo engine: ``osmem-server``, filled with the packaged collection.

Laws:

- One engine a process, started when it is first asked for, reused while it lives; a fork's child starts its own.
- It runs in a process session of its own (interrupting a kernel signals the kernel's whole process group), on
  loopback only, and does not outlive us: it ends with its standard input, or when our process id is gone.
- Only the process that started it ends it.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

from . import datasets
from .datasets import Collection
from .errors import MissingExtra, UpstreamFault

INDEX = "household"
INSTALL = 'pip install "nbproxy[demo]"'
START_S = 30.0
_ANSWER_S = 30.0
_END_S = 0.5


@dataclass(frozen=True, eq=False)
class Engine:
    """A running engine.

    :ivar url: its address, no trailing slash.
    :ivar collection: what it has indexed, in the index ``household`` or the one that :func:`started` was given.
    """

    url: str
    collection: Collection
    process: subprocess.Popen[bytes] = field(repr=False)
    _pid: int = field(default_factory=os.getpid, repr=False)

    @property
    def alive(self) -> bool:
        """Whether it runs and is ours."""
        return os.getpid() == self._pid and self.process.poll() is None

    def close(self) -> None:
        """End it. A second call does nothing, and neither does one in a fork's child."""
        if os.getpid() == self._pid:
            _end(self.process)

    def disown(self) -> None:
        """In a fork's child: close its copies of the pipes, and forget the process, which is not its own."""
        self.process.returncode = self.process.returncode or 0
        _close_pipes(self.process)


class _Engines:
    """The engine of this process."""

    def __init__(self) -> None:
        self._renew()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def get(self) -> Engine:
        with self._lock:
            if self._engine is None or not self._engine.alive:
                self._engine = _started()
            return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _after_fork(self) -> None:
        if self._engine is not None:
            self._engine.disown()
        self._renew()


_ENGINES = _Engines()


def demo_engine() -> Engine:
    """The embedded engine with the packaged collection in its index ``household``; started if it does not run.

    :raises MissingExtra: ``osmem-server`` is not installed, or has no binary for this machine.
    :raises UpstreamFault: it did not start, or refused the documents.
    """
    return _ENGINES.get()


# -- the process


def _started() -> Engine:
    return started(datasets.load(INDEX))


def started(collection: Collection, index: str = INDEX) -> Engine:
    """An engine of one's own, beside that of :func:`demo_engine`; :meth:`Engine.close` ends it.

    :param collection: what is indexed; all fields of its documents but ``doc_id``, which is their id.
    :raises MissingExtra, UpstreamFault: as :func:`demo_engine`.
    """
    # Japanese analysis is left out: its dictionary would be nine tenths of the time that the start takes.
    process, url = _launch([_binary(), "--addr", "127.0.0.1:0", "--no-ja", "--parent-pid", str(os.getpid())])
    try:
        _fill(url, collection, index)
    except BaseException:
        _end(process)
        raise
    return Engine(url, collection, process)


def _binary() -> str:
    try:
        from osmem_server import OsmemError, resolve_binary
    except ImportError as error:
        raise MissingExtra("osmem-server", INSTALL, "the embedded demo engine") from error
    try:
        return str(resolve_binary())
    except OsmemError as error:
        raise MissingExtra("osmem-server", INSTALL, str(error)) from error


def _launch(command: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    """The process, and the address that its ready line tells. What it says besides is kept for the error message."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        try:
            url = _ready(process, START_S)
            if url is None:
                raise UpstreamFault(f"the demo engine did not start: {_reason(process, said)}")
        except BaseException:
            _end(process)
            raise
    return process, url


def _ready(process: subprocess.Popen[bytes], timeout: float) -> str | None:
    """The URL of the ready line; None: it ended without one, or took too long."""
    found: list[str] = []

    def read() -> None:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and "url" in message:
                    found.append(str(message["url"]).rstrip("/"))
                    return

    reader = threading.Thread(target=read, name="nbproxy-engine-start", daemon=True)
    reader.start()
    reader.join(timeout)
    return found[0] if found else None


def _reason(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)  # its output may be closed a moment before it is gone
    said.seek(0)
    last = said.read().decode(errors="replace").strip()[-400:]
    code = process.poll()
    return f"{'it took too long' if code is None else f'exit code {code}'}{f': {last}' if last else ''}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


# -- its index


def _fill(url: str, collection: Collection, index: str = INDEX) -> None:
    """All documents by one bulk request: osmem-server's scores depend on how documents were sent, so always alike."""
    answer = _ask(url, "POST", f"/{index}/_bulk?refresh=true", b"".join(_bulk(collection)))
    if answer.get("errors") is not False:
        refused = next((item for item in answer.get("items", ()) if "error" in item.get("index", {})), answer)
        raise UpstreamFault(f"the demo engine refused documents: {json.dumps(refused)[:400]}")


def _bulk(collection: Collection) -> Iterable[bytes]:
    for document in collection.documents.to_dict("records"):
        source = {str(name): value for name, value in document.items() if name != "doc_id" and value == value}
        for line in ({"index": {"_id": document["doc_id"]}}, source):
            yield json.dumps(line).encode() + b"\n"


def _ask(url: str, method: str, target: str, body: bytes) -> dict[str, Any]:
    """One request, by the standard library and never through a proxy of the environment's."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=_ANSWER_S)
    try:
        connection.request(method, target, body, {"Content-Type": "application/x-ndjson"})
        response = connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise UpstreamFault(f"the demo engine answered {response.status}: {text[:400].decode(errors='replace')}")
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UpstreamFault(f"the demo engine cannot be asked: {error}") from error
    finally:
        connection.close()
