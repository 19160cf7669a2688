"""Frozen settings: a live change makes a new ``Settings`` behind one reference, which an exchange takes once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from string import Formatter
from types import MappingProxyType

from .errors import ConfigError
from .ranking import Hit, Model, Reranker

FieldsSetting = str | Sequence[str] | Callable[[Hit], str | None] | None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; None: unlimited. ``connect``: to open a connection to upstream; ``read``: between bytes from it."""

    connect: float | None = 2.0
    read: float | None = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for; sizes in bytes, times in seconds, None: unlimited (contract §1).

    :ivar head_bytes, head_fields: of a request head, above: 431.
    :ivar target_bytes: of a request target, above: 414.
    :ivar search_bytes: of a search's body, above: passed through streaming, reason ``too-large``.
    :ivar answer_bytes: of a search's (decompressed) answer, above: reason ``too-large``.
    :ivar connections: of clients at once, above: 503.
    :ivar idle_s: a connection without a request is closed.
    :ivar head_s: to send a whole head, above: 408.
    :ivar body_s: between two pieces of a body, above: 408.
    """

    head_bytes: int | None = 65_536
    head_fields: int | None = 256
    target_bytes: int | None = 8_192
    search_bytes: int | None = 16 * 2**20
    answer_bytes: int | None = 64 * 2**20
    connections: int | None = 10_000
    idle_s: float | None = 75.0
    head_s: float | None = 10.0
    body_s: float | None = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a running proxy lets change between two exchanges.

    :ivar model: the serving reranker, or a merger of two; None: answer as upstream does.
    :ivar models: others that a client may pick by ``X-Nbproxy-Model``.
    :ivar shadow: others that score each search after its answer has gone.
    :ivar depth: how many hits are fetched and reranked.
    :ivar fields: what the model reads (contract §3).
    :ivar min_score: scored hits below it are removed after the page is cut.
    :ivar deadline: seconds from upstream's last byte to the decided order.
    """

    model: Model | None = None
    models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    shadow: Mapping[str, Reranker] = field(default_factory=lambda: MappingProxyType({}))
    depth: int = 50
    fields: FieldsSetting = None
    min_score: float | None = None
    deadline: float | None = 5.0

    def __post_init__(self) -> None:
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 1:
            raise ConfigError(f"depth must be a whole number of at least 1, not {self.depth!r}")
        if self.deadline is not None and not (_is_number(self.deadline) and self.deadline > 0):
            raise ConfigError(f"deadline must be a number of seconds above 0, or None, not {self.deadline!r}")
        if self.min_score is not None and not _is_number(self.min_score):
            raise ConfigError(f"min_score must be a number or None, not {self.min_score!r}")
        _check_fields(self.fields)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_fields(fields: FieldsSetting) -> None:
    if isinstance(fields, str):
        try:
            list(Formatter().parse(fields))
        except ValueError as error:
            raise ConfigError(f"fields: the format {fields!r} cannot be read: {error}") from None
    elif not (fields is None or callable(fields) or _are_names(fields)):
        raise ConfigError(
            "fields must be None, a field, a format like '{title}. {body}', a list of fields, or a callable"
        )


def _are_names(fields: object) -> bool:
    return isinstance(fields, Iterable) and all(isinstance(name, str) for name in fields)
