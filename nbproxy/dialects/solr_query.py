"""The text and the searched fields of a Solr query: parsers by name, local params, the JSON query DSL, references.

One table says how each query parser is read; parsers that are not in it (``term``, ``frange``, ``knn``, ``geofilt`` …)
hold no text. The walk keeps its own stack, and reads so many queries at most: references may go in a circle.

https://solr.apache.org/guide/solr/latest/query-guide/query-syntax-and-parsers.html
https://solr.apache.org/guide/solr/latest/query-guide/local-params.html
https://solr.apache.org/guide/solr/latest/query-guide/json-query-dsl.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import lucene
from .query_text import Everything, Field, Other, QueryText, Text
from .solr_params import Params, as_list, text_of

_MOST = 100  # queries in one request
_EVERYWHERE = "_text_"  # the field that the default configuration copies all others to
_LOCAL = re.compile(
    r"""\s*+(?P<name>[^\W\d][\w.$-]*+)\s*+
        (?:=\s*+(?P<deref>\$)?
           (?:"(?P<double>(?:\\.|[^"\\])*+)" | '(?P<single>(?:\\.|[^'\\])*+)' | (?P<bare>[^\s}]*+)))?""",
    re.X | re.S,
)
_QUOTED = r"""(?:"(?:\\.|[^"\\])*+"|'(?:\\.|[^'\\])*+')"""
# What Solr's own syntax has beyond Lucene's; phrases are matched to be passed over.
_PART = re.compile(
    rf"""(?P<not>(?:[-!]|\bNOT\s+)?)(?:
           (?P<magic>\b_(?:query|val)_:\s*)(?P<value>{_QUOTED})
         | (?P<local>\{{!(?:[^{{}}"']|{_QUOTED})*+\}}[^\s){{^]*+))
      | (?P<phrase>"(?:\\.|[^"\\])*+"?)""",
    re.X | re.S,
)
_DIALECT = re.compile(
    r"""("(?:\\.|[^"\\])*+"?) | (/\*(?:[^*]|\*(?!/))*+(?:\*/)? | \^=[0-9.]*+) | ((?<![\w:\\.])filter\()""", re.X | re.S
)
_ALL = re.compile(r"[+(\s]*(?:\*:)?\*[)\s]*(?:\^=?[0-9.]+\s*)?")
_LONELY_COLON = re.compile(r"(?<!\\):(?=\s|\Z)")
_NOT_DISMAX = re.compile(r"[\\!():^\[\]/{}~*?<>]")  # special elsewhere
_ESCAPED = re.compile(r"\\(.)", re.S)


class Query(NamedTuple):
    """A query to be read: a text, or an object of the DSL; and the parser of a text that names none."""

    value: Any
    parser: str = "lucene"


Part = Text | Field | Other | Everything | Query


@dataclass(frozen=True, slots=True)
class Spec:
    """A query parser's arguments: its own, else the request's.

    :ivar own: local params, or members of a DSL object; ``v`` is the query.
    """

    params: Params
    own: Mapping[str, list[Any]]

    @property
    def query(self) -> Any:
        return next(iter(self.own.get("v", ())), "")

    @property
    def text(self) -> str:
        return self.query if isinstance(self.query, str) else ""

    def all(self, name: str) -> list[Any]:
        return self.own.get(name) or self.params.all(name)

    def get(self, *names: str) -> str:
        """The first of these arguments that is not blank."""
        values = (value for name in names for value in self.all(name)[:1])
        return next((value for value in values if isinstance(value, str) and value.strip()), "")


Reader = Callable[[Spec], Iterator[Part]]


def read(params: Params) -> QueryText:
    """The text of a request's query, and of the query that it is re-ranked by.

    :raises Malformed: its JSON cannot be read.
    """
    out = QueryText()
    stack: list[Iterator[Part]] = [_request(params)]
    left = _MOST
    while stack:
        part = next(stack[-1], None)
        if part is None:
            stack.pop()
        elif not isinstance(part, Query):
            out.add(part)
        elif left:
            left -= 1
            stack.append(_query(part, params))
    return out


def _request(params: Params) -> Iterator[Part]:
    parser = params.get("defType") or "lucene"
    query = params.json["query"] if "query" in params.json else params.get("q")
    if query is not None or parser in ("dismax", "edismax"):
        yield Query("" if query is None else query, parser)
    if (rerank := params.get("rq")) is not None:
        yield Query(rerank)


def _query(query: Query, params: Params) -> Iterator[Part]:
    if isinstance(query.value, list) or query.value is None:
        return
    found = _object(query, params) if isinstance(query.value, dict) else _text(query, params)
    if isinstance(found, list):
        yield from found
    else:
        parser, own = found
        yield from PARSERS.get(parser, _without_text)(Spec(params, own))


def _text(query: Query, params: Params) -> tuple[str, dict[str, list[Any]]]:
    text = text_of(query.value)
    # Local params are read only where nothing else is said about the parser.
    if query.parser in ("lucene", "func") and text.startswith("{!"):
        own, rest = local_params(text, params)
        own.setdefault("v", [rest])
        return _first(own, "type", query.parser), own
    return query.parser, {"v": [text]}


def local_params(text: str, params: Params) -> tuple[dict[str, list[Any]], str]:
    """What stands in ``{!…}`` at the start of ``text``, references resolved, and the text behind it."""
    out: dict[str, list[Any]] = {}
    at = 2
    while found := _LOCAL.match(text, at):
        at = found.end()
        name, values = _local_param(found, params)
        out.setdefault(name, []).extend(values)
    end = text.find("}", at)
    return out, text[end + 1 :] if end >= 0 else ""


def _local_param(found: re.Match[str], params: Params) -> tuple[str, list[Any]]:
    value = next((found[kind] for kind in ("double", "single", "bare") if found[kind] is not None), None)
    if value is None:
        return "type", [found["name"]]
    if found["deref"]:
        return found["name"], params.all(value)
    return found["name"], [value if found["bare"] is not None else _unescape(value)]


def _first(own: Mapping[str, list[Any]], name: str, default: str) -> str:
    value = next(iter(own.get(name, ())), default)
    return value if isinstance(value, str) else default


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _object(query: Query, params: Params) -> tuple[str, dict[str, list[Any]]] | list[Part]:
    """An object of the DSL: ``{parser: {…}}``, ``{"#tag": query}``, ``{"param": name}``."""
    if len(query.value) != 1:
        return [Other()]
    ((name, value),) = query.value.items()
    if name.startswith("#"):
        return [Query(value)]
    if name == "param":
        return [Query(one) for one in _named(params, value)]
    if not isinstance(value, dict):
        return name, {"v": as_list(value)}
    if set(value) == {"param"}:
        return name, {"v": _named(params, value["param"])}
    return name, {"v" if key == "query" else key: as_list(one) for key, one in value.items()}


def _named(params: Params, name: Any) -> list[Any]:
    return params.all(name) if isinstance(name, str) else []


# -- parsers ---------------------------------------------------------------------------------------------------------


def _without_text(spec: Spec) -> Iterator[Part]:  # noqa: ARG001
    yield Other()


def _fields(spec: Spec, *names: str) -> Iterator[Part]:
    """The fields that an argument lists, each with its boost; names that stand for others are looked up."""
    listed = spec.get(*names).split()
    for name in listed:
        aliased = spec.get(f"f.{name.partition('^')[0]}.qf").split() or [name]
        yield from (Field("*" if one.partition("^")[0] == _EVERYWHERE else one) for one in aliased)
    if not listed:
        yield Field("*")


def _lucene(spec: Spec) -> Iterator[Part]:
    """Lucene's syntax, with the queries that may stand inside of one in Solr's."""
    if _ALL.fullmatch(spec.text):
        yield Everything()
        return
    at = 0
    for found in _PART.finditer(spec.text):
        if found["phrase"] is None:
            yield from _words(spec, spec.text[at : found.start()], "df")
            yield from _embedded(found)
            at = found.end()
    yield from _words(spec, spec.text[at:], "df")


def _edismax(spec: Spec) -> Iterator[Part]:
    """A user's words, without queries inside; a colon that nothing follows is not a field's."""
    if not spec.text.strip():
        yield from _alternative(spec)
    elif _ALL.fullmatch(spec.text):
        yield Everything()
    else:
        yield from _words(spec, _LONELY_COLON.sub(r"\:", spec.text), "qf", "df")


def _dismax(spec: Spec) -> Iterator[Part]:
    text = spec.text if spec.text.count('"') % 2 == 0 else spec.text.replace('"', "")
    if not text.strip():
        yield from _alternative(spec)
        return
    yield from _fields(spec, "qf", "df")
    yield Text(lucene.reduce(_NOT_DISMAX.sub(r"\\\g<0>", text)).text)


def _alternative(spec: Spec) -> Iterator[Part]:
    if alternative := spec.get("q.alt"):
        yield Query(alternative)


def _embedded(found: re.Match[str]) -> Iterator[Part]:
    """``_query_:"…"``, or local params inside a query."""
    if found["not"] or (found["magic"] or "").startswith("_val_"):
        yield Other()
    else:
        yield Query(found["local"] or _unescape(found["value"][1:-1]))


def _words(spec: Spec, text: str, *default: str) -> Iterator[Part]:
    found = lucene.reduce(_DIALECT.sub(_plain, text))
    if found.unprefixed:
        yield from _fields(spec, *default)
    for name in found.fields:
        yield from (Field(one) for one in spec.get(f"f.{name}.qf").split() or [name])
    if found.words:
        yield Text(found.text)


def _plain(found: re.Match[str]) -> str:
    """Comments and constant scores go; a ``filter(…)`` is not scored, so it is dropped as what is negated is."""
    return found[1] or ("-(" if found[3] else " ")


def _simple(spec: Spec) -> Iterator[Part]:
    yield from _fields(spec, "qf", "df")
    yield Text(lucene.reduce(spec.text, simple=True).text)


def _verbatim(*names: str) -> Reader:
    """A text as it stands; ``names``: the arguments that name its fields; none: it is turned into a vector."""

    def reader(spec: Spec) -> Iterator[Part]:
        if names:
            yield from _fields(spec, *names)
        yield Text(spec.text)

    return reader


def _wrapped(spec: Spec) -> Iterator[Part]:
    """A query around another one."""
    yield Query(spec.query)


def _nested(spec: Spec) -> Iterator[Part]:
    yield Query(spec.query, _first(spec.own, "defType", "lucene"))


def _bool(spec: Spec) -> Iterator[Part]:
    for name, values in spec.own.items():
        if name in ("must", "should"):
            yield from map(Query, values)
        elif name in ("must_not", "filter"):
            yield Other()


def _rerank(spec: Spec) -> Iterator[Part]:
    yield from map(Query, spec.own.get("reRankQuery", ()))


PARSERS: dict[str, Reader] = {
    "lucene": _lucene,
    "edismax": _edismax,
    "dismax": _dismax,
    "simple": _simple,
    "complexphrase": _lucene,
    "maxscore": _lucene,
    "field": _verbatim("f"),
    "fuzzy": _verbatim("f"),
    "payload_score": _verbatim("f"),
    "mlt_content": _verbatim("qf"),
    "knn_text_to_vector": _verbatim(),
    "boost": _wrapped,
    "parent": _wrapped,
    "child": _wrapped,
    "join": _wrapped,
    "filters": _wrapped,
    "query": _nested,
    "bool": _bool,
    "rerank": _rerank,
}
