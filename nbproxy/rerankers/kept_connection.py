"""One connection to an HTTP server, kept open between requests. It knows nothing of what is asked."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult

CONNECT_S = 5.0
ANSWER_S = 30.0  # between bytes
MOST = 16 * 2**20

# What a kept connection that the server has closed meanwhile looks like, before any byte of an answer
_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whole."""

    status: int
    reason: str
    location: str | None
    body: bytes


class TooLong(Exception):
    """An answer of more than ``MOST`` bytes."""


class KeptConnection:
    """To ``url``'s host; opened by the first request. Requests of several threads take turns."""

    def __init__(self, url: SplitResult) -> None:
        self._host, self._port, self._tls = url.hostname or "", url.port, url.scheme == "https"
        self._turn = threading.Lock()
        self._open: list[http.client.HTTPConnection] = []  # at most one
        weakref.finalize(self, _close, self._open)

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send, and wait for the whole answer. Redirects are not followed.

        On a kept connection that turns out to be closed it is sent once more, on a new one: what is asked here has no
        effects.

        :raises OSError: the server cannot be reached, or does not answer in time.
        :raises http.client.HTTPException: it does not speak HTTP.
        """
        with self._turn:
            if self._open and self._open[0].sock is not None:
                with contextlib.suppress(*_CLOSED):
                    return self._ask(self._open[0], target, body, headers)
            _close(self._open)
            self._open.append(self._connected())
            return self._ask(self._open[0], target, body, headers)

    def _ask(
        self, connection: http.client.HTTPConnection, target: str, body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        try:
            connection.request("POST", target, body, dict(headers))
            response = connection.getresponse()
            known = response.length is not None and response.length <= MOST  # only then is a cut body noticed
            whole = response.read() if known else response.read(MOST + 1)
            if len(whole) > MOST:
                raise TooLong
        except BaseException:  # whatever ended it, what is left of the answer is not to be read as the next one
            _close(self._open)
            raise
        return Reply(response.status, response.reason, response.getheader("Location"), whole)

    def _connected(self) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_S, context=ssl.create_default_context())
            if self._tls
            else http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_S)
        )
        connection.connect()  # it closes what it opened where it fails
        connection.sock.settimeout(ANSWER_S)
        return connection


def _close(connections: list[http.client.HTTPConnection]) -> None:
    while connections:
        connections.pop().close()
