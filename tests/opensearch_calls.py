"""The calls of ``client_calls`` by ``opensearch-py``, blocking and not; the programs beside it do the same."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

import opensearchpy
from opensearchpy import helpers

from .client_calls import Call


class Ids:
    """The ids that later calls refer to."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def fill(self, call: Call) -> Call:
        text = json.dumps(call)
        for name, value in self._known.items():
            text = text.replace(name, value)
        filled: Call = json.loads(text)
        return filled

    def note(self, answer: Any) -> None:
        if isinstance(answer, dict):
            self._known |= {name: answer[key] for key, name in _IDS.items() if key in answer}


_IDS = {"_scroll_id": "$scroll", "pit_id": "$pit"}


def _actions(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"_index": arguments["index"], **document} for document in arguments["documents"]]


def _method(client: Any, name: str) -> Callable[..., Any]:
    for part in name.split("."):
        client = getattr(client, part)
    found: Callable[..., Any] = client
    return found


def _plain(client: Any, call: Call) -> Any:
    body = {} if call["body"] is None else {"body": call["body"]}
    return _method(client, call["call"])(**call["arguments"], **body, **call["params"])


def _helper(client: opensearchpy.OpenSearch, call: Call) -> Any:
    if call["call"] == "helpers.bulk":
        return helpers.bulk(client, _actions(call["arguments"]), refresh=True)[0]
    return [hit["_id"] for hit in helpers.scan(client, query=call["body"], **call["arguments"])]


async def _async_helper(client: opensearchpy.AsyncOpenSearch, call: Call) -> Any:
    if call["call"] == "helpers.bulk":
        return (await helpers.async_bulk(client, _actions(call["arguments"]), refresh=True))[0]
    return [hit["_id"] async for hit in helpers.async_scan(client, query=call["body"], **call["arguments"])]


def _error(error: opensearchpy.TransportError) -> Any:
    return {"status": error.status_code, "error": error.info}


def understood(url: str, calls: list[Call], **options: Any) -> list[Any]:
    """What ``opensearchpy.OpenSearch`` understands of each answer."""
    ids, out = Ids(), []
    with opensearchpy.OpenSearch(url, **options) as client:
        for call in map(ids.fill, calls):
            try:
                answer = (_helper if call["call"].startswith("helpers.") else _plain)(client, call)
            except opensearchpy.TransportError as error:
                answer = _error(error)
            ids.note(answer)
            out.append(answer)
    return out


def async_understood(url: str, calls: list[Call], **options: Any) -> list[Any]:
    """What ``opensearchpy.AsyncOpenSearch`` understands of each answer."""

    async def main() -> list[Any]:
        ids, out = Ids(), []
        async with opensearchpy.AsyncOpenSearch(url, **options) as client:
            for call in calls:
                filled = ids.fill(call)
                answer = await _answer(client, filled)
                ids.note(answer)
                out.append(answer)
        return out

    return asyncio.run(main())


async def _answer(client: opensearchpy.AsyncOpenSearch, call: Call) -> Any:
    try:
        if call["call"].startswith("helpers."):
            return await _async_helper(client, call)
        answer: Awaitable[Any] = _plain(client, call)
        return await answer if inspect.isawaitable(answer) else answer
    except opensearchpy.TransportError as error:
        return _error(error)
