"""What a user may have got wrong in the description of a dialect, said with what to write instead."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from . import json_paths
from .json_paths import Path


def checked(value: Any, kind: type[Any], what: str, form: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{what}= is {form}, not {value!r}")
    return value


def all_of(value: Any, kind: type[Any], what: str) -> list[Any]:
    found = [value] if isinstance(value, kind) else list(value) if isinstance(value, list | tuple) else [value]
    return [checked(one, kind, what, f"a {kind.__name__}() or a list of them") for one in found]


def most(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(f"max_size= is a whole number of at least 1 or None, not {value!r}")
    return value if value is None else int(value)


def paths(setting: Any, what: str) -> tuple[Path, ...]:
    if not isinstance(setting, str | list | tuple):
        raise ConfigError(f"{what}= is a JSONPath like '$.{what}' or a list of them, not {setting!r}")
    every = (setting,) if isinstance(setting, str) else setting
    return tuple(one_path(one, what) for one in every)


def one_path(text: Any, what: str) -> Path:
    try:
        return json_paths.path(checked(text, str, what, "a JSONPath"))
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None


def one_place(text: Any, what: str) -> Path:
    found = one_path(text, what)
    if found.parts is None:
        raise ConfigError(f"{what}={text!r} must mean one place, like '$.{what}'")
    return found


def plain_path(text: Any, what: str) -> Path:
    found = one_path(text, what)
    if found.names is None:
        raise ConfigError(f"{what}={text!r} must be plain, like '$.payload'")
    return found


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A text or several."""
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple | set) else (value,)
    return tuple(checked(one, str, what, "a text or a list of them") for one in found)
