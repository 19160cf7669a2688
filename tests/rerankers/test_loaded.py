"""What the status says of a model of the transformers library, by the session that serves it."""

from __future__ import annotations

import pytest

import nbproxy
from nbproxy.errors import ConfigError


def test_the_status_shows_how_it_computes_what_it_cost_and_what_its_cache_found(tiny, start, json_upstream):
    import http.client
    import json

    session = start(json_upstream.url, model=nbproxy.CrossEncoder(tiny("bert", 1), device="cpu", name="cross"))
    model = session.status["model"]
    assert model == {
        "name": "cross",
        "fingerprint": session.model.fingerprint,
        "backend": "torch",
        "precision": "float32",
        "device": "cpu",
        "passages": "first",
        "work": {"texts": 0, "windows": 0, "tokens": 0},
        "cache": {"scores": {"kept": 0, "hit_rate": None}},
    }
    session.model("w1", ["w2", "w3 w4"])
    session.model("w1", ["w2", "w3 w4"])
    connection = http.client.HTTPConnection("127.0.0.1", session.port)
    connection.request("GET", "/_nbproxy/status")
    told = json.loads(connection.getresponse().read())["model"]
    connection.close()
    assert told["work"] == {"texts": 2, "windows": 2, "tokens": 5 + 6}
    assert told["cache"] == {"scores": {"kept": 2, "hit_rate": 0.5}}


def test_under_another_name_it_says_the_same(tiny):
    model = nbproxy.CrossEncoder(tiny("bert", 1))
    assert nbproxy.as_reranker(model, name="other").details() == model.details()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("budget", 0, "budget must be a whole number of at least 1, or None, not 0"),
        ("budget", "x", "budget must be"),
        ("budget", True, "budget must be"),
        ("cache", -1, "cache must be a whole number of at least 0, not -1"),
        ("cache", None, "cache must be"),
        ("query_prefix", 3, "query_prefix must be a text or None, not 3"),
        ("document_prefix", b"x", "document_prefix must be"),
        ("trust_remote_code", "yes", "trust_remote_code must be True or False, not 'yes'"),
        ("max_loss", "x", "max_loss must be a share"),
    ],
)
def test_options_that_cannot_be(tiny, option, value, message):
    with pytest.raises(ConfigError, match=message):
        nbproxy.CrossEncoder(tiny("bert", 1), **{option: value})


@pytest.mark.parametrize("source", [None, 3, (1, 2), "", " "])
def test_what_is_no_source(source):
    for make in (nbproxy.CrossEncoder, nbproxy.BiEncoder):
        with pytest.raises(ConfigError, match="a model is loaded from a folder or a hub id, not from"):
            make(source)
