"""Where a request says something, in the notation of a ``JSONDialect``, and how it is read and changed there.

| written | means |
|---|---|
| ``$.query.text`` | a JSONPath into the request's JSON body |
| ``?q`` | a parameter of the URL |
| ``$.params?query`` | a parameter of an URL-encoded string in the body |
| ``X-Query-Text:`` | a header field (read, never changed) |
| ``GET ?q`` | any of these, for requests by one method only |

Several stand for alternatives: the first that the request has counts. What it has nowhere is added in the body where
there is one, else in the URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

from ..errors import ConfigError
from ..messages import Request
from . import json_paths, json_spans, search_request, splice
from .json_paths import MISSING, Path
from .search_request import Malformed

_PLACE = re.compile(r"(?:(?P<method>[A-Z]+) )?(?:(?P<header>[A-Za-z0-9!#$%&'*+.^_`|~-]+):|(?P<rest>.+))", re.S)
_PARAM = re.compile(r"(?P<path>\$.*)?\?(?P<param>[^?@\s\]()]+)", re.S)

PlacesSetting = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Place:
    """One place in a request; see the table above."""

    text: str
    method: str | None = None
    header: str | None = None
    path: Path | None = None
    param: str | None = None

    @property
    def in_body(self) -> bool:
        return self.path is not None

    @property
    def settable(self) -> bool:
        """Whether something can be put there where it is not yet."""
        return self.header is None and (self.path is None or self.path.names is not None)


Places = tuple[Place, ...]


def place(text: str) -> Place:
    """The place that ``text`` means.

    :raises ConfigError: none.
    """
    found = _PLACE.fullmatch(text) if isinstance(text, str) else None
    if found is None or not (found["header"] or found["rest"][:1] in "$?"):
        raise ConfigError(
            f"{text!r} is no place in a request: write '$.a.b' for the JSON body, '?name' for the URL, or 'Name:' "
            "for a header field"
        )
    if found["header"]:
        return Place(text, found["method"], header=found["header"])
    inner = _PARAM.fullmatch(found["rest"])
    if inner is None:
        return Place(text, found["method"], path=json_paths.path(found["rest"]))
    at = json_paths.path(inner["path"]) if inner["path"] else None
    if at is not None and at.names is None:
        raise ConfigError(f"{text!r}: the string that holds the parameter must lie at a plain path, like '$.params'")
    return Place(text, found["method"], path=at, param=inner["param"])


def places(setting: PlacesSetting, what: str, *, settable: bool = False) -> Places:
    """The places that a setting means, in order.

    :param settable: something will be put there, so that a JSONPath must be plain (``$.a.b``).
    :raises ConfigError: one of them cannot be read, or not be set.
    """
    if setting is not None and not isinstance(setting, str | Iterable):
        raise ConfigError(f"{what}= is a place or a list of places, not {setting!r}")
    found = tuple(map(place, (setting,) if isinstance(setting, str) else setting or ()))
    for one in found:
        if settable and not one.settable:
            raise ConfigError(f"{what}={one.text!r} is changed in requests, so it must be plain: '$.a.b' or '?name'")
    return found


class Asked:
    """A request, read as far as somebody looks.

    :ivar part: it is one of several searches in a request: what its URL says holds for all of them.
    """

    def __init__(self, request: Request, *, part: bool = False) -> None:
        self.request, self.part = request, part
        self.params: Mapping[str, str] = request.params

    @cached_property
    def has_body(self) -> bool:
        return bool(self.request.body.strip())

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body's object, empty where there is no body.

        :raises Malformed: it is no JSON object, or one with a repeated key.
        """
        return search_request.parse(self.request.body) if self.has_body else {}

    def values(self, place: Place) -> list[Any]:
        """What the request says there: nothing, one value, or all that a JSONPath finds. ``null`` is nothing."""
        if place.method not in (None, self.request.method):
            return []
        if place.header is not None:
            return self.request.headers.all(place.header)[:1]
        if place.path is None:
            assert place.param is not None
            return [self.params[place.param]] if place.param in self.params else []
        found = [value for value in place.path.values(self.body) if value is not None]
        if place.param is None:
            return found
        inner = _decoded(found[0]) if found and isinstance(found[0], str) else {}
        return [inner[place.param]] if place.param in inner else []

    def first(self, places: Places) -> tuple[Place, list[Any]] | None:
        """The first place that the request has, with its values."""
        return next(((one, values) for one in places if (values := self.values(one))), None)

    def value(self, places: Places, default: Any = None) -> Any:
        """The first value at the first place that the request has."""
        found = self.first(places)
        return default if found is None else found[1][0]

    def target(self, places: Places) -> Place | None:
        """Where something is changed or, if the request does not say it yet, added; None: it cannot be."""
        found = self.first(places)
        if found is not None:
            return found[0] if found[0].settable and self._within(found[0]) else None
        fitting = [one for one in places if one.settable and one.method in (None, self.request.method)]
        return next(filter(self._may_hold, sorted(fitting, key=lambda one: not one.in_body)), None)

    def _within(self, place: Place) -> bool:
        return place.in_body or not self.part

    def _may_hold(self, place: Place) -> bool:
        if place.path is None:
            return not self.part
        if place.param is None:
            return self.has_body
        return isinstance(json_paths.dig(self.body, place.path.parts or ()), str)


def _decoded(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


@dataclass(slots=True)
class Edits:
    """What is to be changed in a request; nothing else of it is."""

    asked: Asked
    target: str
    body: bytes

    @classmethod
    def of(cls, asked: Asked) -> Edits:
        return cls(asked, asked.request.target, asked.request.body)

    def set(self, place: Place, value: Any) -> None:
        """``value`` (JSON-able) there; :data:`MISSING` takes out what is there."""
        if place.path is None:
            assert place.param is not None
            self.target = splice.set_params(self.target, {place.param: _in_url(value)})
        elif place.param is None:
            self.body = json_paths.replace_at(self.body, place.path.names or (), _in_json(value))
        else:
            self._set_inner(place.path.names or (), place.param, value)

    def _set_inner(self, names: Sequence[str], param: str, value: Any) -> None:
        span = json_paths.locate(self.body, names)
        if span is None:
            return
        text = json_spans.decode_string(self.body[span[0] : span[1]])
        changed = splice.set_params("?" + text, {param: _in_url(value)}).removeprefix("?")
        self.body = json_paths.replace_at(self.body, names, _in_json(changed))

    def done(self) -> Request:
        """The request with the edits in it; the very same one where there are none."""
        request = self.asked.request
        if self.target == request.target and self.body == request.body:
            return request
        return request.replace(target=self.target, body=self.body)


def _in_url(value: Any) -> str | None:
    if value is MISSING:
        return None
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _in_json(value: Any) -> bytes | None:
    return None if value is MISSING else json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def names_in(values: Iterable[Any], separator: str = ".") -> tuple[str, ...]:
    """Names of fields out of lists, or texts with commas; boosts (``title^3``) removed, ``.`` between the parts."""
    out: list[str] = []
    for value in values:
        found = csv(value) if isinstance(value, str) else value if isinstance(value, list) else ()
        out += [one.partition("^")[0].replace(separator, ".") for one in found if isinstance(one, str)]
    return tuple(dict.fromkeys(name for name in out if name))


def csv(text: str) -> list[str]:
    """The items of ``a, b``, or of a JSON array in a URL."""
    if text.lstrip()[:1] == "[":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list):
            return [one for one in found if isinstance(one, str)]
    return [one.strip() for one in text.split(",") if one.strip()]


__all__ = ["Asked", "Edits", "Malformed", "Place", "Places", "PlacesSetting", "csv", "names_in", "place", "places"]
