"""The demo engine behind Elasticsearch's outside: its media type, its version, its names for a point in time and for
asynchronous searches. What the engine answers is its own; the product header is ``upstreams.Json``'s.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-open-point-in-time
https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-async-search-submit
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, Any]

_OWN = re.compile(r"application/vnd\.elasticsearch\+(json|x-ndjson) *; *compatible-with=\d+")
_ASYNC = re.compile(r"/([^/]+)/_async_search")
_PIT = re.compile(r"/([^/]+)/_pit\?(.*)")


class ElasticsearchShaped:
    """``upstreams.Json.answer`` for the engine at ``url``."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)

    def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        plain = {name: _OWN.sub(r"application/\1", value) for name, value in headers.items()}
        if path == "/":
            return 200, {"name": "es", "cluster_name": "es", "version": {"number": "9.1.0"}, "tagline": "You Know"}
        if found := _PIT.fullmatch(path):
            status, answer = self._ask("POST", f"/{found[1]}/_search/point_in_time?{found[2]}", plain, b"")
            return status, {"id": json.loads(answer)["pit_id"]} if status == 200 else answer
        if path == "/_pit":
            ids = json.dumps({"pit_id": [json.loads(body)["id"]]}).encode()
            return self._ask("DELETE", "/_search/point_in_time", plain, ids)[0], {"succeeded": True, "num_freed": 1}
        if found := _ASYNC.match(path):
            status, answer = self._ask("POST", f"/{found[1]}/_search", plain, body)
            return status, {"id": "FmRl", "is_partial": False, "is_running": False, "response": json.loads(answer)}
        return self._ask(method, path, plain, _standard(body))

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._place.hostname or "", self._place.port, timeout=10)
        try:
            kept = {k: v for k, v in headers.items() if k in ("content-type", "accept")}
            connection.request(method, path, body, kept)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _standard(body: bytes) -> bytes:
    """A standard retriever's query, as the engine knows it."""
    if not body.startswith(b'{"retriever"'):
        return body
    asked = json.loads(body)
    return json.dumps({"query": asked.pop("retriever")["standard"]["query"], **asked}).encode()
