"""Exchange ids are UUIDs in the order of time."""

from __future__ import annotations

import uuid

import numpy as np

from nbproxy.exchange import id_texts, new_exchange_ids


def test_ids_are_ordered_version_7_uuids() -> None:
    ids = id_texts(new_exchange_ids(1_790_000_000_000_000 + np.arange(20_000) * 500))
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert new_exchange_ids(np.array([], dtype=np.int64)).shape == (0, 36)
