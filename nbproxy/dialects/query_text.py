"""The text and the searched fields of a query in Elasticsearch's and OpenSearch's query DSL.

One table says how each clause is read. A reader yields what it finds in the order of the body: a :class:`Text`, a
:class:`Field`, or a :class:`Sub`, a part that another reader reads. The walk keeps its own stack, so nesting costs no
recursion. Clauses that are not in the table hold no text: filters (``range``, ``geo_distance`` …), and those that name
terms as the index has them, not as somebody typed them (``term``, ``prefix``, ``fuzzy``, ``span_near`` …). Unknown
shapes are passed over, as upstream will refuse them itself.

https://www.elastic.co/docs/reference/query-languages/querydsl
https://docs.opensearch.org/latest/query-dsl/
https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrievers
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import lucene

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACEHOLDER = re.compile(r"\s*\$\{[^{}]*\}\s*")  # of OpenSearch's template clause: a request processor fills it in


class Text(NamedTuple):
    """A text that is searched for."""

    text: str


class Field(NamedTuple):
    """A field that is searched, as written; ``*``: all."""

    name: str


class Other(NamedTuple):
    """A clause without text that is not ``match_all``."""


class Everything(NamedTuple):
    """A ``match_all``."""


class Sub(NamedTuple):
    """A part for another reader."""

    read: Reader
    spec: Any


Part = Text | Field | Other | Everything | Sub
Reader = Callable[[Any], Iterator[Part]]


@dataclass(slots=True)
class QueryText:
    """What a search asks for.

    :ivar texts: of its clauses, in body order, each once.
    :ivar fields: searched, boosts removed, in body order, each once; with ``*`` where all are.
    :ivar match_all: it consists of ``match_all`` and nothing else.
    """

    texts: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    everything: int = 0
    others: int = 0

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def searched(self) -> tuple[str, ...]:
        return () if "*" in self.fields else tuple(self.fields)

    @property
    def match_all(self) -> bool:
        return self.everything > 0 and not self.others and not self.texts

    def add(self, part: Part) -> None:
        if isinstance(part, Text) and part.text.strip() and not _PLACEHOLDER.fullmatch(part.text):
            _append(self.texts, clean(part.text))
        elif isinstance(part, Field):
            _append(self.fields, clean(part.name.partition("^")[0]))
        elif isinstance(part, Everything):
            self.everything += 1
        else:
            self.others += 1


def _append(values: list[str], value: str) -> None:
    if value and value not in values:
        values.append(value)


def clean(text: str) -> str:
    """``text`` stripped; a lone surrogate, which no model or file can hold, becomes U+FFFD."""
    return _SURROGATE.sub("\ufffd", text.strip())


def read(body: Mapping[str, Any]) -> QueryText:
    """The text of a search body: the clauses of its query, knn, retriever, sub-searches and rescorers."""
    out = QueryText()
    stack: list[Iterator[Part]] = [_body(body)]
    while stack:
        part = next(stack[-1], None)
        if part is None:
            stack.pop()
        elif isinstance(part, Sub):
            stack.append(part.read(part.spec))
        else:
            out.add(part)
    return out


# -- shapes ----------------------------------------------------------------------------------------------------------


def _object(spec: Any) -> dict[str, Any]:
    return spec if isinstance(spec, dict) else {}


def _list(spec: Any) -> list[Any]:
    return spec if isinstance(spec, list) else [] if spec is None else [spec]


def _texts(spec: Any) -> Iterator[Part]:
    """A text, or several; numbers and booleans are what they are written as."""
    for value in _list(spec):
        if isinstance(value, str | int | float):
            yield Text(value if isinstance(value, str) else json.dumps(value))


def _fields(spec: Any, default: str | None = "*") -> Iterator[Part]:
    names = [name for name in _list(spec) if isinstance(name, str) and name]
    yield from (Field(name) for name in names)
    if not names and default:
        yield Field(default)


def _clauses(spec: Any) -> Iterator[Part]:
    """One clause or a list of them."""
    for clause in _list(spec):
        yield Sub(_clause, clause)


def _clause(spec: Any) -> Iterator[Part]:
    for name, value in _object(spec).items():
        yield Sub(CLAUSES[name], value) if name in CLAUSES else Other()


def _by_key(readers: Mapping[str, Reader], others: tuple[str, ...] = ()) -> Reader:
    """An object whose members are read by the table, in body order; ``others``: keys that say more than nothing."""

    def reader(spec: Any) -> Iterator[Part]:
        for name, value in _object(spec).items():
            if name in readers:
                yield Sub(readers[name], value)
            elif name in others and value:
                yield Other()

    return reader


def _under_field(*keys: str, searched: bool = True) -> Reader:
    """``{field: text}`` or ``{field: {key: text, …}}``. ``searched`` is False where the field holds a vector."""

    def reader(spec: Any) -> Iterator[Part]:
        for name, value in _object(spec).items():
            texts = [value[key] for key in keys if key in value] if isinstance(value, dict) else [value]
            if searched and texts:
                yield Field(name)
            for text in texts:
                yield Sub(_texts, text)

    return reader


def _one_field(*keys: str, searched: bool = True) -> Reader:
    """``{"field": name, key: text}``."""

    def reader(spec: Any) -> Iterator[Part]:
        spec = _object(spec)
        if searched and isinstance(spec.get("field"), str):
            yield Field(spec["field"])
        for key in keys:
            yield Sub(_texts, spec.get(key))

    return reader


# -- clauses with something of their own -----------------------------------------------------------------------------


def _many_fields(spec: Any) -> Iterator[Part]:
    yield from _fields(_object(spec).get("fields"))
    yield Sub(_texts, _object(spec).get("query"))


def _more_like_this(spec: Any) -> Iterator[Part]:
    spec = _object(spec)
    yield from _fields(spec.get("fields"))
    yield Sub(_texts, [like for like in _list(spec.get("like", spec.get("like_text"))) if isinstance(like, str)])


def _syntax(simple: bool) -> Reader:
    def reader(spec: Any) -> Iterator[Part]:
        spec = _object(spec)
        literal = str(spec.get("flags") or "").upper() == "NONE" if simple else spec.get("escape") in (True, "true")
        for text in (part.text for part in _texts(spec.get("query")) if isinstance(part, Text)):
            yield from _plain_words(text, spec) if literal else _words(text, spec, simple)

    return reader


def _words(text: str, spec: dict[str, Any], simple: bool) -> Iterator[Part]:
    if text.strip() in ("*", "*:*"):
        yield Everything()
        return
    found = lucene.reduce(text, simple=simple)
    if found.unprefixed:
        yield from _fields(spec.get("fields") or spec.get("default_field"))
    yield from (Field(name) for name in found.fields)
    yield Text(found.text)


def _plain_words(text: str, spec: dict[str, Any]) -> Iterator[Part]:
    """Without any syntax: it is switched off, or escaped by upstream."""
    yield from _fields(spec.get("fields") or spec.get("default_field"))
    yield Text(text)


def _wrapper(spec: Any) -> Iterator[Part]:
    try:
        inner = json.loads(base64.b64decode(_object(spec).get("query", ""), validate=True))
    except (ValueError, TypeError, RecursionError):
        return
    yield Sub(_clause, inner)


def _knn(spec: Any) -> Iterator[Part]:
    """A knn search, clause, or retriever: ES names its field inside, OpenSearch around."""
    for one in _list(spec):
        builder = _object(one).get("query_vector_builder")
        yield Sub(_builder, builder) if builder else Other()


def _inputs(spec: Any) -> Iterator[Part]:
    """Texts, bare or as ``{"type": "text", "value": …}``; images are passed over."""
    for one in _list(spec):
        yield from _texts(one.get("value") if isinstance(one, dict) and one.get("type") == "text" else one)


def _interval_fields(spec: Any) -> Iterator[Part]:
    for name, rule in _object(spec).items():
        yield Field(name)
        yield Sub(_interval, rule)


def _always(part: Part) -> Reader:
    return lambda spec: iter((part,))  # noqa: ARG005


def _rules(spec: Any) -> Iterator[Part]:
    for rule in _list(spec):
        yield Sub(_interval, rule)


def _scored(*keys: str, others: tuple[str, ...] = ()) -> Reader:
    """A compound clause: the clauses under ``keys`` are searched for."""
    return _by_key(dict.fromkeys(keys, _clauses), others)


# -- retrievers ------------------------------------------------------------------------------------------------------


def _retriever(spec: Any) -> Iterator[Part]:
    for name, value in _object(spec).items():
        yield Sub(RETRIEVERS.get(name, _compound), value)


def _retrievers(spec: Any) -> Iterator[Part]:
    for one in _list(spec):
        # rrf and linear wrap a retriever that has a weight: {"retriever": {…}, "weight": 2}
        yield Sub(_retriever, one["retriever"] if isinstance(one, dict) and "retriever" in one else one)


def _plain_query(spec: Any) -> Iterator[Part]:
    """rrf's and linear's short form has a text for ``query``; everywhere else it is a clause."""
    yield Sub(_texts, spec) if isinstance(spec, str) else Sub(_clauses, spec)


def _compound(spec: Any) -> Iterator[Part]:
    spec = _object(spec)
    if isinstance(spec.get("query"), str):
        yield from _fields(spec.get("fields"))
    yield Sub(_IN_COMPOUND, spec)


def _reranked(spec: Any) -> Iterator[Part]:
    """A text of its own wins over that of the retriever inside."""
    spec = _object(spec)
    if isinstance(text := spec.get("inference_text"), str) and text.strip():
        yield from _fields(spec.get("field"), None)
        yield Text(text)
    else:
        yield Sub(_retrievers, spec.get("retriever"))


def _rescore(spec: Any) -> Iterator[Part]:
    for one in _list(spec):
        yield Sub(_clauses, _object(_object(one).get("query")).get("rescore_query"))


def _sub_searches(spec: Any) -> Iterator[Part]:
    for one in _list(spec):
        yield Sub(_clauses, _object(one).get("query"))


_MATCH = _under_field("query")
_builder = _by_key({"text_embedding": _by_key({"model_text": _texts}), "embedding": _by_key({"input": _inputs})})
_RULES = _by_key({"intervals": _rules})
_interval = _by_key(
    {
        "match": _by_key({"query": _texts, "use_field": _fields}),
        "fuzzy": _by_key({"term": _texts, "use_field": _fields}),
        "all_of": _RULES,
        "any_of": _RULES,
    }
)
_QUERY = _scored("query")
_ORGANIC = _scored("organic")
_MANY = dict.fromkeys(("retriever", "retrievers"), _retrievers)
_IN_COMPOUND = _by_key({"query": _plain_query, **_MANY, "rescore": _rescore, "query_vector_builder": _builder})

CLAUSES: dict[str, Reader] = {
    "match": _MATCH,
    "match_phrase": _MATCH,
    "match_phrase_prefix": _MATCH,
    "match_bool_prefix": _MATCH,
    "common": _MATCH,
    "multi_match": _many_fields,
    "combined_fields": _many_fields,
    "query_string": _syntax(simple=False),
    "simple_query_string": _syntax(simple=True),
    "intervals": _interval_fields,
    "more_like_this": _more_like_this,
    "match_all": _always(Everything()),
    "match_none": _always(Other()),
    "bool": _scored("must", "should", others=("filter", "must_not")),
    "dis_max": _scored("queries"),
    "hybrid": _scored("queries"),
    "constant_score": _scored("filter"),
    "function_score": _QUERY,
    "script_score": _QUERY,
    "nested": _QUERY,
    "has_child": _QUERY,
    "has_parent": _QUERY,
    "boosting": _scored("positive"),
    "pinned": _ORGANIC,
    "rule": _ORGANIC,
    "rule_query": _ORGANIC,
    "semantic": _one_field("query"),
    "sparse_vector": _one_field("query", searched=False),
    "text_expansion": _under_field("model_text", searched=False),
    "neural": _under_field("query_text", searched=False),
    "neural_sparse": _under_field("query_text", searched=False),
    "agentic": _by_key({"query_fields": _fields, "query_text": _texts}),
    "template": _clauses,
    "knn": _knn,
    "wrapper": _wrapper,
}

RETRIEVERS: dict[str, Reader] = {
    "knn": _knn,
    "text_similarity_reranker": _reranked,
}
"""Those that differ from the rest (``standard rrf linear rule pinned rescorer diversify`` …), which hold a query, a
retriever, or several."""

_body = _by_key(
    {
        "query": _clauses,
        "retriever": _retriever,
        "knn": _knn,
        "sub_searches": _sub_searches,
        "rescore": _rescore,
    }
)
