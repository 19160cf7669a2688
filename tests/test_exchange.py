"""Exchange ids are UUIDs in the order of time."""

from __future__ import annotations

import uuid

from nbproxy.exchange import new_exchange_id


def test_ids_are_ordered_version_7_uuids() -> None:
    ids = [new_exchange_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(7, uuid.RFC_4122)}
