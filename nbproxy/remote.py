"""A proxy in another process, as :class:`nbproxy.controls.Controls`, by its own routes.

Laws: a token is sent to loopback addresses only unless it was given by hand; it is read from a file that belongs to
this user; nothing is asked of an address that is not an nbproxy.

Which proxies run on this machine is told by one small file for each session, ``proxy-<session id>.json`` in the user's
runtime directory (see :func:`announce`): no shared file, so nothing to lock and nothing to repair.
"""

from __future__ import annotations

import builtins
import contextlib
import http.client
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from . import errors
from .controls import Asking, Listed, Sight, Snapshot
from .errors import ERROR_FIELD, ConfigError, NbproxyError, SessionClosed
from .places import runtime_directory

T = TypeVar("T")
_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_LARGEST = 64 * 2**20
_LOADING_S = 900.0  # a model may have to be fetched first
_READING_S = 60.0  # a page of a recording, behind those of others


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a session leaves for those who look for it."""

    url: str
    name: str
    pid: int
    token_file: str


def announce(session_id: str, *, url: str, name: str, token_file: Path) -> Path:
    """Leave a note about a running session, readable by its owner only; gives its path, to be removed at the end."""
    path = runtime_directory() / f"proxy-{session_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep()
    note = Note(url=url, name=name, pid=os.getpid(), token_file=str(token_file.absolute()))
    half = path.with_suffix(".part")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(note))
    half.replace(path)  # never seen half-written
    return path


def _sweep() -> None:
    """Remove the notes of processes that were killed before they could."""
    import psutil

    for path in _ours(runtime_directory(), "proxy-*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if not psutil.pid_exists(msgspec.json.decode(path.read_bytes(), type=Note).pid):
                path.unlink()


def notes() -> list[Note]:
    """The notes of this user's sessions on this machine, newest first. One may be left over from a killed process."""
    found = []
    for path in _ours(runtime_directory(), "proxy-*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append((path.stat().st_mtime_ns, msgspec.json.decode(path.read_bytes(), type=Note)))
    return [note for _, note in sorted(found, key=lambda pair: pair[0], reverse=True)]


def find_running() -> str | None:
    """The address of this user's newest running proxy on this machine, or None."""
    for note in notes():
        with contextlib.suppress(NbproxyError):
            if _get_status(note.url, 1.0).get("name") == note.name:
                return note.url
    return None


def _ours(directory: Path, pattern: str) -> Iterator[Path]:
    """Files that belong to this user: nobody else's word about tokens is taken."""
    with contextlib.suppress(OSError):
        for path in sorted(directory.glob(pattern)):
            status = path.lstat()
            if not path.is_symlink() and (not hasattr(os, "getuid") or status.st_uid == os.getuid()):
                yield path


class Remote:
    """:class:`nbproxy.controls.Controls` over HTTP. Thread-safe.

    :param url: the proxy's address (``session.url``), not the search engine's.
    :param token: ``session.token``; None: read from the session's token file, for a proxy of this user on this machine.
    :param timeout: seconds for an answer; a model's loading has longer.
    :raises ConfigError: it is not an nbproxy, or the token is missing or wrong; the message says what to do.
    :raises SessionClosed: nothing answers there.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 5.0) -> None:
        self._url, self._timeout = _address(url), timeout
        self._given = token = None if token is None else token.strip()
        status = self.status()
        self._name = str(status.get("name", self._url))
        self._token = token or self._found(status)

    @property
    def url(self) -> str:
        """The proxy's address, no trailing slash."""
        return self._url

    @property
    def name(self) -> str:
        """The session's."""
        return self._name

    def status(self) -> dict[str, Any]:
        """What the status route answers (contract §7); needs no token."""
        return _get_status(self._url, self._timeout)

    def snapshot(self, lines: int = 50) -> Snapshot:
        """The proxy now."""
        return self._decoded(self._asked("GET", f"snapshot?lines={lines:d}"), Snapshot)

    def sight(self, exchange_id: str) -> Sight | None:
        """One recorded search side by side, None where the proxy has it no longer."""
        body = self._asked("GET", f"sight?exchange_id={quote(exchange_id, safe='')}", none_where=404)
        return None if body is None else self._decoded(body, Sight)

    def sights(self, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
        """Every recorded order of one search."""
        asked = {"exchange_id": exchange_id} | ({} if part is None else {"part": str(part)})
        return self.get(f"sights?{urlencode(asked)}", tuple[Sight, ...])

    def lines(self, asking: Asking) -> Listed:
        """A page of recorded exchanges."""
        return self.get(f"lines?{urlencode({'asking': msgspec.json.encode(asking).decode()})}", Listed)

    def set_model(self, name: str | None) -> None:
        """Serve the model of this name, or none; blocks until it is live."""
        self.post("model", {"model": name}, timeout=_LOADING_S)

    # -- asking

    def get(self, route: str, kind: type[T], *, timeout: float | None = None) -> T:
        """A route's answer as a ``kind``."""
        return self._decoded(self._asked("GET", route, timeout=timeout), kind)

    def read(self, route: str) -> bytes:
        """A route's answer as it is: a page of the recording, of any size."""
        return self._asked("GET", route, timeout=_READING_S, most=None) or b""

    def post(self, route: str, value: Any, *, timeout: float | None = None) -> Any:
        """Send JSON, give the JSON that is answered.

        :param timeout: seconds; None: as long as loading a model may take.
        :raises ConfigError: ``value`` is not JSON.
        """
        try:
            body = msgspec.json.encode(value, enc_hook=_plain)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"this cannot be sent to another process: {error}") from None
        answer = self._asked("POST", route, body, timeout=_LOADING_S if timeout is None else timeout)
        return self._decoded(answer, object)

    @property
    def token(self) -> str:
        """The token that is sent."""
        return self._token

    def _asked(
        self,
        method: str,
        route: str,
        body: bytes | None = None,
        *,
        none_where: int | None = None,
        timeout: float | None = None,
        most: int | None = _LARGEST,
    ) -> bytes | None:
        seconds = self._timeout if timeout is None else timeout
        answer = _ask(self._url, method, route, body, self._token, seconds, most)
        if answer.status == 401 and self._given is None:  # another session on the same port: it has a new token
            self._token = self._found(self.status())
            answer = _ask(self._url, method, route, body, self._token, seconds, most)
        if answer.status == none_where:
            return None
        if answer.status != 200:
            raise _fault(self._url, answer)
        return answer.body

    def _decoded(self, body: bytes | None, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body or b"", type=kind)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._url} is an nbproxy of another version ({error}); use the same on both") from None

    # -- the token

    def _found(self, status: dict[str, Any]) -> str:
        """The token of the session at our address.

        :raises ConfigError: there is no file with it that this user may read.
        """
        if not _is_loopback(self._url):
            raise ConfigError(f"{self._url} is on another machine: give token= (session.token there)")
        for token in self._candidates(status):
            if _ask(self._url, "GET", "session", None, token, self._timeout).status != 401:
                return token
        raise ConfigError(f"no token file of yours fits {self._url}: give token= (session.token in its process)")

    def _candidates(self, status: dict[str, Any]) -> Iterator[str]:
        """From the session's own note, which names the one file; where it left none, from where tokens lie."""
        noted = [Path(note.token_file) for note in notes() if _same_place(note.url, self._url)]
        path = (status.get("recording") or {}).get("path")
        for place in noted or list(_ours(Path(path) if path else runtime_directory(), "token-*")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                token = place.read_text().strip()
                if token.isascii() and token.isprintable() and token:
                    yield token


# -- HTTP


def _address(url: str) -> str:
    """Scheme, host and port of what the user gave."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme in _CONNECTIONS and parts.hostname and (parts.port is None or parts.port):
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    raise ConfigError(f"{url!r} is not a proxy's address; it looks like http://127.0.0.1:PORT (session.url)")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):  # "127.example" is somebody's name, not an address
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _same_place(one: str, other: str) -> bool:
    """Whether two addresses are one port of this machine, however the loopback is spelled."""
    return one == other or (urlsplit(one).port == urlsplit(other).port and _is_loopback(one) and _is_loopback(other))


class _Answer(NamedTuple):
    status: int
    body: bytes
    error: str | None  # the type of what was raised there


def _ask(
    url: str,
    method: str,
    route: str,
    body: bytes | None,
    token: str | None,
    timeout: float,
    most: int | None = _LARGEST,
) -> _Answer:
    """One question on a connection of its own: four a second are asked, and none is left open behind a view."""
    parts = urlsplit(url)
    connection = _CONNECTIONS[parts.scheme](parts.hostname or "", parts.port, timeout=timeout)
    fields = {"Connection": "close", "Accept": "application/json"}
    if body is not None:
        fields["Content-Type"] = "application/json"
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, f"/_nbproxy/{route}", body, fields)
        answer = connection.getresponse()
        return _Answer(answer.status, answer.read(most), answer.getheader(ERROR_FIELD))
    except TimeoutError:
        raise SessionClosed(f"{url} did not answer within {timeout:g} s: it may be busy loading a model") from None
    except (OSError, http.client.HTTPException) as error:
        raise SessionClosed(
            f"nothing answers at {url} ({error or type(error).__name__}): was it stopped? "
            "nbproxy.start() or `nbproxy serve` prints the address of a running one"
        ) from None
    except ValueError:
        raise ConfigError("the token is not one of nbproxy's: they are plain ASCII, on one line") from None
    finally:
        connection.close()


def _get_status(url: str, timeout: float) -> dict[str, Any]:
    answer = _ask(url, "GET", "status?quiet", None, None, timeout)
    with contextlib.suppress(msgspec.DecodeError):
        status = msgspec.json.decode(answer.body, type=dict[str, Any])
        if answer.status == 200 and {"state", "recording", "counts"} <= status.keys():
            return status
    raise ConfigError(f"{url} is not an nbproxy: give the proxy's address (session.url), not the search engine's")


_HINTS = {
    401: "the token is refused: give session.token of that very session, and a Host that it allows",
    404: "the proxy does not know this",
}


def _fault(url: str, answer: _Answer) -> Exception:
    """What an answer of the proxy other than 200 means to the caller: what was raised there, where that is told."""
    try:
        reason = str(msgspec.json.decode(answer.body)["error"]["reason"])
    except (msgspec.DecodeError, KeyError, TypeError):
        reason = f"status {answer.status}"
    raised = None if answer.error is None else _raised(answer.error, reason)
    if raised is not None:
        return raised
    kind = ConfigError if answer.status < 500 else NbproxyError
    hint = _HINTS.get(answer.status)
    return kind(f"{url}: {hint} ({reason})" if hint else f"{url}: {reason}")


def _raised(name: str, reason: str) -> Exception | None:
    """The exception of this type and message; None where it is none of nbproxy's or Python's."""
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    error = kind.__new__(kind)
    for base in (ImportError, Exception):  # not ``__init__``: some take more than a message
        if isinstance(error, base):
            base.__init__(error, reason.removeprefix(f"{name}: "))
    return error if reason.removeprefix(f"{name}: ") in str(error) else NbproxyError(reason)


def _plain(value: Any) -> Any:
    """Numbers of other libraries, for JSON."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
