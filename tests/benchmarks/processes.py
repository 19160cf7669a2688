"""Programs that are measured: started, waited for, asked what they cost, stopped."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psutil

START_S = 30.0
_ANONYMOUS = re.compile(r"^(?:RssAnon|VmSwap):\s+(\d+) kB$", re.MULTILINE)


class Peer(Protocol):
    """Something on a port of loopback's that answers as upstream does."""

    name: str
    port: int

    def cpu_s(self) -> float:
        """CPU seconds so far of all of its processes and threads, what it still had to write included."""
        ...

    def memory(self) -> int:
        """Bytes of its own memory; the kernel's (sockets) and mapped files are not among them."""
        ...


class Daemon:
    """A server program, run as long as the ``with`` block."""

    def __init__(self, name: str, command: list[str], port: int, folder: Path) -> None:
        self.name, self.port = name, port
        self._command, self._log = command, folder / "log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen: {' '.join(self._command)}\n{self._log.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    def memory(self) -> int:
        return memory(self._process.pid)


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children, to 10 ms."""
    times = [process.cpu_times() for process in family(pid)]
    return sum(each.user + each.system for each in times)


def memory(pid: int) -> int:
    """Bytes of anonymous memory of a process and its children, in or out of RAM. Resident memory would also count the
    pages of libraries, which come and go as the kernel likes."""
    return sum(1024 * int(size) for each in family(pid) for size in _ANONYMOUS.findall(_status(each.pid)))


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()
