"""What Elasticsearch answers to a search, as far as a window and what is shown of a hit go: written from its
documentation, without anything of nbproxy's. Documents come in one fixed order, whatever is asked.

https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrieve-selected-fields
https://www.elastic.co/docs/reference/elasticsearch/rest-apis/common-options#common-options-response-filtering
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

DOCUMENTS: list[dict[str, Any]] = [
    {
        "title": f"title {n}",
        "body": ["red", f"körper {n}"] if n % 3 else "",
        "meta": {"lang": "en", "tags": ["a", "b"], "author": {"name": f"N {n}"}},
        "chapters": [{"head": f"h{n}", "text": "t"}, {"text": f'"quoted" {n}'}],
        "emb": [0.5, n],
        "n": n,
        "none": None,
    }
    for n in range(40)
]
_WINDOW = ("from", "size")
_SHOWN = ("_source", "_source_includes", "_source_excludes")


class Refused(Exception):
    """A request that Elasticsearch answers with 400."""


class Asked:
    """A search as Elasticsearch reads it: the URL's parameters beat the body."""

    def __init__(self, target: str, body: bytes) -> None:
        self.params = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        text = body or self.params.get("source", "").encode()
        self.body: dict[str, Any] = json.loads(text) if text else {}
        self.begin, self.size = (int(self.params.get(k, self.body.get(k, d))) for k, d in (("from", 0), ("size", 10)))
        self._source_filter()

    def _source_filter(self) -> None:
        given = {name: self.params[name] for name in _SHOWN if name in self.params}
        stored = self.params.get("stored_fields", self.body.get("stored_fields"))
        stored = stored.split(",") if isinstance(stored, str) else stored
        self.includes: list[str] = []
        self.excludes: list[str] = []
        if given:
            source = given.get("_source", "true")
            self.show = source != "false"
            self.includes = [] if source in ("true", "false") else source.split(",")
            if "_source_includes" in given:
                self.includes = given["_source_includes"].split(",")
            self.excludes = given.get("_source_excludes", "").split(",") if "_source_excludes" in given else []
        elif "_source" in self.body:
            self._from_body(self.body["_source"])
        else:
            self.show = stored is None or "_source" in stored
        if stored and "_none_" in stored and (given or "_source" in self.body) and self.show:
            raise Refused

    def _from_body(self, source: Any) -> None:
        self.show = source is not False
        if isinstance(source, str | list):
            self.includes = _list(source)
        elif isinstance(source, dict):
            self.includes = _list(source.get("includes", source.get("include", [])))
            self.excludes = _list(source.get("excludes", source.get("exclude", [])))

    @property
    def rest(self) -> Any:
        """All that is asked beside the window and the shown source."""
        ours = {*_WINDOW, *_SHOWN}
        body = {name: value for name, value in self.body.items() if name not in ours}
        return body, {k: v for k, v in self.params.items() if k not in ours | {"filter_path", "source"}}


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _matches(patterns: Sequence[str], path: str) -> bool:
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), path) for one in patterns)


def shown(value: Any, asked: Asked, path: str = "", accepted: bool = False) -> Any:
    """What is left of an object or an array; an object that is not itself included is there only for what is in it."""
    if isinstance(value, list):
        items = [shown(item, asked, path, accepted) if isinstance(item, dict | list) else item for item in value]
        return [item for item in items if (item not in ({}, []) if isinstance(item, dict | list) else accepted)]
    out = {}
    for key, inner in value.items():
        place = f"{path}.{key}" if path else key
        if _matches(asked.excludes, place):
            continue
        whole = accepted or not asked.includes or _matches(asked.includes, place)
        if isinstance(inner, dict | list):
            left = shown(inner, asked, place, whole)
            if whole or left:
                out[key] = left
        elif whole:
            out[key] = inner
    return out


def hit(n: int, asked: Asked) -> dict[str, Any]:
    out: dict[str, Any] = {"_index": "books", "_id": str(n), "_score": 40.5 - n}
    if asked.show:
        filtered = asked.includes or asked.excludes
        out["_source"] = shown(DOCUMENTS[n], asked) if filtered else DOCUMENTS[n]
    for name in ("fields", "highlight"):
        if asked.body.get(name):
            out[name] = {"title": [f"title {n}"]}
    return out


def whole(asked: Asked, order: Sequence[int]) -> dict[str, Any]:
    """The answer that holds the documents ``order``, before ``filter_path``."""
    echo = hashlib.sha256(json.dumps(asked.rest, sort_keys=True).encode()).hexdigest()
    found = {"total": {"value": 40, "relation": "eq"}, "max_score": 40.5, "hits": [hit(n, asked) for n in order]}
    return {"took": 1, "hits": found, "echo": echo}


def answer(target: str, body: bytes, order: Sequence[int] = range(40)) -> bytes:
    """The answer to a search whose documents come in ``order``.

    :raises Refused: with 400.
    """
    asked = Asked(target, body)
    found = whole(asked, order[asked.begin : asked.begin + asked.size])
    patterns = [one for one in asked.params.get("filter_path", "").split(",") if one]
    kept = filtered(found, patterns) if patterns else found
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()


def filtered(value: Any, patterns: Sequence[str]) -> Any:
    """``filter_path`` without wildcards: taken out first, then picked."""
    out = [one[1:].split(".") for one in patterns if one.startswith("-")]
    into = [one.split(".") for one in patterns if not one.startswith("-")]
    value = _without(value, out) if out else value
    return _picked(value, into) if into else value


def _without(value: Any, paths: list[list[str]]) -> Any:
    if isinstance(value, list):
        return [_without(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    gone = {path[0] for path in paths if len(path) == 1}
    below = {k: [path[1:] for path in paths if path[0] == k and len(path) > 1] for k in value}
    return {k: _without(v, below[k]) if below[k] else v for k, v in value.items() if k not in gone}


def _picked(value: Any, paths: list[list[str]]) -> Any:
    if any(not path for path in paths):
        return value
    if isinstance(value, list):
        return [_picked(item, paths) for item in value]
    if not isinstance(value, dict):
        return None
    found = {k: _picked(v, [path[1:] for path in paths if path[0] == k]) for k, v in value.items()}
    return {k: v for k, v in found.items() if any(path[0] == k for path in paths)}
