"""``filter_path``: which parts of an answer a client has filtered out.

``*`` stands for any characters of a name, ``**`` for any names, a leading ``-`` takes out; what is taken out is taken
out first. https://www.elastic.co/docs/reference/elasticsearch/rest-apis/common-options#common-options-response-filtering
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Shown = Literal["all", "part", "none"]

HITS = ("hits", "hits")
SOURCE = (*HITS, "_source")
ALWAYS_THERE = tuple((*HITS, name) for name in ("_index", "_id", "_score"))


class FilterPath:
    """The patterns of one ``filter_path`` parameter."""

    def __init__(self, value: str) -> None:
        patterns = [one.strip() for one in value.split(",") if one.strip()]
        self._in = [one.split(".") for one in patterns if not one.startswith("-")]
        self._out = [one[1:].split(".") for one in patterns if one.startswith("-")]

    def shows(self, path: Sequence[str]) -> Shown:
        """How much of what lies at ``path`` is in the answer."""
        gone = _most(self._out, path)
        kept = _most(self._in, path) if self._in else "all"
        if gone == "all" or kept == "none":
            return "none"
        return "part" if gone == "part" or kept == "part" else "all"

    def verdict(self, above: tuple[str, ...] = ()) -> Literal["whole", "sourceless", "unusable"]:
        """Whether hits can be reranked as they are, only after their source is asked for, or not at all.

        :param above: the names that lead to the search's own answer.
        """
        source = self.shows(above + SOURCE)
        if source == "all":
            return "whole"
        there = any(self.shows(above + path) == "all" for path in ALWAYS_THERE)
        return "sourceless" if source == "none" and there and not self._out else "unusable"


def _most(patterns: Sequence[list[str]], path: Sequence[str]) -> Shown:
    found = {_match(pattern, path) for pattern in patterns}
    return "all" if "all" in found else "part" if "part" in found else "none"


def _match(pattern: Sequence[str], path: Sequence[str]) -> Shown:
    """``all``: the pattern ends at ``path`` or above it; ``part``: it goes on below."""
    if not pattern:
        return "all"
    if not path:
        return "part"
    if pattern == ["**"]:
        return "part"  # nothing says that a last "**" shows all there is
    if pattern[0] == "**":
        found = {_match(pattern[1:], path), _match(pattern, path[1:])}
        return "all" if "all" in found else "part" if "part" in found else "none"
    return _match(pattern[1:], path[1:]) if _fits(pattern[0], path[0]) else "none"


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name, re.S) is not None
