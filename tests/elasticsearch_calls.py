"""The calls of ``client_calls`` by Elasticsearch's official client, as a program: versions 8 and 9 cannot be imported
side by side (their transports exclude each other).

    python elasticsearch_calls.py MODULE URL … < calls.json     # MODULE: elasticsearch8 or elasticsearch

Prints, for each address, what the client understood of each answer; the blocking client's first, then the other's.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

_IDS = {"_scroll_id": "$scroll", "pit_id": "$pit"}
_BODIES = {"bulk": "operations", "msearch": "searches", "index": "document", "create": "document"}


class Calls:
    """The calls at one address, by the module given."""

    def __init__(self, module: str, url: str, **options: Any) -> None:
        self.library = importlib.import_module(module)
        self.helpers = importlib.import_module(f"{module}.helpers")
        self.url, self.options = url, options
        self.known: dict[str, str] = {}

    def fill(self, call: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(call)
        for name, value in self.known.items():
            text = text.replace(name, value)
        filled: dict[str, Any] = json.loads(text)
        return filled

    def note(self, call: dict[str, Any], answer: Any) -> Any:
        answer = getattr(answer, "body", answer)
        if isinstance(answer, dict):
            self.known |= {name: answer[key] for key, name in _IDS.items() if key in answer}
            if call["call"] == "open_point_in_time" and "id" in answer:
                self.known["$pit"] = answer["id"]
        return answer

    def plain(self, client: Any, call: dict[str, Any]) -> Any:
        for part in call["call"].split("."):
            client = getattr(client, part)
        body = {} if call["body"] is None else {_BODIES.get(call["call"], "body"): call["body"]}
        return client(**call["arguments"], **body, **{k.lstrip("_"): v for k, v in call["params"].items()})

    def blocking(self, calls: list[dict[str, Any]]) -> list[Any]:
        with self.library.Elasticsearch(self.url, **self.options) as client:
            return [self.answer(client, self.fill(call)) for call in calls]

    def answer(self, client: Any, call: dict[str, Any]) -> Any:
        try:
            if call["call"] == "helpers.bulk":
                return self.helpers.bulk(client, actions(call), refresh=True)[0]
            if call["call"] == "helpers.scan":
                return [hit["_id"] for hit in self.helpers.scan(client, query=call["body"], **call["arguments"])]
            return self.note(call, self.plain(client, call))
        except self.library.ApiError as error:
            return {"status": error.meta.status, "error": error.body}

    async def awaited(self, calls: list[dict[str, Any]]) -> list[Any]:
        async with self.library.AsyncElasticsearch(self.url, **self.options) as client:
            return [await self.answer_later(client, self.fill(call)) for call in calls]

    async def answer_later(self, client: Any, call: dict[str, Any]) -> Any:
        try:
            if call["call"] == "helpers.bulk":
                return (await self.helpers.async_bulk(client, actions(call), refresh=True))[0]
            if call["call"] == "helpers.scan":
                found = self.helpers.async_scan(client, query=call["body"], **call["arguments"])
                return [hit["_id"] async for hit in found]
            return self.note(call, await self.plain(client, call))
        except self.library.ApiError as error:
            return {"status": error.meta.status, "error": error.body}


def actions(call: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"_index": call["arguments"]["index"], **document} for document in call["arguments"]["documents"]]


def main(module: str, urls: list[str], calls: list[dict[str, Any]]) -> list[list[Any]]:
    out = [Calls(module, url).blocking(calls) for url in urls]
    packed = [Calls(module, url, http_compress=True) for url in urls]
    return out + [asyncio.run(one.awaited(calls)) for one in packed]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:], json.load(sys.stdin))))
