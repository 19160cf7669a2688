"""A search engine in Solr's shapes over the household collection, written apart from the dialect: parameters from the
URL, a form and the JSON Request API, merged as Solr merges them; rows, start, fl, sort, wt, echoParams, highlighting,
facets, groups, debug, errors. ``Json().answer = SolrShaped().answer`` serves it.

https://solr.apache.org/guide/solr/latest/query-guide/common-query-parameters.html
https://solr.apache.org/guide/solr/latest/query-guide/response-writers.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any
from urllib.parse import parse_qs

from nbproxy import datasets

Params = dict[str, list[str]]
_MEMBERS = {"query": "q", "limit": "rows", "offset": "start", "sort": "sort"}


class Refused(Exception):
    """400."""


class SolrShaped:
    """``defaults`` stand for the handler's in ``solrconfig.xml``."""

    def __init__(self, **defaults: str) -> None:
        self.defaults: Params = {"echoParams": ["explicit"], **{k: [v] for k, v in defaults.items()}}
        self.docs = [_document(row) for row in datasets.load("household").documents.itertuples()]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        parts = [part for part in path.split("/") if part]
        if parts[:2] != ["solr", "household"] or parts[2:] not in (["select"], ["query"]):
            return (200, b'{"responseHeader":{"status":0}}') if parts[-1:] == ["ping"] else (404, b"Not Found")
        sent = parse_qs(query, keep_blank_values=True)
        try:
            texts = self._texts(sent, headers, body)
            params = _merged(sent, texts, self.defaults)
            answer, status = self._search(params), 200
        except Refused as error:
            params, status, answer = sent, 400, {"error": _error(str(error))}
        echo = {"explicit": sent, "all": params}.get(params.get("echoParams", ["explicit"])[0])
        header: dict[str, Any] = {"status": 0 if status == 200 else status, "QTime": 2}
        if echo is not None:
            header["params"] = {name: values[0] if len(values) == 1 else values for name, values in echo.items()}
        head = {} if _flag(params, "omitHeader") else {"responseHeader": header}
        return status, _written(params, {**head, **answer})

    def _texts(self, sent: Params, headers: dict[str, str], body: bytes) -> list[str]:
        """The JSON requests; a form's parameters are added to those of the URL."""
        kind = headers.get("content-type", "").partition(";")[0]
        if kind == "application/x-www-form-urlencoded":
            for name, values in parse_qs(body.decode(), keep_blank_values=True).items():
                sent.setdefault(name, []).extend(values)
        elif body and kind != "application/json":
            raise Refused(f"Bad contentType for search handler :{kind}")
        return ([body.decode()] if body and kind == "application/json" else []) + sent.get("json", [])

    def _search(self, params: Params) -> dict[str, Any]:
        start, rows = _whole(params, "start", 0), _whole(params, "rows", 10)
        found = self._ranked(params)
        if _flag(params, "group"):
            return {"grouped": {params["group.field"][0]: {"matches": len(found), "groups": []}}}
        page = found[start : start + rows]
        scored = "score" in re.split(r"[\s,]+", ",".join(params.get("fl", [])))
        answer: dict[str, Any] = {"response": {"numFound": len(found), "start": start}}
        if scored:
            answer["response"]["maxScore"] = max((score for score, _ in found), default=0.0)
        answer["response"] |= {"numFoundExact": True, "docs": [_shown(doc, score, params) for score, doc in page]}
        if _flag(params, "facet"):
            answer["facet_counts"] = {
                "facet_fields": {one: _counts(found, one) for one in params.get("facet.field", [])}
            }
        if _flag(params, "hl"):
            answer["highlighting"] = {doc["id"]: {"title": [f"<em>{doc['title']}</em>"]} for _, doc in page}
        if _flag(params, "debugQuery"):
            answer["debug"] = {"explain": {doc["id"]: f"{score}" for score, doc in page}}
        return answer

    def _ranked(self, params: Params) -> list[tuple[float, dict[str, Any]]]:
        text = re.sub(r"\{!.*?\}|[\w.]+:", " ", params.get("q", [""])[0]).lower()
        words = re.findall(r"\w+|\*", text)
        scored = [(_score(doc, words), doc) for doc in self.docs]
        found = [(score, doc) for score, doc in scored if score > 0]
        for part in reversed(params.get("sort", ["score desc"])[0].split(",")):
            name, direction = [*part.split(), ""][:2]
            if direction.lower() not in ("asc", "desc"):
                raise Refused(f"Can't determine a Sort Order (asc or desc) in sort spec '{part}'")
            found.sort(key=lambda one: one[0] if name == "score" else one[1][name], reverse=direction.lower() == "desc")
        return found


def _merged(sent: Params, texts: list[str], defaults: Params) -> Params:
    """As Solr's ``RequestUtil.processParams``: what a JSON request says wins over parameters, lists are joined."""
    requests = [json.loads(text) for text in texts]
    params = {name: list(values) for name, values in sent.items()}
    for one in requests:
        for name, value in one.get("params", {}).items():
            params.setdefault(name, [str(item) for item in (value if isinstance(value, list) else [value])])
    params = {**{name: list(values) for name, values in defaults.items()}, **params}
    members: dict[str, Any] = {}
    singles = [
        (name[5:], json.loads(value)) for name, values in sent.items() if name.startswith("json.") for value in values
    ]
    for name, value in [item for one in requests for item in one.items()] + singles:
        if name == "fields":
            params.setdefault("fl", []).extend(value if isinstance(value, list) else [value])
        members[name] = value
    for member, name in _MEMBERS.items():
        if member in members:
            value = members[member]
            params[name] = [next(iter(value.values()))["query"] if isinstance(value, dict) else str(value)]
    return params


def _flag(params: Params, name: str) -> bool:
    return params.get(name, ["false"])[0] in ("true", "on")


def _whole(params: Params, name: str, default: int) -> int:
    try:
        value = int(params[name][0]) if name in params else default
    except ValueError:
        raise Refused(f'For input string: "{params[name][0]}"') from None
    if value < 0:
        raise Refused(f"'{name}' parameter cannot be negative")
    return value


def _score(doc: dict[str, Any], words: list[str]) -> float:
    text = f"{doc['title']} {doc['title']} {doc['text'][0]}".lower()
    return float(sum(1 if word == "*" else text.count(word) for word in words))


def _document(row: Any) -> dict[str, Any]:
    words, topic = len(row.text.split()), row.title.split()[0].lower()
    return {"id": row.doc_id, "title": row.title, "text": [row.text], "words_i": words, "topic_s": topic}


def _shown(doc: dict[str, Any], score: float, params: Params) -> dict[str, Any]:
    entries = [one for one in re.split(r"[\s,]+", ",".join(params.get("fl", ["*"]))) if one]
    out = {name: value for name, value in doc.items() if any(fnmatch.fnmatchcase(name, one) for one in entries)}
    for entry in entries:
        key, _, name = entry.partition(":")
        if name:  # moved to its key, unless it is asked for by its own name too
            value = out.get(name, doc[name]) if name in entries else out.pop(name, doc[name])
            out[key] = value
    return {**out, "score": score} if "score" in entries else out


def _counts(found: list[tuple[float, dict[str, Any]]], field: str) -> list[Any]:
    values = [doc[field] for _, doc in found]
    return [item for value in sorted(set(values)) for item in (value, values.count(value))]


def _error(message: str) -> dict[str, Any]:
    kind = "org.apache.solr.common.SolrException"
    return {"metadata": ["error-class", kind, "root-error-class", kind], "msg": message, "code": 400}


def _written(params: Params, answer: dict[str, Any]) -> bytes:
    if params.get("wt", ["json"])[0] == "xml":
        return b'<?xml version="1.0" encoding="UTF-8"?>\n<response>' + json.dumps(answer).encode() + b"</response>\n"
    indent = None if params.get("indent", ["true"])[0] in ("false", "off") else 2
    return json.dumps(answer, indent=indent, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
