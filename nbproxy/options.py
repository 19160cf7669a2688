"""What ``start`` takes, as one frozen value; which of it can change live is said by a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from .errors import ConfigError
from .settings import FieldsSetting, Limits, Timeouts
from .trust import Cert

LIVE = ("model", "depth", "fields", "min_score", "deadline")
KEPT_WHERE_NONE = ("upstream", "record", "port")  # None on a running session means: keep


@dataclass(frozen=True)
class Options:
    """The arguments of ``start``, each with its default (contract §1)."""

    upstream: Any = field(default=None, repr=False)  # as what else has credentials
    name: str = "default"
    host: str = "127.0.0.1"
    port: int | None = None
    model: Any = field(default=None, repr=False)  # a service's URL may have some
    dialect: Any = None
    depth: int = 50
    fields: FieldsSetting = None
    min_score: float | None = None
    record: Any = None
    deadline: float | None = 5.0
    timeout: float | Timeouts | None = 30.0
    drain: float = 5.0
    limits: Limits = field(default_factory=Limits)
    redact: Callable[..., Any] | None = None
    verify: bool = True
    ca: str | Path | None = None
    cert: Cert | None = field(default=None, repr=False)
    fingerprint: str | None = None
    auth: Any = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    host_header: str = "upstream"

    def __post_init__(self) -> None:
        if self.host_header not in ("upstream", "preserve"):
            raise ConfigError(f"host_header must be 'upstream' or 'preserve', not {self.host_header!r}")
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError("name must be a non-empty string")
        if not isinstance(self.limits, Limits):
            raise ConfigError("limits must be an nbproxy.Limits")
        if self.port is not None and not (isinstance(self.port, int) and 0 <= self.port < 65536):
            raise ConfigError(f"port must be a number from 0 to 65535, or None, not {self.port!r}")
        if self.redact is not None and not callable(self.redact):
            raise ConfigError("redact must be callable: it takes an Exchange and returns one")
        if not (isinstance(self.timeout, Timeouts | None) or (_is_number(self.timeout) and self.timeout > 0)):
            raise ConfigError(f"timeout must be seconds, None, or an nbproxy.Timeouts, not {self.timeout!r}")
        if not (_is_number(self.drain) and self.drain >= 0):
            raise ConfigError(f"drain must be a number of seconds, not {self.drain!r}")
        if not isinstance(self.headers, Mapping | None):
            raise ConfigError(f"headers must be a mapping of names to values, not {type(self.headers).__name__}")
        if not isinstance(getattr(self.record, "path", self.record), str | Path | bool | None):
            raise ConfigError(f"record must be a directory, None, False, or a Recording, not {self.record!r}")

    @property
    def timeouts(self) -> Timeouts:
        """``timeout`` as :class:`Timeouts`: a number sets ``read``, ``connect`` stays."""
        return self.timeout if isinstance(self.timeout, Timeouts) else Timeouts(read=self.timeout)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def changed(options: Options, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Which given arguments differ from a running session's."""
    out = {}
    for name, value in arguments.items():
        if value is None and name in KEPT_WHERE_NONE:
            continue
        if not _same(getattr(options, name), value):
            out[name] = value
    return out


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # a model's own __eq__ may do anything
        return False
