"""Exchange ids are UUIDs in the order of time; an exchange is shown in one line."""

from __future__ import annotations

import os
import uuid

import numpy as np

from nbproxy.exchange import Exchange, exchange_ids, id_texts, next_count


def test_ids_are_ordered_version_7_uuids() -> None:
    started = 1_790_000_000_000_000 + np.arange(20_000) * 500
    ids = id_texts(exchange_ids(started, next_count(20_000), os.urandom(8 * 20_000)))
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert exchange_ids(np.array([], dtype=np.int64), 0, b"").shape == (0, 36)
    assert next_count(1) == next_count(0) - 1


def test_a_repr_is_one_short_harmless_line() -> None:
    body = b"<script>\x1b" * 1_000_000
    one = Exchange(
        exchange_id="x", started=0, method="POST", target="/<b>\x1b[31m", query="red\n\u202e", status=200,
        response_body=body, bytes_out=len(body),
    )  # fmt: skip
    assert repr(one) == ("<Exchange x POST '/<b>\\x1b[31m' → 200 · pass 'red\\n\\u202e' · 0 bytes in, 9,000,000 out>")
    assert "<b>" not in one._repr_html_()
