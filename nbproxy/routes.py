"""nbproxy's own routes, under ``/_nbproxy/`` (contract §7). Never forwarded upstream."""

from __future__ import annotations

import hmac
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote_plus

import msgspec

from .background import Worker
from .clicks import Click, read_click
from .client import ClientConnection, error_body
from .context import Context
from .controls import Asking, Listed, Sight, Snapshot
from .drafts import Draft
from .errors import ERROR_FIELD, ClientFault, ConfigError, HttpFault, NbproxyError
from .heads import RequestHead

T = TypeVar("T")
PREFIX = "/_nbproxy/"
_LOOPBACK = frozenset(["localhost", "127.0.0.1", "[::1]", "::1"])
_BODY_LIMIT = 1 << 20
_ARROW = b"application/vnd.apache.arrow.stream"


class Arrow(NamedTuple):
    """An answer that is an Arrow IPC stream, not JSON."""

    stream: bytes


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that the session already has."""

    name: str
    fingerprint: str


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A setting that is not a model: ``depth``, ``fields``, ``min_score`` or ``deadline``."""

    name: Literal["depth", "fields", "min_score", "deadline"]
    value: Any


class Loading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models to load.

    :ivar role: ``model``: ``source`` serves; ``models``, ``shadow``: ``source`` stands there under ``name`` (None: it
        goes); without a ``name`` all of ``sources`` take the place of what is there.
    """

    role: Literal["model", "models", "shadow"]
    source: str | Kept | None = None
    name: str | None = None
    sources: dict[str, str | Kept] | None = None


class Trying(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to be scored by a model that the session has."""

    model: Kept
    query: str
    texts: list[str]


class Desk(Protocol):
    """What the routes ask of the session; called on the loop's thread, or on the route's worker."""

    @property
    def token(self) -> str: ...
    @property
    def allowed_hosts(self) -> frozenset[str]: ...

    # on the loop's thread: never block
    def clicked(self, click: Click) -> None: ...
    def flushed(self, seconds: float) -> Awaitable[bool]: ...
    def scored(self, trying: Trying) -> Awaitable[list[float]]: ...
    def end(self) -> None: ...

    # on a worker's
    def status_now(self) -> dict[str, Any]: ...
    def facts(self) -> dict[str, Any]: ...
    def snapshot_now(self, lines: int) -> Snapshot: ...
    def sight_now(self, exchange_id: str) -> Sight | None: ...
    def sights_now(self, exchange_id: str, part: int | None) -> tuple[Sight, ...]: ...
    def lines_now(self, asking: Asking) -> Listed: ...
    def errors(self) -> list[Any]: ...
    def page(self, kind: str, since: int, *, bulky: bool) -> bytes: ...
    def row(self, exchange_id: str, part: int | None) -> bytes: ...
    def set_model(self, name: str | None) -> None: ...
    def change(self, change: Change) -> None: ...
    def load(self, loading: Loading) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one of our routes."""

    params: Mapping[str, str]
    body: bytes
    exchange_id: str = ""

    def number(self, name: str, default: int, most: int) -> int:
        """A parameter that is a whole number, brought to 0 … ``most``."""
        try:
            return max(0, min(most, int(self.params.get(name, default))))
        except ValueError:
            raise ClientFault(f"{name} must be a whole number") from None

    def json(self, kind: type[T]) -> T:
        """The body as a ``kind``."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientFault(f"the body must be JSON that this route takes: {error}") from None


@dataclass(frozen=True, slots=True)
class Own:
    """One route.

    :ivar answer: what is answered, as JSON; an :class:`Arrow`; or an awaitable of one of the two.
    :ivar on: the worker that it runs on; None: the event loop.
    :ivar status: of what is answered.
    :ivar open: a page of any other origin may send it, and read the answer. Nothing that needs a token is.
    :ivar quiet: looks at the recording, so it must not grow by it: not recorded where it succeeds. A GET can ask for
        the same (``status?quiet``): a view's own look is no traffic.
    """

    method: Literal["GET", "POST"]
    answer: Callable[[Desk, Call], Any]
    token: bool = True
    on: Literal["views", "loads"] | None = None
    quiet: bool = False
    status: int = 200
    open: bool = False

    @property
    def allowed(self) -> str:
        """The field ``Allow``."""
        return "GET, HEAD" if self.method == "GET" else self.method


def _snapshot(desk: Desk, call: Call) -> Any:
    return desk.snapshot_now(call.number("lines", 50, 1000))


def _sight(desk: Desk, call: Call) -> Any:
    sight = desk.sight_now(call.params.get("exchange_id", ""))
    if sight is None:
        raise ClientFault("no recorded search has this exchange_id", status=404, type="nbproxy_not_found")
    return sight


def _model(desk: Desk, call: Call) -> Any:
    try:
        name = msgspec.json.decode(call.body, type=dict[str, str | None])["model"]
        desk.set_model(name)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        raise ClientFault('the body must be {"model": NAME}') from None
    except ConfigError as error:
        raise ClientFault(str(error), type="nbproxy_unknown_model") from error
    return desk.status_now()["model"]


def _click(desk: Desk, call: Call) -> Any:
    desk.clicked(read_click(call.body, call.exchange_id, time.time()))
    return {"accepted": True}


def _load(desk: Desk, call: Call) -> Any:
    desk.load(call.json(Loading))
    return desk.facts()["settings"]


def _change(desk: Desk, call: Call) -> Any:
    desk.change(call.json(Change))
    return desk.facts()["settings"]


def _page(kind: str) -> Callable[[Desk, Call], Arrow]:
    def page(desk: Desk, call: Call) -> Arrow:
        return Arrow(desk.page(kind, call.number("since", 0, 1 << 62), bulky=call.params.get("bulky") == "1"))

    return page


def _sights(desk: Desk, call: Call) -> Any:
    part = call.number("part", 0, 1 << 62) if "part" in call.params else None
    return desk.sights_now(call.params.get("exchange_id", ""), part)


def _listed(desk: Desk, call: Call) -> Any:
    try:
        asking = msgspec.json.decode(call.params.get("asking", "{}"), type=Asking)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ClientFault(f"asking must be JSON that this route takes: {error}") from None
    return desk.lines_now(asking)


def _row(desk: Desk, call: Call) -> Arrow:
    part = call.number("part", 0, 1 << 62) if "part" in call.params else None
    return Arrow(desk.row(call.params.get("exchange_id", ""), part))


ROUTES: dict[str, Own] = {
    "status": Own("GET", lambda desk, _: desk.status_now(), token=False, on="views"),
    # From a browser by navigator.sendBeacon, or by fetch as a simple request: neither is asked about beforehand.
    "click": Own("POST", _click, token=False, status=202, open=True),
    "session": Own("GET", lambda desk, _: desk.facts(), on="views", quiet=True),
    "snapshot": Own(
        "GET", lambda desk, call: desk.snapshot_now(call.number("lines", 50, 1000)), on="views", quiet=True
    ),
    "sight": Own("GET", _sight, on="views", quiet=True),
    "sights": Own("GET", _sights, on="views", quiet=True),
    "lines": Own("GET", _listed, on="views", quiet=True),
    "errors": Own("GET", lambda desk, _: desk.errors(), on="views", quiet=True),
    "rows": Own("GET", _page("rows"), on="views", quiet=True),
    "hits": Own("GET", _page("hits"), on="views", quiet=True),
    "events": Own("GET", _page("events"), on="views", quiet=True),
    "row": Own("GET", _row, on="views", quiet=True),
    "flush": Own("GET", lambda desk, call: desk.flushed(call.number("ms", 0, 30_000) / 1000), quiet=True),
    "score": Own("POST", lambda desk, call: desk.scored(call.json(Trying)), quiet=True),
    "model": Own("POST", _model, on="loads"),
    "load": Own("POST", _load, on="loads"),
    "settings": Own("POST", _change, on="views"),
    "stop": Own("POST", lambda desk, _: desk.end()),
}


def find(head: RequestHead, desk: Desk) -> Own:
    """The route that is asked for.

    :raises ClientFault: 404; 405; 401 where the token is missing or wrong, or the Host a stranger's (DNS rebinding).
    """
    name = _name(head.target)
    route = ROUTES.get(name)
    if route is None:
        if not _authorized(head, desk):
            raise _unauthorized()
        raise ClientFault(f"there is no route {PREFIX}{name}", status=404, type="nbproxy_not_found")
    if head.method != route.method and not (head.method == "HEAD" and route.method == "GET"):
        raise ClientFault(f"{PREFIX}{name} takes {route.allowed}", status=405, type="nbproxy_bad_method")
    if route.token and not _authorized(head, desk):
        raise _unauthorized()
    return route


def _unauthorized() -> ClientFault:
    return ClientFault(
        "this route needs 'Authorization: Bearer TOKEN' (session.token) and a Host that is a loopback name or allowed "
        "(session.allowed_hosts, nbproxy serve --allow-host)",
        status=401,
        type="nbproxy_unauthorized",
    )


def _authorized(head: RequestHead, desk: Desk) -> bool:
    given = (head.value(b"authorization") or b"").decode("latin-1")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), desk.token.encode()):
        return False
    host = (head.value(b"host") or b"").decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    name = name if colon and port.isdigit() else host
    return name in _LOOPBACK or name in desk.allowed_hosts


def is_own(target: str) -> bool:
    """Whether a target is ours: never forwarded. By its bytes: what is spelled otherwise (``/%5fnbproxy``) is not."""
    return target.startswith(PREFIX) or target.partition("?")[0] == PREFIX[:-1]


class OwnExchange:
    """One request to a route of ours."""

    def __init__(self, context: Context, client: ClientConnection, draft: Draft, desk: Desk) -> None:
        self._context, self._client, self._draft, self._desk = context, client, draft, desk
        draft.keep = (0, 0)  # a model's address may have a key in it, an answer what is recorded already
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False
        self._ending: bool | None = None  # the answer is written, but not read yet; whether the connection is kept

    def start(self) -> None:
        """Begin: the body is gathered first."""
        if self._draft.head.expects_continue:
            self._client.invite()

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _BODY_LIMIT:
            self.on_fault(ClientFault("the body is too large"))
            return
        self._pieces.append(data)
        self._draft.received(data)

    def on_body_end(self, _trailers: bytes) -> None:
        if self._over:
            return
        try:
            route = find(self._draft.head, self._desk)
        except HttpFault as fault:
            self.on_fault(fault)
            return
        self._context.spawn(self._run(route))

    async def _run(self, route: Own) -> None:
        call = Call(_params(self._draft.head.target), b"".join(self._pieces), self._draft.exchange_id)
        try:
            result = await self._result(route, call)
        except Exception as error:
            self.on_fault(self._fault(error))
        else:
            self._answer(
                route.status,
                result,
                self._fields,
                quiet=route.quiet or (route.method == "GET" and "quiet" in call.params),
            )

    def _fault(self, error: Exception) -> HttpFault:
        """What is answered where a route raises."""
        if isinstance(error, HttpFault):
            return error
        if isinstance(error, NbproxyError):
            fault: HttpFault = ClientFault(str(error))
        else:  # a bug of ours, or of a model's code, is told, not left to a client's time-out
            self._context.note("nbproxy", self._draft.exchange_id, error)
            fault = HttpFault(f"{type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    async def _result(self, route: Own, call: Call) -> Any:
        if route.on is None:
            result = route.answer(self._desk, call)
            return _encoded(await result if inspect.isawaitable(result) else result)
        worker: Worker = getattr(self._context, route.on)
        return await worker.call(lambda: _encoded(route.answer(self._desk, call)))

    def on_client_blocked(self, blocked: bool) -> None:
        if self._ending is not None and not blocked:
            self._client.finish(self._ending)

    def on_client_gone(self) -> None:
        if not self._over:
            self._over = True
            self._draft.finish("the client closed the connection")

    @property
    def _fields(self) -> bytes:
        route = ROUTES.get(_name(self._draft.head.target))
        return b"Access-Control-Allow-Origin: *\r\n" if route is not None and route.open else b""

    def on_fault(self, fault: HttpFault) -> None:
        fields = b"WWW-Authenticate: Bearer\r\n" if fault.status == 401 else self._fields
        if fault.status == 405:
            fields += b"Allow: %b\r\n" % ROUTES[_name(self._draft.head.target)].allowed.encode()
        if fault.__cause__ is not None:
            fields += f"{ERROR_FIELD}: {type(fault.__cause__).__name__}\r\n".encode("ascii", "replace")
        self._answer(fault.status, error_body(fault), fields, str(fault))

    def _answer(
        self, status: int, body: bytes | Arrow, fields: bytes = b"", error: str | None = None, *, quiet: bool = False
    ) -> None:
        if self._over:
            return
        self._over = True
        head = self._draft.head
        keep = head.persistent and not self._client.body_pending
        if isinstance(body, Arrow):
            block, body = self._stream(body.stream, keep), body.stream
        else:
            block = self._client.answer(status, body, fields=fields, head_only=head.method == "HEAD", keep=keep)
        self._draft.respond(status, block)
        if head.method != "HEAD":
            self._draft.returned(body)
        if not quiet:
            self._draft.note(model=None, model_fingerprint=None)
            self._draft.finish(error)
        if self._client.blocked:  # no other page is made while this one is on its way
            self._ending = keep
        else:
            self._client.finish(keep)

    def _stream(self, stream: bytes, keep: bool) -> bytes:
        """Write an Arrow stream; gives its field lines."""
        close = b"" if keep else b"Connection: close\r\n"
        block = b"Content-Type: %b\r\nContent-Length: %d\r\n%b" % (_ARROW, len(stream), close)
        self._client.write(b"HTTP/1.1 200 OK\r\n%b\r\n" % block)
        if self._draft.head.method != "HEAD":
            self._client.write(stream)
        return block


def _encoded(result: Any) -> bytes | Arrow:
    return result if isinstance(result, Arrow) else msgspec.json.encode(result)


def _name(target: str) -> str:
    return target.partition("?")[0][len(PREFIX) :]


def _params(target: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in target.partition("?")[2].split("&") if pair)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
