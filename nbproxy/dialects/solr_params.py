"""What a Solr request says, wherever it says it: the query string, a form, the JSON Request API.

A parameter may be repeated; where one value is wanted, the first counts. JSON lies in the body, in ``json`` and in
``json.…`` parameters, which are merged in this order: later ones win, lists grow. Its ``params`` count as parameters
that the request does not have otherwise, its ``queries`` as further ones, and ``${name}`` stands for a parameter.

https://solr.apache.org/guide/solr/latest/query-guide/json-request-api.html
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import unquote_plus

from ..messages import Request
from . import noggit
from .search_request import Malformed

Place = Literal["none", "form", "json", "other"]

_FORM = "application/x-www-form-urlencoded"
_MACRO = re.compile(r"(?<!\\)\$\{([^\W\d][\w.]*+)(?::([^}$]*+))?\}")
_MACRO_LEVELS = 5
_MACROS = 1000  # in one request: they may multiply
_JSON_START = re.compile(r"\s*(?:[{\[#]|//|/\*)")
_NOT_JSON = frozenset(["json.nl", "json.wrf"])  # parameters of the answer's format
_LISTS = frozenset(["fields", "filter"])


@dataclass
class Params:
    """A request's parameters.

    :ivar defaults: what the handler takes for parameters that the request does not have.
    """

    request: Request
    defaults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _macros_left: int = field(default=_MACROS, init=False, repr=False)

    @cached_property
    def place(self) -> Place:
        """What the body is. A form of curl's that looks like JSON is JSON, as curl's ``-d`` calls all a form."""
        if not self.request.body:
            return "none"
        kind = (self.request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if kind == _FORM:
            curl = (self.request.headers.get("user-agent") or "").startswith("curl/")
            return "json" if curl and _JSON_START.match(self.text) else "form"
        if not kind and self.request.method == "GET":
            return "none"  # Solr does not look at it
        return "json" if "/json" in kind else "other"

    @cached_property
    def charset(self) -> str:
        kind = self.request.headers.get("content-type") or ""
        found = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", kind, re.I)
        return found[1] if found else "utf-8"

    @cached_property
    def text(self) -> str:
        """The body's text; what cannot be decoded is replaced."""
        known = self.known_charset
        return self.request.body.decode(self.charset if known else "utf-8", "replace")

    @property
    def known_charset(self) -> bool:
        """Whether the request's texts can be read: forms in a charset that exists, URLs in UTF-8."""
        try:
            codecs.lookup(self.charset)
        except LookupError:
            return False
        return "ie" not in self.sent_in_url or self.sent_in_url["ie"][0].lower() in ("utf-8", "utf8")

    @cached_property
    def _url_pairs(self) -> list[tuple[str, str]]:
        return pairs(self.request.target.partition("?")[2])

    @cached_property
    def sent_in_url(self) -> dict[str, list[str]]:
        return multi(self._url_pairs)

    @cached_property
    def sent_pairs(self) -> list[tuple[str, str]]:
        """Names and values of the URL, followed by the form's."""
        form = pairs(self.text, self.charset) if self.place == "form" and self.known_charset else []
        return [*self._url_pairs, *form]

    @cached_property
    def sent(self) -> dict[str, list[str]]:
        """The parameters that are said one by one; all but those of a JSON request."""
        return multi(self.sent_pairs)

    @cached_property
    def _json_texts(self) -> list[str]:
        return ([self.text] if self.place == "json" else []) + self.sent.get("json", [])

    @cached_property
    def params(self) -> dict[str, list[Any]]:
        """All parameters, the handler's defaults included, before macros."""
        return {name: list(values) for name, values in self.defaults.items()} | self.said

    @cached_property
    def said(self) -> dict[str, list[Any]]:
        """The request's own parameters, with those of the JSON's ``params``."""
        out: dict[str, list[Any]] = dict(self.sent)
        for text in self._json_texts:
            try:
                inner = noggit.loads(text)
            except Malformed:  # where macros stand for its brackets: what counts is how it reads afterwards
                continue
            more = inner.get("params") if isinstance(inner, dict) else None
            for name, value in more.items() if isinstance(more, dict) else ():
                if name not in out and value is not None:
                    out[name] = [text_of(one) for one in (value if isinstance(value, list) else [value])]
        return out

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON request, merged; empty where there is none.

        :raises Malformed: Solr would refuse it.
        """
        out: dict[str, Any] = {}
        for text in self._json_texts:
            value = noggit.loads(self.expand(text))
            if value is not None:
                _merge(out, [], value)
        for name in self.params:
            if name.startswith("json.") and name not in _NOT_JSON:
                for text in self.params[name]:
                    if (value := noggit.loads(self.expand(text))) is not None:
                        _merge(out, name.split(".")[1:], value)
        return out

    def expand(self, text: str, level: int = 0) -> str:
        """``text`` with its macros replaced."""
        if "${" not in text or level == _MACRO_LEVELS or self.params.get("expandMacros", ["true"])[0] != "true":
            return text
        return _MACRO.sub(lambda found: self._macro(found, level + 1), text)

    def _macro(self, found: re.Match[str], level: int) -> str:
        if not self._macros_left:
            return found[0]
        self._macros_left -= 1
        values = self.params.get(found[1])
        return self.expand(str(values[0]) if values else found[2] or "", level)

    def all(self, name: str) -> list[Any]:
        """Every value of a parameter: texts, and objects of the JSON query DSL where ``queries`` has this name."""
        named = self.json.get("queries")
        more = as_list(named[name]) if isinstance(named, dict) and name in named else []
        return [self.expand(one) if isinstance(one, str) else one for one in [*self.params.get(name, ()), *more]]

    def get(self, name: str) -> str | None:
        """The first value of a parameter."""
        values = self.params.get(name)
        return self.expand(values[0]) if values else None

    def flag(self, name: str) -> bool:
        value = self.get(name)
        return value is not None and value.startswith(("true", "on", "yes"))


def pairs(query: str, charset: str = "utf-8") -> list[tuple[str, str]]:
    """The names and values of a query string or a form, decoded."""
    found = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote_plus(name, charset), unquote_plus(value, charset)) for name, _, value in found]


def multi(found: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, value in found:
        out.setdefault(name.strip(), []).append(value)
    return out


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text_of(value: Any) -> str:
    """A JSON value as the parameter that Solr makes of it; one that is nested too deep is of no use."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        return ""


def _merge(top: dict[str, Any], path: Sequence[str], value: Any) -> None:
    if not path:
        if not isinstance(value, dict):
            raise Malformed("not an object")
        _merge_into(top, value)
        return
    for name in path[:-1]:
        inner = top.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Malformed(f"{name} is no object")
        top = inner
    _merge_into(top, {path[-1]: value})


def _merge_into(target: dict[str, Any], more: Mapping[str, Any]) -> None:
    stack: list[tuple[dict[str, Any], Mapping[str, Any]]] = [(target, more)]
    while stack:
        into, new = stack.pop()
        for name, value in new.items():
            old = into.get(name)
            if old is not None and name in _LISTS:
                into[name] = [*as_list(old), *as_list(value)]
            elif isinstance(old, dict) and isinstance(value, dict):
                stack.append((old, value))
            else:
                into[name] = value
