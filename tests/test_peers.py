"""Half-closed or closed: what the kernel tells of the other side of a connection on this machine."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from nbproxy.peers import has_closed, has_left

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: who connected, and who accepted."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listener = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as there:
        here, _ = listener.accept()
        with here:
            yield there, here


@linux
def test_who_has_closed_is_told_from_who_half_closes(pair: tuple[socket.socket, socket.socket]) -> None:
    there, here = pair
    assert not has_closed(here)
    there.shutdown(socket.SHUT_WR)
    assert here.recv(1) == b""
    assert not has_closed(here)
    there.close()
    assert has_closed(here)


@linux
def test_who_is_shut_down_on_both_sides_reads_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    there, here = pair
    there.shutdown(socket.SHUT_RDWR)
    assert here.recv(1) == b""
    assert has_closed(here)


@linux
@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_is_missed_though_nothing_is_read(pair: tuple[socket.socket, socket.socket], how: str) -> None:
    there, here = pair
    there.send(b"unread")
    assert not has_left(here, told_end=False)
    if how == "reset":
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        there.shutdown(socket.SHUT_WR)
        assert not has_left(here, told_end=False)
    there.close()
    assert has_left(here, told_end=False)


@linux
def test_who_has_said_all_to_who_has_said_all_has_not_left(pair: tuple[socket.socket, socket.socket]) -> None:
    there, here = pair
    there.send(b"unread")
    for one in pair:
        one.shutdown(socket.SHUT_WR)
    assert not has_left(here, told_end=True)


def test_what_cannot_be_known_is_no_end() -> None:
    here, there = socket.socketpair()
    with here, there, socket.socket() as alone:
        assert not has_closed(here)
        assert not has_closed(alone)
