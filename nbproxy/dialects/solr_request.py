"""Reading a Solr request: what is asked for, or the one word why it is left alone.

The reasons are a table in the order of the contract (§4); the first that applies counts.

https://solr.apache.org/guide/solr/latest/query-guide/common-query-parameters.html
https://solr.apache.org/guide/solr/latest/configuration-guide/v2-api.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from ..ranking import Search
from . import query_text, solr_fields, solr_query
from .search_request import Malformed
from .solr_params import Params, as_list, text_of

MAX_INT = 2**31 - 1
DEFAULT_ROWS = 10

# What comes before the handler; "*" is a core, a collection, or several. "/solr" may be elsewhere: Solr(root=…).
V2_ROOTS: tuple[tuple[str, ...], ...] = (("api", "c", "*"), ("api", "collections", "*"), ("api", "cores", "*"))

_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_SCORE_FIRST = re.compile(r"\s*(?:score\s+(?:desc|top)\s*(?:,.*)?)?", re.I | re.S)
_BESIDE = ("mlt", "tv", "clustering")
_TIMED = frozenset(["true", "all", "timing", "query", "track"])


@dataclass(frozen=True, slots=True)
class Routes:
    """The paths that are searches.

    :ivar root: the segments before a core's name.
    :ivar handlers: the search handlers.
    """

    root: tuple[str, ...]
    handlers: frozenset[str]

    def place(self, method: str, target: str) -> tuple[int | None] | None:
        """Where the core's name stands among the path's segments, in a tuple; None: this is no search."""
        if method not in ("GET", "POST"):
            return None
        segments = [unquote(segment) for segment in _segments(target)]
        for shape in ((*self.root, "*"), *V2_ROOTS):
            if "/".join(segments[len(shape) :]) in self.handlers and _fits(shape, segments):
                return (len(shape) - 1,)
        return (None,) if not self.root and "/".join(segments) in self.handlers else None

    def core(self, target: str) -> str | None:
        """The core or the collections, as written."""
        place = self.place("GET", target)
        return None if place is None or place[0] is None else _segments(target)[place[0]]


def _segments(target: str) -> list[str]:
    return [segment for segment in target.partition("?")[0].split("/") if segment]


def _fits(shape: Sequence[str], segments: Sequence[str]) -> bool:
    return all(want in ("*", got) for want, got in zip(shape, segments, strict=False))


@dataclass
class Asked(Params):
    """A request on a search's path, read as far as a reason needs."""

    @cached_property
    def window(self) -> tuple[int, int]:
        """(offset, size).

        :raises Malformed: not whole numbers of at least 0, or two different ones.
        """
        return self._number("start", "offset", 0), self._number("rows", "limit", DEFAULT_ROWS)

    def _number(self, name: str, member: str, default: int) -> int:
        said = [self.get(name)] if name in self.said else []
        said += [text_of(self.json[member])] if member in self.json else []
        numbers = {number(one) for one in said or [self.get(name) or str(default)]}
        if len(numbers) > 1:  # which of them counts depends on Solr's version
            raise Malformed(f"{name} and {member} differ")
        return numbers.pop()

    @cached_property
    def sort(self) -> list[str]:
        """Every order that something of the request asks for."""
        said = [self.get("sort"), text_of(self.json["sort"]) if "sort" in self.json else None]
        return [one for one in [*said, *self.own.get("sort", ())] if isinstance(one, str)]

    @cached_property
    def own(self) -> dict[str, list[Any]]:
        """The local params of the query."""
        query = self.json.get("query", self.get("q"))
        found = isinstance(query, str) and query.startswith("{!") and solr_query.local_params(query, self)
        return found[0] if found else {}

    @cached_property
    def filters(self) -> list[Any]:
        return [*self.all("fq"), *as_list(self.json.get("filter", []))]

    @cached_property
    def fields(self) -> solr_fields.FieldList:
        """What the client sees of a document."""
        return solr_fields.parse((*self.params.get("fl", ()), *self.json_fields))

    @cached_property
    def json_fields(self) -> tuple[str, ...]:
        return tuple(text_of(one) for one in as_list(self.json["fields"])) if "fields" in self.json else ()

    @cached_property
    def query(self) -> query_text.QueryText:
        return solr_query.read(self)

    @cached_property
    def user_query(self) -> str:
        """The text that the request names itself, for User Behavior Insights."""
        return query_text.clean(self.get("user_query") or "") if self.flag("ubi") else ""


def number(text: str | None) -> int:
    """``start`` or ``rows`` as Solr reads it.

    :raises Malformed: no whole number, or below 0.
    """
    if text is None or not _WHOLE.fullmatch(text) or not 0 <= int(text) <= MAX_INT:
        raise Malformed(f"not a window: {text!r}")
    return int(text)


# -- reasons ---------------------------------------------------------------------------------------------------------


def _other_format(asked: Asked) -> bool:
    """An answer or a body that is not read here, or an answer that says of each hit something elsewhere."""
    if asked.place == "other" or not asked.known_charset:
        return True
    other = asked.get("wt") not in (None, "json") or asked.get("json.wrf") is not None
    return other or any(map(asked.flag, _BESIDE))


def _malformed(asked: Asked) -> bool:
    """Also a name with white space around it, which Solr takes off and which could not be found to be changed."""
    try:
        asked.window  # noqa: B018 (reads the JSON too)
    except Malformed:
        return True
    odd = any(name != name.strip() for name, _ in asked.sent_pairs)
    return odd or bool(asked.own.keys() & {"start", "rows"})


def _collapses(asked: Asked) -> bool:
    if asked.flag("group") or asked.flag("expand"):
        return True
    return any(_is_collapse(one, asked) for one in asked.filters)


def _is_collapse(query: Any, asked: Asked) -> bool:
    if isinstance(query, dict) and len(query) == 1 and next(iter(query)).startswith("#"):  # {"#tag": query}
        (query,) = query.values()
    if isinstance(query, dict):
        return "collapse" in query
    if not isinstance(query, str) or not query.startswith("{!"):
        return False
    return "collapse" in solr_query.local_params(query, asked)[0].get("type", ())


def _debugs(asked: Asked, wanted: frozenset[str]) -> bool:
    return not wanted.isdisjoint(one for one in asked.all("debug") if isinstance(one, str))


def _asks(asked: Asked) -> bool:
    """Whether there is a query at all."""
    return bool(asked.query.texts or asked.query.everything or asked.query.others)


REASONS: tuple[tuple[str, Callable[[Asked], Any]], ...] = (
    ("format", _other_format),
    ("malformed", _malformed),
    ("search-after", lambda asked: asked.get("cursorMark") is not None),
    ("sorted", lambda asked: not all(map(_SCORE_FIRST.fullmatch, asked.sort))),
    ("collapse", _collapses),
    ("profile", lambda asked: asked.flag("debugQuery") or _debugs(asked, _TIMED)),
    ("explain", lambda asked: asked.fields.explains or _debugs(asked, frozenset(["results"]))),
    ("size-zero", lambda asked: asked.window[1] == 0),
    # beyond-depth comes here: the pipeline knows the depth
    ("suggest-only", lambda asked: not _asks(asked) and (asked.flag("spellcheck") or asked.flag("suggest"))),
    ("aggregations-only", lambda asked: not _asks(asked) and (asked.flag("facet") or "facet" in asked.json)),
    ("match-all", lambda asked: not asked.user_query and asked.query.match_all),
    ("no-query", lambda asked: not asked.user_query and not asked.query.text),
)


def read_search(asked: Asked, index: str | None) -> Search | str:
    """The search, or why it is left alone."""
    reason = next((word for word, applies in REASONS if applies(asked)), None)
    if reason is not None:
        return reason
    offset, size = asked.window
    return Search(
        query=asked.user_query or asked.query.text,
        offset=offset,
        size=size,
        fields=asked.query.searched,
        index=index,
        ubi_query_id=asked.get("query_id") if asked.flag("ubi") else None,
    )


def read_window(asked: Asked) -> tuple[int, int] | None:
    """(offset, size), None where they cannot be read."""
    try:
        return asked.window
    except Malformed:
        return None
