"""HTTP messages as values: frozen, bytes inside, header fields in order with their case and repeats kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self
from urllib.parse import unquote_plus

Field = tuple[bytes, bytes]


class Headers:
    """Header fields, ordered, looked up without regard to case, repeats kept."""

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[Field, ...] | list[Field] = ()) -> None:
        self._fields = tuple(fields)

    @classmethod
    def parse(cls, block: bytes) -> Self:
        """From the lines of a head that ``wire`` has checked: ``Name: value\\r\\n`` each."""
        pairs = (line.partition(b":") for line in block.split(b"\r\n") if line)
        return cls([(name, value.strip(b" \t")) for name, _, value in pairs])

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"Headers({len(self)} fields)"  # values may hold credentials

    def all(self, name: str) -> list[str]:
        """Every value of ``name``, in order, as Latin-1 text."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self._fields if key.lower() == wanted]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of ``name``."""
        values = self.all(name)
        return values[0] if values else default

    def without(self, *names: str) -> Headers:
        """A copy that lacks ``names``."""
        gone = {name.lower().encode("latin-1") for name in names}
        return Headers([pair for pair in self._fields if pair[0].lower() not in gone])

    def with_value(self, name: str, value: str) -> Headers:
        """A copy where ``name`` has this one value, in the place of its first, or at the end."""
        key, new = name.lower().encode("latin-1"), (name.encode("latin-1"), value.encode("latin-1"))
        out: list[Field] = []
        placed = False
        for pair in self._fields:
            if pair[0].lower() != key:
                out.append(pair)
            elif not placed:
                out.append((pair[0], new[1]))
                placed = True
        return Headers(out if placed else [*out, new])

    def encode(self) -> bytes:
        """The lines of a head."""
        return b"".join(name + b": " + value + b"\r\n" for name, value in self._fields)


@dataclass(frozen=True)
class Request:
    """A whole request. ``target`` is the origin-form as it goes upstream: path and query string, raw."""

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, percent-encoded as it came."""
        return self.target.partition("?")[0]

    @cached_property
    def params(self) -> dict[str, str]:
        """The query string's parameters, decoded; the last one wins, a bare name is the empty string."""
        pairs = (pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair)
        return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}

    def replace(
        self, *, target: str | None = None, body: bytes | None = None, headers: Headers | None = None
    ) -> Request:
        """A copy with some parts changed."""
        return replace(
            self,
            target=self.target if target is None else target,
            body=self.body if body is None else body,
            headers=self.headers if headers is None else headers,
        )
