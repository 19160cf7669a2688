"""Reading a ``_search`` request: what is asked for, or the one word why it is left alone.

The reasons are a table in the order of the contract (§4); the first that applies counts. URL parameters beat the
body, as in Elasticsearch.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search
https://docs.opensearch.org/latest/api-reference/search-apis/search/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from ..messages import Request
from ..ranking import Search
from . import query_text
from .filter_path import FilterPath
from .reading import AS_USUAL, Reading

DEFAULT_SIZE = 10
RANKED_BY = ("query", "retriever", "knn", "sub_searches")

Kind = Literal["search", "async", "scroll", "template", "multi", "multi-template"]

# The path's segments; "*" is an index expression or an id.
SHAPES: tuple[tuple[str, tuple[str, ...], Kind], ...] = (
    ("GET POST", ("_search",), "search"),
    ("GET POST", ("*", "_search"), "search"),
    ("GET POST", ("_search", "template"), "template"),
    ("GET POST", ("*", "_search", "template"), "template"),
    ("GET POST", ("_msearch",), "multi"),
    ("GET POST", ("*", "_msearch"), "multi"),
    ("GET POST", ("_msearch", "template"), "multi-template"),
    ("GET POST", ("*", "_msearch", "template"), "multi-template"),
    ("POST", ("_async_search",), "async"),
    ("POST", ("*", "_async_search"), "async"),
    ("GET", ("_async_search", "*"), "async"),
    ("GET POST", ("_search", "scroll"), "scroll"),
    ("GET POST", ("_search", "scroll", "*"), "scroll"),
)

_BINARY = re.compile(r"\b(?:yaml|cbor|smile)\b", re.I)
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_LONE = re.compile(  # escapes of surrogates that are not one of a pair
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_MAX_INT = 2**31 - 1


class Malformed(Exception):
    """A body or a window that upstream will refuse."""


@lru_cache(maxsize=1024)
def route(method: str, target: str) -> Kind | None:
    """Which kind of search this is, None for everything else."""
    path = target.partition("?")[0]
    if "search" not in path and "%" not in path:
        return None
    segments = [unquote(segment) for segment in path.split("/") if segment]
    return next((kind for methods, shape, kind in SHAPES if method in methods.split() and _fits(shape, segments)), None)


def _fits(shape: Sequence[str], segments: Sequence[str]) -> bool:
    return len(shape) == len(segments) and all(
        want == got or (want == "*" and (got == "_all" or not got.startswith("_")))
        for want, got in zip(shape, segments, strict=True)
    )


@lru_cache(maxsize=1024)
def index_of(target: str) -> str | None:
    """The path's index expression as written."""
    segments = [segment for segment in target.partition("?")[0].split("/") if segment]
    plain = [unquote(segment) for segment in segments]
    return segments[0] if any(shape[0] == "*" and _fits(shape, plain) for _, shape, _ in SHAPES) else None


def body_of(request: Request) -> tuple[bytes, str | None]:
    """The search body and where it stands: ``"body"``, ``"source"`` (the URL parameter), or None: there is none."""
    if request.body.strip():
        return request.body, "body"
    if request.params.get("source", "").strip() and not request.body:
        return request.params["source"].encode("utf-8", "surrogatepass"), "source"
    return b"", None


@dataclass
class Asked:
    """A request on a search's path, read as far as a reason needs."""

    request: Request
    reading: Reading = AS_USUAL
    params: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.params = self.request.params

    @cached_property
    def text(self) -> tuple[bytes, str | None]:
        return body_of(self.request)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body's object, empty where there is no body.

        :raises Malformed: what Elasticsearch refuses: not an object, a repeated key, invalid UTF-8 …
        """
        text, where = self.text
        return parse(text) if where else {}

    @cached_property
    def kind(self) -> Kind | None:
        return route(self.request.method, self.request.target)

    @cached_property
    def window(self) -> tuple[int, int]:
        """(offset, size).

        :raises Malformed: not whole numbers of at least 0.
        """
        return self._number("from", 0), self._number("size", DEFAULT_SIZE)

    def _number(self, name: str, default: int) -> int:
        if name in self.params:
            if name in self.body:
                number(self.body[name])  # upstream reads both before the URL's wins
            return number(self.params[name])
        return number(self.body[name]) if name in self.body else default

    def flag(self, name: str) -> bool:
        """A boolean of the URL, else of the body."""
        if name in self.params:
            return self.params[name] in ("", "true")
        return self.body.get(name) in (True, "true")

    def has(self, *names: str) -> bool:
        return any(self.body.get(name) is not None for name in names)

    @property
    def ranked(self) -> bool:
        return "q" in self.params or self.has(*RANKED_BY)

    @cached_property
    def query(self) -> query_text.QueryText:
        if "q" not in self.params:
            return query_text.read(self.body)
        spec = {"query": self.params["q"], "default_field": self.params.get("df")}
        rest = {name: value for name, value in self.body.items() if name != "query"}
        return query_text.read({"query": {"query_string": spec}, **rest})

    @cached_property
    def own_text(self) -> str | None:
        """The text that the user's own function reads, or that the request names itself, for UBI or for OpenSearch's
        rerank processor."""
        if (own := self.reading.text(self.request)) is not None:
            return own
        if (ext := self.body.get("ext")) is None:
            return None
        ubi, context = dig(ext, "ubi"), dig(ext, "rerank", "query_context")
        path = dig(context, "query_text_path")
        at_path = at(self.body, path.split(".")) if isinstance(path, str) else None
        for text in (dig(ubi, "user_query"), dig(context, "query_text"), at_path):
            if isinstance(text, str) and text.strip():
                return query_text.clean(text)
        return None


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object as Elasticsearch reads one.

    :raises Malformed: it would not.
    """
    body = _as_written(text)
    return body if isinstance(body, dict) else _strictly(text)


def _strictly(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    if not isinstance(body, dict):
        raise Malformed("not an object")
    return body


def _as_written(text: bytes) -> Any:
    """What is JSON as msgspec writes it, as clients' libraries do too: read many times faster, and if writing it gives
    the same bytes, then it has no repeated key, and nothing that the two parsers read differently. None: it is not."""
    try:
        body = msgspec.json.decode(text)
        return body if msgspec.json.encode(body) == text else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None


def lenient(text: bytes) -> Any:
    """Any JSON value, as far as Python can hold it; a lone surrogate becomes U+FFFD, huge numbers infinity.

    :raises RecursionError: nested too deep.
    """
    scrubbed = _LONE.sub(lambda found: "\\ufffd" if found[1] else found[0], text.decode("utf-8"))
    return json.loads(scrubbed, parse_int=_integer)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("repeated key")
    return out


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _integer(literal: str) -> int | float:
    return int(literal) if len(literal) < 400 else float(literal)  # int() refuses thousands of digits


def number(value: Any) -> int:
    """``from`` or ``size`` as Elasticsearch reads it: a whole number, or text that is one.

    :raises Malformed: anything else, or below 0.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_INT or value % 1:
        raise Malformed(f"not a window: {value!r}")
    return int(value)


def dig(value: Any, *names: str) -> Any:
    """The member under ``names``, None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def at(value: Any, path: Sequence[str]) -> Any:
    """What lies at a dotted path; list items by number, keys that hold dots by as many parts as it takes."""
    if not path:
        return value
    if isinstance(value, list):
        return at(value[int(path[0])], path[1:]) if path[0].isdecimal() and int(path[0]) < len(value) else None
    if not isinstance(value, dict):
        return None
    for taken in range(1, len(path) + 1):
        key = ".".join(path[:taken])
        if key in value and (found := at(value[key], path[taken:])) is not None:
            return found
    return None


# -- reasons ---------------------------------------------------------------------------------------------------------


def other_format(asked: Asked) -> bool:
    """An answer or a body that is not JSON text."""
    if (wanted := asked.params.get("format")) is not None:
        answer = wanted.lower() not in ("", "json")
    else:
        answer = any(_BINARY.search(value) for value in asked.request.headers.all("accept"))
    types = [*asked.request.headers.all("content-type"), asked.params.get("source_content_type", "")]
    return answer or any(_BINARY.search(value) for value in types)


def hidden(asked: Asked, above: tuple[str, ...] = (), *, whole: bool = False) -> bool:
    """Whether ``filter_path`` hides what is needed of the hits.

    :param above: where the answer lies in the whole answer.
    :param whole: the source is needed too, as it cannot be asked for.
    """
    wanted = asked.params.get("filter_path", "")
    fit = ("whole",) if whole else ("whole", "sourceless")
    return bool(wanted) and FilterPath(wanted).verdict(above) not in fit


def _malformed(asked: Asked) -> bool:
    try:
        asked.window  # noqa: B018 (reads the body too)
    except Malformed:
        return True
    return False


def _percolates(asked: Asked) -> bool:
    text = asked.text[0]
    if b"percolate" not in text and b"\\u" not in text:
        return False
    stack: list[Any] = [asked.body.get(name) for name in RANKED_BY]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if dig(value, "percolate", "field") is not None:
                return True
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return False


def _in_retriever(asked: Asked, name: str) -> Any:
    """A standard retriever at the top has its own sort, search_after and collapse."""
    return dig(asked.body, "retriever", "standard", name)


def _sorted(asked: Asked) -> bool:
    if "sort" in asked.params:
        return not _score_first([one for one in asked.params["sort"].split(",") if one])
    return any(not _score_first(sort) for sort in (asked.body.get("sort"), _in_retriever(asked, "sort")) if sort)


def _score_first(sort: Any) -> bool:
    """Whether the best score comes first: nothing else is the order that a reranker improves on."""
    first = sort[0] if isinstance(sort, list) and sort else sort
    if isinstance(first, dict) and first:
        name, spec = next(iter(first.items()))
        direction = dig(spec, "order") if isinstance(spec, dict) else spec
        return name == "_score" and str(direction or "desc").lower() == "desc"
    return first in ([], "_score", "_score:desc")


def _only(asked: Asked, *names: str) -> bool:
    return not asked.ranked and asked.has(*names)


REASONS: tuple[tuple[str, Callable[[Asked], Any]], ...] = (
    ("format", other_format),
    ("filter-path", hidden),
    ("malformed", _malformed),
    ("async", lambda asked: asked.kind == "async"),
    ("percolate", _percolates),
    ("scroll", lambda asked: "scroll" in asked.params or asked.kind == "scroll"),
    ("search-after", lambda asked: asked.has("search_after") or _in_retriever(asked, "search_after")),
    ("sorted", _sorted),
    ("collapse", lambda asked: asked.has("collapse") or _in_retriever(asked, "collapse")),
    ("profile", lambda asked: asked.flag("profile")),
    ("explain", lambda asked: not asked.reading.explain and asked.flag("explain")),
    ("size-zero", lambda asked: asked.window[1] == 0),
    # beyond-depth comes here: the pipeline knows the depth
    ("suggest-only", lambda asked: _only(asked, "suggest")),
    ("aggregations-only", lambda asked: _only(asked, "aggs", "aggregations")),
    ("match-all", lambda asked: not asked.own_text and asked.query.match_all),
    ("no-query", lambda asked: not asked.own_text and not asked.query.text),
)

AFTER_DEPTH = frozenset({"suggest-only", "aggregations-only", "match-all", "no-query"})
"""The reasons that ``beyond-depth`` comes before."""


def read_search(request: Request, reading: Reading = AS_USUAL) -> Search | str:
    """The search, or why it is left alone.

    :raises RerankFault: the user's own function failed.
    """
    asked = Asked(request, reading)
    reason = next((word for word, applies in REASONS if applies(asked)), None)
    return _search(asked) if reason is None else reason


def _search(asked: Asked) -> Search:
    offset, size = asked.window
    ubi_id = dig(asked.body.get("ext"), "ubi", "query_id")
    return Search(
        query=asked.own_text or asked.query.text,
        offset=offset,
        size=size,
        fields=asked.query.searched,
        index=index_of(asked.request.target),
        ubi_query_id=ubi_id if isinstance(ubi_id, str) else None,
    )


def read_window(request: Request) -> tuple[int, int] | None:
    """(offset, size), None where they cannot be read."""
    try:
        return Asked(request).window
    except Malformed:
        return None
