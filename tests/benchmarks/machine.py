"""The machine that is measured on: what it is, the programs that must be there, free ports, open files."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import random
import re
import resource
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NBPROXY_SHARED", ROOT.parent / "shared"))  # public test collections
PORTS = range(20_000, 30_000)  # below those that Linux gives to clients

_APT = "apt-get install nginx-light haproxy wrk"
INSTALL = {"nginx": _APT, "haproxy": _APT, "wrk": _APT, "mitmdump": "make .venv-bench/.ready"}
_VERSION = {"nginx": "-v", "haproxy": "-v", "wrk": "-v", "mitmdump": "--version"}
_PATH = os.pathsep.join([str(ROOT / ".venv-bench/bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class Missing(SystemExit):
    """Something that a benchmark needs is not there. Nothing is skipped instead."""


def program(name: str) -> str:
    """Where a program lies.

    :raises Missing: it is not installed; says what installs it.
    """
    if (path := shutil.which(name, path=_PATH)) is None:
        raise Missing(f"{name} is not installed; this installs it: {INSTALL[name]}")
    return path


def described(programs: tuple[str, ...] = tuple(INSTALL)) -> str:
    """The machine and the versions, in one line."""
    versions = [f"uvloop {importlib.metadata.version('uvloop')}", *(f"{name} {_version(name)}" for name in programs)]
    cores = f"{os.cpu_count()} cores, {platform.system()} {platform.release().partition('-')[0]}"
    return f"{_processor()}, {cores}; Python {platform.python_version()}, {', '.join(versions)}"


def _version(name: str) -> str:
    said = subprocess.run([program(name), _VERSION[name]], capture_output=True, text=True)  # wrk -v exits with 1
    found = re.search(r"\d+\.\d+[.\d]*", said.stdout + said.stderr)
    return found[0] if found else "?"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Removed in the end, with all that was recorded there."""
    with tempfile.TemporaryDirectory(prefix="nbproxy-bench-") as name:
        yield Path(name)


def free_port() -> int:
    """A port of loopback's that nobody has."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)):
                return port


def raise_file_limit(least: int) -> None:
    """Let this process, and those that it starts, have as many files open as the hard limit says.

    :raises Missing: that is fewer than ``least``.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < least:
        raise Missing(f"{least} open files are needed, the hard limit is {hard}; this raises it: ulimit -Hn {least}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
