"""Binding a port, and saying who has it where that fails."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
from collections.abc import Iterable

from .errors import ConfigError
from .server import bind

_NAME = re.compile(r"[\w.-]+")


def bound(host: str, port: int | None) -> socket.socket:
    """A bound socket.

    :raises ConfigError: the port is somebody else's (named where the system tells), or the host is not ours.
    """
    try:
        return bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use{_owner(port)}; choose another, or leave port out") from None
        raise ConfigError(f"cannot listen on {host}:{port}: {error}") from None
    except OverflowError as error:
        raise ConfigError(f"cannot listen on port {port}: {error}") from None


def _owner(port: int | None) -> str:
    """`` by NAME (process PID)``, or nothing where the system does not tell."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def allowed_hosts(host: str) -> frozenset[str]:
    """The names, beside loopback's, under which a session that listens on ``host`` is asked, as a Host field has them.

    A foreign page can make its own name point here (DNS rebinding), but neither an address nor this machine's name.
    """
    import psutil

    if host not in ("", "0.0.0.0", "::"):
        return frozenset([_bracketed(host.lower())])
    addresses = [one.address.partition("%")[0] for found in psutil.net_if_addrs().values() for one in found]
    return frozenset([socket.gethostname().lower(), *(_bracketed(one.lower()) for one in addresses if _is_ip(one))])


def host_names(hosts: Iterable[str]) -> frozenset[str]:
    """Names and addresses as a Host field has them.

    :raises ConfigError: one is not a name alone.
    """
    if isinstance(hosts, str):
        raise ConfigError(f"allowed hosts are several: give [{hosts!r}]")
    for host in hosts:
        if not (_is_ip(host.strip("[]")) or _NAME.fullmatch(host)):
            raise ConfigError(f"{host!r} is not a host's name; it looks like search.example, without a scheme or port")
    return frozenset(_bracketed(host.lower()) for host in hosts)


def _is_ip(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def own_hosts(host: str, port: int) -> frozenset[bytes]:
    """The authorities that mean this proxy, for requests in absolute form."""
    names = {host.lower(), "localhost", "127.0.0.1", "[::1]", socket.gethostname().lower()}
    return frozenset(f"{_bracketed(name)}:{port}".encode() for name in names)
