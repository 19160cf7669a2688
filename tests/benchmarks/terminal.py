"""What `nbproxy live` costs beside a proxy that serves 1,000 requests a second: CPU of the view's own process, and
bytes that it writes to the terminal. Every request asks for something else, so every line of the screen changes."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import psutil

from . import peers
from .content import SIZES
from .machine import temporary_folder
from .proxy import Proxy
from .report import table

NEEDS = ("nginx",)
RATE = 1_000
SCREENS = ((80, 24), (120, 40), (200, 60))
SETTLING_S = 3


def main(quick: bool = False) -> None:
    rows = []
    with (
        temporary_folder() as folder,
        peers.upstream(folder) as upstream,
        Proxy("nbproxy", upstream.port, record=False) as proxy,
        Traffic(proxy.port) as traffic,
    ):
        for width, height in SCREENS:
            cpu, written, rate = _watched(proxy.port, traffic, width, height, 3 if quick else 15)
            rows.append((f"{width}×{height}", f"{rate:,.0f}/s", f"{cpu:.1%}", f"{written / 1e3:.1f}"))
    print(table(("nbproxy live at", "requests", "of a core", "kB a second"), rows))


class Traffic:
    """``RATE`` requests a second on one connection, from a thread of its own."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self._port, self._over = port, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", self._port)) as client, client.makefile("rb") as answers:
            while not self._over.is_set():
                while self.sent < (time.monotonic() - begun) * RATE:
                    client.sendall(b"GET /small?n=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % self.sent)
                    while answers.readline() != b"\r\n":
                        pass
                    answers.read(SIZES["small"])
                    self.sent += 1
                self._over.wait(0.002)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _watched(port: int, traffic: Traffic, width: int, height: int, seconds: float) -> tuple[float, float, float]:
    """Share of a core, bytes a second, requests a second, once the view has settled."""
    mine, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))
    command = [sys.executable, "-m", "nbproxy", "live", f"http://127.0.0.1:{port}"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    view = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True)
    written = _Written(mine)
    try:
        time.sleep(SETTLING_S)
        process, before = psutil.Process(view.pid), (written.bytes, traffic.sent, time.monotonic())
        spent = sum(process.cpu_times()[:2])
        time.sleep(seconds)
        took = time.monotonic() - before[2]
        spent = sum(process.cpu_times()[:2]) - spent
        return spent / took, (written.bytes - before[0]) / took, (traffic.sent - before[1]) / took
    finally:
        view.kill()
        view.wait()
        os.close(its)
        written.join()
        os.close(mine)


class _Written(threading.Thread):
    """Reads what is written to a terminal, and counts it."""

    def __init__(self, terminal: int) -> None:
        super().__init__(daemon=True)
        self.bytes, self._terminal = 0, terminal
        self.start()

    def run(self) -> None:
        try:
            while got := os.read(self._terminal, 1 << 16):
                self.bytes += len(got)
        except OSError:  # nobody has it open any longer
            return
