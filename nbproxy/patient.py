"""Who is looked at by :mod:`nbproxy.doctor`, and what a check says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from . import probing
from .errors import NbproxyError, UpstreamFault
from .origin import Origin, origin
from .probing import Answer
from .remote import Remote, find_running, notes

State = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One thing that was looked at; ``todo`` is empty where nothing is to be done."""

    state: State
    what: str
    todo: str = ""


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    :ivar place: upstream, None where none is known.
    :ivar proxy: a running proxy's address, None where none runs.
    :ivar record: where it would record.
    :ivar port: on which it would listen, None: any.
    :ivar model: a model's name as ``--model`` takes it.
    """

    place: Origin | None = None
    proxy: str | None = None
    record: Path | None = None
    port: int | None = None
    host: str = "127.0.0.1"
    model: str | None = None
    token: str | None = None
    timeout: float = 5.0

    @cached_property
    def root(self) -> Answer | UpstreamFault:
        """What upstream answers at its root, or why it does not."""
        assert self.place is not None
        try:
            return probing.ask(self.place, timeout=self.timeout)
        except UpstreamFault as fault:
            return fault

    @property
    def answer(self) -> Answer | None:
        """The same, None where there is none, or no upstream."""
        return self.root if self.place is not None and isinstance(self.root, Answer) else None

    def asked(self, target: str) -> Answer | None:
        """What upstream answers there, None for nothing."""
        if self.place is None or self.answer is None:
            return None
        with contextlib.suppress(UpstreamFault):
            return probing.ask(self.place, target, timeout=self.timeout)
        return None

    @cached_property
    def status(self) -> Mapping[str, Any]:
        """The proxy's, empty where it does not answer."""
        return {} if self.proxy is None else proxied(self.proxy, self.timeout) or {}

    @cached_property
    def errors(self) -> tuple[str, ...]:
        """The proxy's newest, newest last; none where it may not be asked."""
        if self.status and self.proxy is not None:
            with contextlib.suppress(NbproxyError):
                return Remote(self.proxy, self.token, timeout=self.timeout).snapshot(1).errors
        return ()


def patient(url: str | None = None, *, tls: Mapping[str, Any] | None = None, **more: Any) -> Patient:
    """Who is looked at: a proxy and its upstream, or an upstream, told apart by asking.

    :param url: of either; None: this user's newest running proxy, if there is one.
    :param tls: what :func:`nbproxy.origin.origin` takes beside the URL.
    :raises ConfigError: the URL, or an option, cannot be used.
    """
    options = {name: value for name, value in (tls or {}).items() if value is not None}
    proxy = url or find_running()
    status = None if proxy is None else proxied(proxy, more.get("timeout", 5.0))
    if status is None and url is not None:
        place = origin(url, **options)
        return Patient(place=place, proxy=_in_front_of(place), **more)
    upstream = (status or {}).get("upstream")
    return Patient(place=origin(upstream, **options) if upstream else None, proxy=proxy if status else None, **more)


def proxied(url: str, timeout: float) -> dict[str, Any] | None:
    """The status of the proxy at an address, None where there is no proxy."""
    with contextlib.suppress(NbproxyError):
        status = probing.ask(origin(url, verify=False), "/_nbproxy/status", timeout=timeout).json()
        return status if {"version", "state", "upstream"} <= status.keys() else None
    return None


def _in_front_of(place: Origin) -> str | None:
    """The user's proxy that has this upstream."""
    for note in notes():
        status = proxied(note.url, 1.0)
        if status and status["upstream"] == place.url:
            return note.url
    return None
