"""A hit is a value: compared, copied, pickled, changed only into another one."""

import copy
import pickle

import msgspec
import pytest

from nbproxy.ranking import Hit

HIT = Hit("books", "1", 3, 9.5, "red shoes", {"title": "red shoes"})


def test_a_hit_is_shown_without_its_source() -> None:
    assert repr(HIT) == "Hit(index='books', doc_id='1', rank=3, score=9.5, text='red shoes')"
    assert repr(Hit(None, None, 1)) == "Hit(index=None, doc_id=None, rank=1, score=None, text=None)"


def test_a_hit_does_not_change() -> None:
    with pytest.raises(AttributeError):
        HIT.text = "blue"  # type: ignore[misc]
    changed = msgspec.structs.replace(HIT, text="blue")
    assert (changed.text, HIT.text, changed.source) == ("blue", "red shoes", HIT.source)


def test_hits_are_compared_by_all_of_their_fields() -> None:
    assert Hit("books", "1", 3, 9.5, "red shoes", {"title": "red shoes"}) == HIT
    assert Hit("books", "1", 3, 9.5, "red shoes") != HIT
    assert len({Hit("books", "1", 1), Hit("books", "1", 1), Hit("books", "2", 1)}) == 2
    assert HIT != ("books", "1", 3, 9.5, "red shoes", {"title": "red shoes"})


def test_hits_can_be_copied_pickled_and_matched() -> None:
    assert pickle.loads(pickle.dumps(HIT)) == copy.deepcopy(HIT) == copy.copy(HIT) == HIT
    match HIT:
        case Hit(index, doc_id, text=text):
            assert (index, doc_id, text) == ("books", "1", "red shoes")
