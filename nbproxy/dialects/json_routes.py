"""Which requests are searches: a method and a path pattern, ``"POST /indexes/{index}/search"``.

A name in braces stands for a part of one segment of the path; ``{index}`` is the index expression. Paths are compared
percent-decoded, a slash at the end counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from ..errors import ConfigError

_ROUTE = re.compile(r"(?:(?P<methods>[A-Z]+(?: [A-Z]+)*) )?(?P<path>/[^\s?#]*)")
_BRACES = re.compile(r"\{([A-Za-z_]\w*)\}")


class Routes:
    """Some routes.

    :ivar written: as written.
    :raises ConfigError: one of them cannot be read.
    """

    def __init__(self, setting: str | Iterable[str], what: str = "route") -> None:
        if not isinstance(setting, str | Iterable):
            raise ConfigError(f"{what}= is a text like 'POST /find/{{index}}' or a list of them, not {setting!r}")
        self._by_method: dict[str, list[str]] = {}
        self._count = 0
        self.written = (setting,) if isinstance(setting, str) else tuple(setting)
        for one in self.written:
            self._add(one, what)
        if not self._by_method:
            raise ConfigError(f"{what}= names no route; write for example 'POST /indexes/{{index}}/search'")
        self._patterns = {method: re.compile("|".join(found)) for method, found in self._by_method.items()}
        self._any = re.compile("|".join(sorted({one for found in self._by_method.values() for one in found})))

    def _add(self, route: str, what: str) -> None:
        found = _ROUTE.fullmatch(route) if isinstance(route, str) else None
        if found is None:
            raise ConfigError(f"{what}={route!r} is not a method and a path like 'POST /indexes/{{index}}/search'")
        self._count += 1
        pattern = _pattern(found["path"], what, self._count)
        for method in (found["methods"] or "GET POST").split(" "):
            self._by_method.setdefault(method, []).append(pattern)

    def match(self, method: str, target: str) -> bool:
        """Whether a request is one of them. Quick to say no."""
        pattern = self._patterns.get(method)
        return pattern is not None and pattern.fullmatch(_decoded(target)) is not None

    def index_of(self, target: str) -> str | None:
        """What stands for ``{index}``, as written where it is a whole segment; None: nothing does."""
        found = self._any.fullmatch(_decoded(target))
        groups = {} if found is None else found.groupdict()
        index = next((value for name, value in groups.items() if value is not None), None)
        if index is None or "%" not in target:
            return index
        segments = target.partition("?")[0].split("/")
        return next((one for one in segments if unquote(one).replace("/", "%2F") == index), index)


def _decoded(target: str) -> str:
    path = target.partition("?")[0]
    if "%" not in path:
        return path
    return "/".join(unquote(segment).replace("/", "%2F") for segment in path.split("/"))


def _pattern(path: str, what: str, number: int) -> str:
    """A regular expression for the path; a group's name may occur once only among all of them."""
    out, at = "", 0
    names = _BRACES.findall(path)
    if len(names) != len(set(names)) or "{" in _BRACES.sub("", path):
        raise ConfigError(f"{what}: {path!r} has braces that do not pair, or one name twice")
    for found in _BRACES.finditer(path):
        group = f"?P<index{number}>" if found[1] == "index" else "?:"
        out += re.escape(path[at : found.start()]) + f"({group}[^/]+?)"
        at = found.end()
    return out + re.escape(path[at:].rstrip("/")) + "/?"
