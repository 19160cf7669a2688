"""How a connection ends: whether who is on its other side has closed it or half of it, by a reset, and what it said.

Closed and half-closed look the same from here: the end of what is read. Who half-closes waits for an answer; for who
has closed nobody should work on. TCP tells the two apart only once something is sent. But where the other side is on
this machine, as a notebook's clients mostly are, Linux tells what has become of its socket (sock_diag(7)): an ordinary
question to the kernel, of some ten microseconds, for which no right is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import select
import socket
import struct
import sys
from typing import Protocol

_SOCK_DIAG_BY_FAMILY, _REQUEST, _BUFFER = 20, 1, 1 << 13
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ASKED = struct.Struct("=BBBxI")  # of struct inet_diag_req_v2: family, protocol, extensions, states
_PORTS = struct.Struct("!HH")  # struct inet_diag_sockid: source, destination; then addresses, interface, cookie
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_INODE_AT, _FIELDS_AT = _HEADER.size + 68, _HEADER.size + 72  # in struct inet_diag_msg, and behind it
_FIELD = struct.Struct("=HH")  # struct nlattr: length, type
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for no time
_SHUTDOWN, _BOTH = 8, 3  # INET_DIAG_SHUTDOWN; RCV_SHUTDOWN | SEND_SHUTDOWN


class Socket(Protocol):
    """What is asked of a socket, or of uvloop's stand-in for one."""

    @property
    def family(self) -> int: ...
    def getpeername(self) -> tuple[str, int]: ...
    def getsockname(self) -> tuple[str, int]: ...
    def fileno(self) -> int: ...


def has_closed(sock: Socket) -> bool:
    """Whether the other side of a TCP connection that has ended its sending reads no more either. False where that
    cannot be known: it is on another machine, or the system is not Linux."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    with contextlib.suppress(OSError, ValueError, struct.error):
        here, there = sock.getsockname()[:2], sock.getpeername()[:2]
        if here[0] == there[0] or ipaddress.ip_address(there[0]).is_loopback:
            return _reads_no_more(_told(_question(sock.family, there, here)))
    return False


def has_left(sock: Socket, *, told_end: bool) -> bool:
    """Whether the other side of a connection that nobody reads just now has reset it, or closed it as far as can be
    known: the loop tells neither then. ``told_end``: we have ended our side, so that who ends its own looks closed."""
    if hasattr(select, "poll"):
        look = select.poll()
        look.register(sock.fileno(), 0)  # what is wrong is told unasked
        if any(told & select.POLLERR for _, told in look.poll(0)):
            return True
    return not told_end and has_closed(sock)  # its end may wait behind what we have not read


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the other side has not taken, as far as the system tells (Linux)."""
    kept = transport.get_write_buffer_size()
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl
        import termios

        told = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        kept += struct.unpack("i", told)[0]
    return kept


def reset_on_close(transport: asyncio.Transport) -> None:
    """Have the system reset the connection when it is closed: without this, ``abort`` too is an orderly end."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def read_left_over(transport: asyncio.Transport, room: memoryview) -> int:
    """Read what came on a connection whose loss the loop tells just now, after a write that failed, without having read
    it: how many bytes. 0: none is left, or they cannot be had; an orderly end and a reset look the same by then."""
    if sys.platform == "win32" or transport.get_extra_info("ssl_object") is not None:
        return 0  # there descriptors are no files; here they are enciphered
    try:
        return os.readv(transport.get_extra_info("socket").fileno(), [room])
    except OSError:
        return 0


def _question(family: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    addresses = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (source, destination))
    ports = _PORTS.pack(source[1], destination[1])
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ports + addresses + _NO_COOKIE
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0) + body


def _told(question: bytes) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as link:  # NETLINK_SOCK_DIAG
        link.setblocking(False)  # the kernel answers within the call
        link.send(question)
        return link.recv(_BUFFER)


def _reads_no_more(told: bytes) -> bool:
    """Of struct inet_diag_msg: no file is left of the socket, or it is shut down on both sides."""
    length, kind = _HEADER.unpack_from(told)[:2]
    if kind != _SOCK_DIAG_BY_FAMILY:
        return False  # an error: no such socket
    if not struct.unpack_from("=I", told, _INODE_AT)[0]:
        return True
    at = _FIELDS_AT
    while at < length:
        size, field = _FIELD.unpack_from(told, at)
        if field == _SHUTDOWN:
            return told[at + _FIELD.size] == _BOTH
        at += max(size + 3 & ~3, _FIELD.size)
    return False
