"""Everything nbproxy raises, split by whose fault it is.

    NbproxyError
    ├── ConfigError            the caller asked for something that cannot be (also a ValueError)
    │   └── MissingExtra       an optional library is not installed (also an ImportError)
    ├── SessionClosed          the session was stopped, or belongs to the parent of a fork
    ├── ClientFault            the client's request cannot be served          (4xx)
    ├── UpstreamFault          the search engine cannot be reached or read    (5xx)
    │   └── UpstreamTimeout    … or is too slow
    └── RerankFault            a model failed; searches are answered in the original order

A fault that is answered over HTTP carries its ``status`` and the ``type`` that stands in the JSON body
(contract §7), so that the server needs no ladder to turn one into the other.
"""

from __future__ import annotations

ERROR_FIELD = "X-Nbproxy-Error"  # of our own routes' answers: the type of what was raised, to be raised again


class NbproxyError(Exception):
    """Root of the tree. In a notebook its traceback ends at the user's own line; ``%tb`` shows all."""

    def _render_traceback_(self) -> list[str]:
        from .tracebacks import rendered

        return rendered(self)


class ConfigError(NbproxyError, ValueError):
    """An argument cannot be used; the message says what to do."""


class MissingExtra(ConfigError, ImportError):
    """An optional library is missing.

    :param library: the module that could not be imported.
    :param install: the command that installs it.
    """

    def __init__(self, library: str, install: str, why: str = "") -> None:
        super().__init__(f"{library} is not installed{f' ({why})' if why else ''}; run: {install}")


class SessionClosed(NbproxyError, RuntimeError):
    """The session was stopped, or this process is a fork of the one that owns it."""


class HttpFault(NbproxyError):
    """A fault with an HTTP answer."""

    status = 500
    type = "nbproxy_error"

    def __init__(self, reason: str, *, status: int | None = None, type: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = self.status if status is None else status
        self.type = self.type if type is None else type


class ClientFault(HttpFault):
    """The client's request cannot be served."""

    status = 400
    type = "nbproxy_bad_request"


class UpstreamFault(HttpFault):
    """The search engine cannot be reached, or its answer cannot be read.

    :ivar reset: it reset the connection.
    """

    reset = False
    status = 502
    type = "nbproxy_upstream_unreachable"


class UpstreamTimeout(UpstreamFault):
    """The search engine did not answer in time."""

    status = 504
    type = "nbproxy_upstream_timeout"


class RerankFault(NbproxyError):
    """A model failed; the search is answered in the original order.

    :param why: one of the contract's reasons: ``model-error``, ``deadline``, ``overloaded``.
    """

    def __init__(self, message: str, *, why: str = "model-error") -> None:
        super().__init__(message)
        self.why = why


def limit_fault(status: int, reason: str) -> ClientFault:
    """A :class:`ClientFault` for a limit of ours (408, 414, 431, 503)."""
    return ClientFault(reason, status=status, type="nbproxy_limit")
