"""Vespa's query API: what a :class:`JSONDialect` says of it, and the query text that YQL holds.

The fields of a hit are those of a document summary (or of YQL's ``select``), of which an answer does not tell what
they leave out, and with them a hit's own ``id`` changes. So nothing is asked for beside what the client asked for: a
summary that shows no text gives ``no-text``.

https://docs.vespa.ai/en/reference/query-api-reference.html, https://docs.vespa.ai/en/query-language.html
"""

from __future__ import annotations

import json
import re
from typing import Any

from . import query_text
from .json_alone import When
from .json_dialect import JSONDialect
from .json_places import Asked, places

_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*+)"|\'((?:[^\'\\]|\\.)*+)\'', re.S)
_VARIABLE = re.compile(r"@([A-Za-z_][\w.]*)")


def at(*names: str) -> tuple[str, ...]:
    """Parameters of the URL, which win, or members of the body: dotted names as one key, or as an object in another."""
    out = [f"?{name}" for name in names]
    for name in names:
        out += [f"$['{name}']", f"$.{name}"] if "." in name else [f"$.{name}"]
    return tuple(out)


class Vespa(JSONDialect):
    """``/search/`` by GET and POST. At most 400 hits are fetched, Vespa's own limit unless a query profile raises it.

    Left alone: grouping (``select=`` or ``|`` in YQL), ``order by``, and YQL that sets the window itself.
    """

    def __init__(self, **changes: Any) -> None:
        said: dict[str, Any] = {
            "name": "vespa",
            "route": "GET POST /search",
            "query": at("query", "model.queryString"),
            "size": at("hits", "count"),
            "offset": at("offset", "start"),
            "default_size": 10,
            "max_size": 400,
            "hits": "$.root.children",
            "empty": "$.root.fields.totalCount",
            "id": ("$.fields.documentid", "$.id"),
            "score": "$.relevance",
            "index": ("$.fields.sddocname", "$.source"),
            "source": "$.fields",
            "beside": ("documentid", "sddocname", "*features"),
            "searched": at("model.defaultIndex", "default-index"),
            "alone": {
                "format": [
                    When(at("presentation.format", "format"), like=r"(?!json).+"),
                    When("Accept:", like=r"(?i).*\bcbor\b.*"),
                    When(at("yql"), like=r".*\b(limit|offset)\s+\d.*"),
                ],
                "sorted": [
                    *at("ranking.sorting", "sorting"),
                    When(at("ranking.profile", "ranking"), like="unranked"),
                    When(at("yql"), like=r"(?i).*\border\s+by\b.*"),
                ],
                "collapse": [*at("select"), When(at("yql"), like=r".*\|.*\ball\s*\(.*")],
            },
        }
        super().__init__(**{**said, **changes})
        self._yql = places(at("yql"), "yql")

    def query_of(self, asked: Asked) -> str:
        """The query, else the texts in YQL: its literals, and the parameters that it names (``userInput(@text)``)."""
        text = super().query_of(asked)
        yql = asked.value(self._yql)
        if text or not isinstance(yql, str):
            return text
        where = yql.partition(" where ")[2]
        found = [_unescaped(one[1] or one[2] or "") for one in _LITERAL.finditer(where)]
        for name in _VARIABLE.findall(_LITERAL.sub("", where)):
            value = asked.value(places(at(name), "yql"))
            found += [value] if isinstance(value, str) else []
        return query_text.clean(" ".join(dict.fromkeys(one for one in found if one.strip())))


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
