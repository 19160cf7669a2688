"""nbproxy's own routes, under ``/_nbproxy/`` (contract §7). Never forwarded upstream."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import unquote_plus

import msgspec

from .background import Worker
from .client import ClientConnection, error_body
from .context import Context
from .controls import Sight, Snapshot
from .drafts import Draft
from .errors import ClientFault, ConfigError, HttpFault, NbproxyError
from .heads import RequestHead

PREFIX = "/_nbproxy/"
_LOOPBACK = frozenset(["localhost", "127.0.0.1", "[::1]", "::1"])
_BODY_LIMIT = 1 << 20


class Desk(Protocol):
    """What the routes ask of the session; called on the loop's thread, or on the route's worker."""

    def status_now(self) -> dict[str, Any]: ...
    def snapshot_now(self, lines: int) -> Snapshot: ...
    def sight_now(self, exchange_id: str) -> Sight | None: ...
    def set_model(self, name: str | None) -> None: ...
    @property
    def token(self) -> str: ...
    @property
    def allowed_hosts(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one of our routes."""

    params: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Own:
    """One route. ``on``: the worker that it runs on; None: the event loop."""

    method: Literal["GET", "POST"]
    answer: Callable[[Desk, Call], Any]
    token: bool = True
    on: Literal["views", "loads"] | None = None


def _number(call: Call, name: str, default: int) -> int:
    try:
        return max(0, min(1000, int(call.params.get(name, default))))
    except ValueError:
        raise ClientFault(f"{name} must be a whole number") from None


def _sight(desk: Desk, call: Call) -> Any:
    sight = desk.sight_now(call.params.get("exchange_id", ""))
    if sight is None:
        raise ClientFault("no recorded search has this exchange_id", status=404, type="nbproxy_not_found")
    return sight


def _model(desk: Desk, call: Call) -> Any:
    try:
        name = msgspec.json.decode(call.body, type=dict[str, str | None])["model"]
        desk.set_model(name)
    except (msgspec.DecodeError, KeyError):
        raise ClientFault('the body must be {"model": NAME}') from None
    except ConfigError as error:
        raise ClientFault(str(error), type="nbproxy_unknown_model") from None
    return desk.status_now()["model"]


ROUTES: dict[str, Own] = {
    "status": Own("GET", lambda desk, _: desk.status_now(), token=False, on="views"),
    "snapshot": Own("GET", lambda desk, call: desk.snapshot_now(_number(call, "lines", 50)), on="views"),
    "sight": Own("GET", _sight, on="views"),
    "model": Own("POST", _model, on="loads"),
}


def find(head: RequestHead, desk: Desk) -> Own:
    """The route that is asked for.

    :raises ClientFault: 404, 405, 401, or 421 where the Host is a stranger's (DNS rebinding).
    """
    name = head.target.partition("?")[0][len(PREFIX) :]
    route = ROUTES.get(name)
    if route is None:
        if not _authorized(head, desk):
            raise _unauthorized()
        raise ClientFault(f"there is no route {PREFIX}{name}", status=404, type="nbproxy_not_found")
    if head.method != route.method and not (head.method == "HEAD" and route.method == "GET"):
        raise ClientFault(f"{PREFIX}{name} takes {route.method}", status=405, type="nbproxy_bad_method")
    if route.token and not _authorized(head, desk):
        raise _unauthorized()
    return route


def _unauthorized() -> ClientFault:
    return ClientFault(
        "this route needs 'Authorization: Bearer TOKEN' (session.token) and a loopback Host",
        status=401,
        type="nbproxy_unauthorized",
    )


def _authorized(head: RequestHead, desk: Desk) -> bool:
    host = (head.value(b"host") or b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    given = (head.value(b"authorization") or b"").decode("latin-1")
    scheme, _, token = given.partition(" ")
    right = scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), desk.token.encode())
    return right and name in _LOOPBACK | desk.allowed_hosts


def is_own(target: str) -> bool:
    """Whether a target is ours, however its path is spelled: never forwarded."""
    return target.startswith(PREFIX) or target.partition("?")[0] == PREFIX[:-1]


class OwnExchange:
    """One request to a route of ours."""

    def __init__(self, context: Context, client: ClientConnection, draft: Draft, desk: Desk) -> None:
        self._context, self._client, self._draft, self._desk = context, client, draft, desk
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False

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
        call = Call(_params(self._draft.head.target), b"".join(self._pieces))
        try:
            result = await self._result(route, call)
        except HttpFault as fault:
            self.on_fault(fault)
        except NbproxyError as error:
            self.on_fault(ClientFault(str(error)))
        except Exception as error:  # a bug of ours is told, not left to a client's time-out
            self._context.note("nbproxy", self._draft.exchange_id, error)
            self.on_fault(HttpFault(f"{type(error).__name__}: {error}"))
        else:
            self._answer(200, result)

    async def _result(self, route: Own, call: Call) -> bytes:
        def make() -> bytes:
            return msgspec.json.encode(route.answer(self._desk, call))

        if route.on is None:
            return make()
        worker: Worker = getattr(self._context, route.on)
        return await worker.call(make)

    def on_client_blocked(self, blocked: bool) -> None:
        pass

    def on_client_gone(self) -> None:
        if not self._over:
            self._over = True
            self._draft.finish("the client closed the connection")

    def on_fault(self, fault: HttpFault) -> None:
        fields = b"WWW-Authenticate: Bearer\r\n" if fault.status == 401 else b""
        if fault.status == 405:
            allowed = ROUTES[self._draft.head.target.partition("?")[0][len(PREFIX) :]].method
            fields = b"Allow: %b\r\n" % allowed.encode()
        self._answer(fault.status, error_body(fault), fields, str(fault))

    def _answer(self, status: int, body: bytes, fields: bytes = b"", error: str | None = None) -> None:
        if self._over:
            return
        self._over = True
        head = self._draft.head
        keep = head.persistent and not self._client.body_pending
        block = self._client.answer(status, body, fields=fields, head_only=head.method == "HEAD", keep=keep)
        self._draft.respond(status, block)
        if head.method != "HEAD":
            self._draft.returned(body)
        self._draft.note(model=None, model_fingerprint=None)
        self._draft.finish(error)
        self._client.finish(keep)


def _params(target: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in target.partition("?")[2].split("&") if pair)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
