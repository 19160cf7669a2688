"""Which system ordered which query last, on the recording worked out by hand beside its fixture."""

from __future__ import annotations

import pandas as pd
import pytest

from nbproxy.errors import ConfigError
from nbproxy.runs import Runs
from nbproxy.systems import recorded_runs
from tests.fixtures.recording_small import A1, ASIS, BM, GREEN, HAT, LAMP, NOTHING, SHOES, Recorder, recording

EACH_ONCE = ["no-model", "repeat", "later-page", "deadline", "model-error", "sorted", "bypass"]


def orders(runs: Runs) -> dict[str, dict[tuple[str, str], str]]:
    """System → (query, index expression) → its documents, best first."""
    rows = runs.searched.join(runs.units, on="unit")
    found: dict[str, dict[tuple[str, str], str]] = {}
    for system, unit, query, index in rows[["system", "unit", "query", "index"]].itertuples(index=False):
        ranked = runs.ranked[(runs.ranked["system"] == system) & (runs.ranked["unit"] == unit)]
        found.setdefault(system, {})[query, index] = " ".join(ranked.join(runs.docs, on="doc")["doc_id"])
    return found


def test_every_system_has_its_last_orders() -> None:
    runs = recorded_runs(*recording(), served=True)
    served = {
        (SHOES, "shop"): "d4 d1 d2 d5", (HAT, "shop"): "d6 d7 d8", (SHOES, "blog"): "d9 d1",
        (NOTHING, "shop"): "", (LAMP, "shop"): "d2 d1",
    }  # fmt: skip
    assert orders(runs) == {
        "original": {
            (SHOES, "shop"): "d1 d2 d4 d5", (HAT, "shop"): "d6 d7 d8", (SHOES, "blog"): "d1 d9",
            (NOTHING, "shop"): "", (GREEN, "shop"): "d1 d7 d3", (LAMP, "shop"): "d1 d2",
        },
        "minilm (a1)": {(SHOES, "shop"): "d2 d1 d4 d3"},
        "minilm (b2)": {(SHOES, "shop"): "d5 d4 d1 d2", (SHOES, "blog"): "d1 d9", (NOTHING, "shop"): ""},
        "bm": served,
        "served": {**served, (GREEN, "shop"): "d1 d7 d3"},
    }  # fmt: skip


def test_each_search_is_left_out_once() -> None:
    assert recorded_runs(*recording()).left_out.to_dict() == dict.fromkeys(EACH_ONCE, 1)


def test_the_recording_is_not_changed() -> None:
    frame, hits = recording()
    before = frame.copy(deep=True), hits.copy(deep=True)
    recorded_runs(frame, hits, scope="page", judged=["q1"])
    pd.testing.assert_frame_equal(frame, before[0])
    pd.testing.assert_frame_equal(hits, before[1])


def test_a_page_is_as_long_as_the_client_got() -> None:
    found = orders(recorded_runs(*recording(), scope="page"))
    assert found["original"][SHOES, "shop"] == "d1 d2 d4"
    assert found["bm"][SHOES, "shop"] == "d4 d1 d2"
    assert found["minilm (b2)"][SHOES, "shop"] == "d5 d4 d1"


def test_with_nothing_reranked_the_baseline_is_as_answered() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", None, "no-model")
    r.order(1, "d1 d2", "d1 d2", None, scores="none")
    r.search(2, SHOES, "shop", None, "no-model")
    r.order(2, "d2 d1", "d2 d1", None, scores="none")
    r.search(3, SHOES, "shop", None, "no-model", offset=2)
    r.order(3, "d5 d6", "d5 d6", None, scores="none")
    r.search(4, NOTHING, "shop", None, "no-model")  # answered without hits
    r.search(5, GREEN, "shop", None, "no-model", status=500)  # not answered
    r.search(6, HAT, "shop", BM, "deadline")
    r.order(6, "d6", "d6", BM, scores="none")
    runs = recorded_runs(*r.both())
    expected = {(SHOES, "shop"): "d2 d1", (NOTHING, "shop"): "", (HAT, "shop"): "d6"}
    assert orders(runs) == {"original": expected}
    # 1, 3 and 5 gave no order; the model's failure is no secret, though its search is the baseline's
    assert runs.left_out.to_dict() == {"no-model": 3, "deadline": 1}


def test_a_shadow_of_no_model_reranks() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", None, "no-model")
    r.order(1, "d1 d2", "d1 d2", None, scores="none")
    r.order(1, "d1 d2", "d2 d1", A1, "shadow")
    r.search(2, NOTHING, "shop", None, "no-model")
    runs = recorded_runs(*r.both())
    assert orders(runs) == {
        "original": {(SHOES, "shop"): "d1 d2", (NOTHING, "shop"): ""},
        "minilm": {(SHOES, "shop"): "d2 d1", (NOTHING, "shop"): ""},
    }
    assert runs.left_out.empty


def test_served_shadow_and_replay_of_one_model_are_one_system() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.order(1, "d1 d2 d3", "d3 d2 d1", A1)
    r.order(1, "d1 d2 d3", "d2 d3 d1", A1, "replay")
    r.order(1, "d1 d2 d3", "d2 d1 d3", BM, "replay")
    assert orders(recorded_runs(*r.both())) == {
        "original": {(SHOES, "shop"): "d1 d2 d3"},
        "minilm": {(SHOES, "shop"): "d3 d2 d1"},
        "bm": {(SHOES, "shop"): "d2 d1 d3"},
    }


def test_late_scores_of_the_serving_model_give_no_order() -> None:
    """They are recorded as a shadow's; those of a true shadow, and of a replay, count."""
    r = Recorder()
    r.search(1, SHOES, "shop", A1, "deadline")
    r.order(1, "d1 d2", "d1 d2", A1, scores="none")
    r.order(1, "d1 d2", "d2 d1", A1, "shadow")
    r.order(1, "d1 d2", "d2 d1", BM, "shadow")
    r.search(2, HAT, "shop", A1, "overloaded")
    r.order(2, "d6 d7", "d6 d7", A1, scores="none")
    r.order(2, "d6 d7", "d7 d6", A1, "replay")
    runs = recorded_runs(*r.both())
    assert orders(runs) == {
        "original": {(SHOES, "shop"): "d1 d2", (HAT, "shop"): "d6 d7"},
        "bm": {(SHOES, "shop"): "d2 d1"},
        "minilm": {(HAT, "shop"): "d7 d6"},
    }
    assert runs.left_out.to_dict() == {"deadline": 1, "overloaded": 1}


def test_the_original_order_is_the_newest_whichever_model_had_it() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.order(1, "d1 d2", "d2 d1", A1)
    r.search(2, SHOES, "shop", ASIS)
    r.order(2, "d3 d1", "d3 d1", ASIS, scores="nan")
    found = orders(recorded_runs(*r.both(), served=True))
    assert found["original"] == found["served"] == {(SHOES, "shop"): "d3 d1"}
    assert found["minilm"] == {(SHOES, "shop"): "d2 d1"}


def test_trace_ids_are_joined_by_text_into_one_query() -> None:
    """Clients that send an id of their own with every request: the text says that it is one query."""
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.order(1, "d1 d2", "d2 d1", A1)
    r.search(2, SHOES, "shop", A1)
    r.order(2, "d1 d2", "d1 d2", A1)
    for number, row in enumerate(r.frame):
        row["query_id"] = f"trace-{number}"
    runs = recorded_runs(*r.both(), judged=["t1", "t2"], texts={"t1": "Red Shoes", "t2": " red  shoes"})
    assert orders(runs)["minilm"] == {(SHOES, "shop"): "d1 d2"}
    assert runs.units["query_id"].tolist() == ["t1", "t2"]  # one search may answer two judged queries
    assert runs.left_out.to_dict() == {"repeat": 1}


def test_a_hit_without_id_is_a_candidate() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.order(1, "d1 d2 d3", "d3 d2 d1", A1)
    for hit in r.hits[1:]:
        hit["doc_id"] = None
    found = orders(recorded_runs(*r.both()))
    assert found["minilm"][SHOES, "shop"] == "(no id) at rank 3 (no id) at rank 2 d1"


def test_what_cannot_be_read_says_why() -> None:
    frame, hits = recording()
    with pytest.raises(ConfigError, match="is empty"):
        recorded_runs(frame.head(0), hits)
    with pytest.raises(ConfigError, match="holds no search"):
        recorded_runs(frame[frame["route"] == "pass"], hits)
    with pytest.raises(ConfigError, match="scope is 'window' or 'page'"):
        recorded_runs(frame, hits, scope="all")  # type: ignore[arg-type]
    twice = pd.concat([hits, hits.iloc[[3]]], ignore_index=True)
    fine = recorded_runs(frame, twice)  # in a search that is a repeat
    assert len(fine.ranked)
    last = hits[hits["exchange_id"] == "0193-e07"].head(1)
    with pytest.raises(ConfigError, match=r"twice in one order: system original, .*document|doc_id d6"):
        recorded_runs(frame, pd.concat([hits, last], ignore_index=True))


def test_a_zero_hit_search_that_is_searched_again_stands_under_its_reason() -> None:
    r = Recorder()
    r.search(1, NOTHING, "shop", A1, "no-hits")
    r.search(2, NOTHING, "shop", A1, "no-hits")
    runs = recorded_runs(*r.both())
    assert orders(runs) == {"original": {(NOTHING, "shop"): ""}, "minilm": {(NOTHING, "shop"): ""}}
    assert runs.left_out.to_dict() == {"no-hits": 1}


def test_a_shadow_has_the_zero_hit_searches_of_its_time() -> None:
    """No row says that it was there: it was if it ordered the search with hits before, or the one after."""
    r = Recorder()
    r.search(1, NOTHING, "shop", A1, "no-hits")
    r.search(2, SHOES, "shop", A1)
    r.order(2, "d1 d2", "d2 d1", A1)
    r.search(3, HAT, "shop", A1)
    r.order(3, "d6 d7", "d7 d6", A1)
    r.order(3, "d6 d7", "d6 d7", BM, "shadow")
    r.search(4, GREEN, "shop", A1, "no-hits")
    found = orders(recorded_runs(*r.both()))
    assert found["bm"] == {(HAT, "shop"): "d6 d7", (GREEN, "shop"): ""}
    assert len(found["minilm"]) == 4


def test_a_recording_of_searches_without_any_hit() -> None:
    frame, hits = recording()
    runs = recorded_runs(frame[frame["reason"] == "no-hits"], hits.head(0))
    assert orders(runs) == {"original": {(NOTHING, "shop"): ""}, "bm": {(NOTHING, "shop"): ""}}
