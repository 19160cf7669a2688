"""Random searches of the whole DSL: nothing raises, what is left alone stays, and no hit is lost, repeated or altered.

The laws are held against ``reference``, which answers a search without anything of nbproxy's: what a client gets must
be what it would have got from an upstream whose order is the new one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from nbproxy import Session
from nbproxy.dialects import Elasticsearch, query_text, search_request
from nbproxy.messages import Request
from nbproxy.pipeline import Alone, Plan, Several, plan
from nbproxy.ranking import Hit
from nbproxy.settings import FieldsSetting, Settings

from ..upstreams import Client, Json
from . import grammar, reference

ES = Elasticsearch()
REASONS = {word for word, _ in search_request.REASONS} | {"beyond-depth"}
FIELDS: list[FieldsSetting] = [
    None,
    "title",
    ["meta.author.name", "body"],
    "{title}: {n}",
    lambda hit: str(hit.doc_id),
    "title.english",
]
DEPTHS = st.integers(1, 40)
reproducible = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_grammar_has_every_clause_and_retriever() -> None:
    assert set(query_text.CLAUSES) <= set(grammar.LEAVES) | set(grammar.NESTED)
    assert set(query_text.RETRIEVERS) <= set(grammar.ALONE) | set(grammar.AROUND)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def read(body: Any, params: dict[str, str], depth: int, fields: FieldsSetting) -> tuple[Request, Plan | Alone]:
    request = Request("POST", grammar.target(params), body=encoded(body))
    before = replace(request)
    found = plan(ES, request, Settings(depth=depth, fields=fields))
    assert request == before
    return request, found


@settings(reproducible, max_examples=200)
@given(grammar.broken(grammar.RANKED | grammar.BODIES), grammar.QUERIES, DEPTHS, st.sampled_from(FIELDS))
def test_whatever_is_asked_nothing_raises(body: Any, params: dict[str, str], depth: int, fields: FieldsSetting) -> None:
    _, found = read(body, params, depth, fields)
    if isinstance(found, Alone):
        event(found.reason)
        assert found.reason in REASONS
    else:
        event("reranked")
        assert found.search.query.strip()
        encoded_text = found.search.query.encode()  # no lone surrogate is left
        assert encoded_text


@settings(reproducible, max_examples=200)
@given(
    grammar.RANKED | grammar.BODIES, grammar.QUERIES, DEPTHS, st.sampled_from(FIELDS), st.randoms(use_true_random=False)
)
def test_a_client_gets_what_an_upstream_with_the_new_order_would_have_given(
    body: Any, params: dict[str, str], depth: int, fields: FieldsSetting, random: Any
) -> None:
    request, found = read(body, params, depth, fields)
    try:
        direct = reference.answer(request.target, request.body)
    except reference.Refused:
        return
    if isinstance(found, Alone):
        event(found.reason)
        return
    event("reranked")
    search, widened = found.search, found.widened
    window = min(max(depth, search.offset + search.size), len(reference.DOCUMENTS))
    got = reference.answer(widened.request.target, widened.request.body)
    answer = ES.read_hits(got, search, fields, undo=widened.undo)
    assert [hit.rank for hit in answer.hits] == list(range(1, window + 1))
    page = range(search.offset, min(search.offset + search.size, window))
    assert ES.write_hits(answer, list(page)) == direct
    order = list(range(len(answer.hits)))
    random.shuffle(order)
    cut = order[search.offset : search.offset + search.size]
    assert ES.write_hits(answer, cut) == reference.answer(request.target, request.body, order)


def read_texts(hits: tuple[Hit, ...]) -> list[str | None]:
    return [hit.text for hit in hits]


@settings(reproducible, max_examples=80)
@given(grammar.RANKED, st.sampled_from(FIELDS))
def test_what_is_hidden_from_the_client_is_read_by_the_model(body: Any, fields: FieldsSetting) -> None:
    """The texts do not depend on what the client wants to see of the source."""
    if body.get("stored_fields") == "_none_":
        return
    _, found = read(body, {}, 40, fields)
    _, bare = read({k: v for k, v in body.items() if k not in ("_source", "stored_fields")}, {}, 40, fields)
    if isinstance(found, Plan) and isinstance(bare, Plan):
        texts = [
            read_texts(ES.read_hits(reference.answer(one.request.target, one.request.body), found.search, fields).hits)
            for one in (found.widened, bare.widened)
        ]
        assert texts[0] == texts[1]


@settings(reproducible, max_examples=80)
@given(st.lists(grammar.broken(grammar.RANKED) | grammar.BODIES, min_size=1, max_size=4), DEPTHS)
def test_searches_of_several_are_read_as_if_each_had_come_alone(bodies: list[Any], depth: int) -> None:
    """Lines of those that are left alone stay byte for byte."""
    lines = [line for body in bodies for line in (b'{"index":"books"}', encoded(body))]
    whole = Request("POST", "/_msearch", body=b"".join(line + b"\n" for line in lines))
    found = plan(ES, whole, Settings(depth=depth))
    alone = [plan(ES, Request("POST", "/books/_search", body=line), Settings(depth=depth)) for line in lines[1::2]]
    if isinstance(found, Alone):
        # a body that is not an object spoils the whole
        assert found.reason == "malformed" or [one.reason for one in alone if isinstance(one, Alone)] == [*found.parts]
        return
    assert isinstance(found, Several)
    expected = [
        one.request.body if isinstance(one, Plan) else line for one, line in zip(alone, lines[1::2], strict=True)
    ]
    assert found.request.body.split(b"\n")[:-1] == [x for body in expected for x in (b'{"index":"books"}', body)]


def turned(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


@pytest.fixture(scope="module")
def upstream() -> Any:
    with Json() as server:
        yield server


@settings(reproducible, max_examples=40, suppress_health_check=[*HealthCheck])
@given(grammar.broken(grammar.RANKED) | grammar.broken(grammar.BODIES), grammar.QUERIES)
def test_a_request_that_is_left_alone_is_not_changed(
    start: Callable[..., Session], upstream: Json, body: Any, params: dict[str, str]
) -> None:
    """Through real sockets: upstream sees the client's bytes, or widened ones of a search that was reranked."""
    upstream.answer = lambda method, path, headers, sent: (200, b'{"hits":{"hits":[]}}')
    session = start(upstream.url, model=turned)
    upstream.requests.clear()
    target, raw = grammar.target(params), encoded(body)
    with Client(session.url) as client:
        answer = client.ask(b"POST", target.encode(), raw)
    assert answer.body == b'{"hits":{"hits":[]}}'
    row = session.frame.iloc[-1]
    (sent,) = upstream.requests
    if row.reason in REASONS:
        assert (sent[1], sent[3]) == (target, raw)
    else:
        assert row.reason == "no-hits"
