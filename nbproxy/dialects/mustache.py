"""Elasticsearch's search templates rendered, as far as their parameters alone decide.

No library renders them: Elasticsearch escapes values for JSON and has sections of its own (``toJson``, ``join``,
``url``). What is not rendered here (partials, lists in sections, changed delimiters) gives None.

https://www.elastic.co/docs/solutions/search/search-templates
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

_TAG = re.compile(
    r"\{\{!.*?\}\}"
    r"|\{\{\{\s*(?P<raw>[\w.]+)\s*\}\}\}"
    r"|\{\{\s*(?P<sign>[#^])\s*(?P<section>[\w.]+)\s*\}\}(?P<inside>.*?)\{\{/\s*(?P=section)\s*\}\}"
    r"|\{\{(?P<amp>&?)\s*(?P<name>[\w.]+)\s*\}\}"
    r"|(?P<other>\{\{)",
    re.S,
)
_DEEP = 20


class _Unknown(Exception):
    """Something that only upstream can render."""


def render(template: str, params: Mapping[str, Any]) -> str | None:
    """The template filled in; None where only upstream can do so."""
    try:
        return _render(template, params, _DEEP)
    except _Unknown:
        return None


def _render(template: str, params: Mapping[str, Any], room: int) -> str:
    if not room:
        raise _Unknown
    return _TAG.sub(lambda tag: _filled(tag, params, room), template)


def _filled(tag: re.Match[str], params: Mapping[str, Any], room: int) -> str:
    if tag["other"]:
        raise _Unknown
    if tag["section"]:
        return _section(tag, params, room)
    if name := tag["raw"] or tag["name"]:
        return _text(_look_up(params, name), json_escaped=bool(tag["name"] and not tag["amp"]))
    return ""  # a comment


def _section(tag: re.Match[str], params: Mapping[str, Any], room: int) -> str:
    name, inside = tag["section"], tag["inside"]
    if name in _FUNCTIONS and tag["sign"] == "#":
        return _FUNCTIONS[name](inside, params)
    value = _look_up(params, name)
    if isinstance(value, list) and value and tag["sign"] == "#":
        raise _Unknown
    if bool(value) != (tag["sign"] == "#"):
        return ""
    return _render(inside, {**params, **value} if isinstance(value, dict) else params, room - 1)


def _to_json(inside: str, params: Mapping[str, Any]) -> str:
    return json.dumps(_look_up(params, inside.strip()), ensure_ascii=False)


def _join(inside: str, params: Mapping[str, Any]) -> str:
    value = _look_up(params, inside.strip())
    if not isinstance(value, list):
        raise _Unknown
    return ",".join(_text(one, json_escaped=True) for one in value)


def _url(inside: str, params: Mapping[str, Any]) -> str:
    return quote(_render(inside, params, 1), safe="")


_FUNCTIONS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {"toJson": _to_json, "join": _join, "url": _url}


def _look_up(params: Mapping[str, Any], name: str) -> Any:
    value: Any = params
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any, *, json_escaped: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise _Unknown  # upstream prints these as Java does
    if not isinstance(value, str):
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False)[1:-1] if json_escaped else value
