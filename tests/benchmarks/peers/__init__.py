"""Who is measured beside nbproxy: nginx, HAProxy, mitmproxy, and nginx as everybody's upstream.

Their configurations are the templates in this folder; ``$name`` is filled in (:class:`string.Template`).
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from string import Template

from ..content import answers
from ..machine import free_port, program
from ..processes import Daemon

HERE = Path(__file__).parent
CONNECTIONS = 4096


def rendered(template: str, folder: Path, **values: object) -> Path:
    """A peer's configuration in ``folder``, where all of its files go."""
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""  # else its worker may not read our files
    path = folder / template
    path.write_text(Template((HERE / template).read_text()).substitute(values, folder=folder, user=user))
    return path


def upstream(folder: Path, connections: int = CONNECTIONS) -> Daemon:
    """nginx with the answers of :mod:`..content`."""
    answers(home := _home(folder, "upstream"))
    return _nginx("direct", "nginx_upstream.conf", home, answers=home, connections=connections)


def nginx(folder: Path, upstream: int, connections: int = CONNECTIONS) -> Daemon:
    home = _home(folder, "nginx")
    return _nginx("nginx", "nginx_proxy.conf", home, upstream=upstream, connections=connections)


def haproxy(folder: Path, upstream: int, connections: int = CONNECTIONS) -> Daemon:
    home, port = _home(folder, "haproxy"), free_port()
    path = rendered("haproxy.cfg", home, port=port, upstream=upstream, connections=connections)
    return Daemon("HAProxy", [program("haproxy"), "-f", str(path)], port, home)


def mitmproxy(folder: Path, upstream: int) -> Daemon:
    home, port = _home(folder, "mitmproxy"), free_port()
    command = [program("mitmdump"), "-q", "--mode", f"reverse:http://127.0.0.1:{upstream}", "--set", f"confdir={home}"]
    return Daemon("mitmproxy", [*command, "--listen-host", "127.0.0.1", "--listen-port", str(port)], port, home)


def _nginx(name: str, template: str, home: Path, **values: object) -> Daemon:
    port = free_port()
    path = rendered(template, home, port=port, **values)
    return Daemon(name, [program("nginx"), "-e", "stderr", "-p", str(home), "-c", str(path)], port, home)


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home
