"""The transformers models give what sentence-transformers gives, on real models."""

from __future__ import annotations

import copy
import json
import re
import shutil
import threading

import numpy as np
import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.base import hits_of
from nbproxy.rerankers.loaded import TransformerReranker
from nbproxy.rerankers.transformer import BiEncoder, CrossEncoder

from .conftest import SHAPES, sentence

IDENTITY = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
OLD_IDENTITY = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("words", [1, 5, 31, 32])
@pytest.mark.parametrize("config", [{}, IDENTITY, OLD_IDENTITY], ids=["default", "identity", "old"])
def test_one_label_equals_predict(tiny, sentence_transformers, rng, texts, shape, words, config):
    folder, query = tiny(shape, 1, **config), sentence(rng, words)
    reranker = as_reranker(folder)
    assert isinstance(reranker, CrossEncoder)
    expected = sentence_transformers.CrossEncoder(str(folder)).predict([(query, text) for text in texts])
    assert np.ptp(expected) > 0.1  # something to tell apart
    np.testing.assert_allclose(reranker(query, texts), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", ["bert", "roberta"])
def test_two_labels_are_the_second_ones_probability(tiny, sentence_transformers, rng, texts, shape):
    folder, query = tiny(shape, 2), sentence(rng, 6)
    model = sentence_transformers.CrossEncoder(str(folder))
    expected = model.predict([(query, text) for text in texts], apply_softmax=True)[:, 1]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(as_reranker(folder)(query, texts), expected, atol=1e-5, rtol=0)


def test_a_cross_encoder_that_sentence_transformers_saved(tiny, sentence_transformers, rng, texts, tmp_path):
    """It writes a modules.json for cross-encoders too, and keeps the activation in a file of its own."""
    import torch

    model = sentence_transformers.CrossEncoder(str(tiny("bert", 1)), activation_fn=torch.nn.Tanh())
    model.save_pretrained(str(tmp_path))
    assert (tmp_path / "modules.json").is_file()
    query = sentence(rng, 4)
    expected = model.predict([(query, text) for text in texts])
    np.testing.assert_allclose(as_reranker(tmp_path)(query, texts), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", ["bert", "roberta"])
def test_a_long_query_is_cut_to_half_first(tiny, sentence_transformers, rng, texts, shape):
    folder, query = tiny(shape, 1), sentence(rng, 100)
    reranker = as_reranker(folder)
    half = " ".join(query.split()[: reranker.max_length // 2])
    assert reranker.cut(query) == half
    assert reranker.cut(half) == half
    expected = sentence_transformers.CrossEncoder(str(folder)).predict([(half, text) for text in texts])
    np.testing.assert_allclose(reranker(query, texts), expected, atol=1e-5, rtol=0)
    assert len(set(reranker(query, texts))) > 10  # the texts still count


def test_order_is_the_logits_where_the_sigmoid_saturates(tiny, rng):
    reranker = as_reranker(tiny("bert", 1, spread=5_000.0))
    query, texts = sentence(rng, 3), [sentence(rng, 10) for _ in range(40)]
    with pytest.warns(UserWarning, match=r"40 of 40 scores are saturated \(logits from .*the order is the logits'"):
        scores = np.array(reranker(query, texts))
    assert reranker(query, texts) == list(scores)  # warned of once
    logits = reranker.logits(query, texts)[:, 0]
    assert np.abs(logits).max() > 1_000  # far beyond what float64 can tell apart
    np.testing.assert_array_equal(np.argsort(-scores, kind="stable"), np.argsort(-logits, kind="stable"))
    assert len(set(scores)) == len(set(logits))


@pytest.mark.model
def test_equal_texts_tie_exactly(minilm, rng):
    texts = [f"{sentence(rng, rng.randint(1, 80))}" for _ in range(30)]
    scores = minilm("a question", [*texts, *reversed(texts)])
    assert scores[:30] == scores[30:][::-1]


@pytest.mark.model
def test_minilm_equals_sentence_transformers(minilm, minilm_path, sentence_transformers):
    query = "how do cats purr"
    texts = ["A cat's purr comes from its larynx.", "Bonds fell.", "", "x " * 600, "Łódź is a city", "purring " * 90]
    model = sentence_transformers.SentenceTransformer(str(minilm_path))
    vectors = model.encode([query, *texts])
    expected = sentence_transformers.util.cos_sim(vectors[:1], vectors[1:])[0].numpy()
    assert isinstance(minilm, BiEncoder)
    assert minilm.max_length == 256
    np.testing.assert_allclose(minilm(query, texts), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("shape", ["bert", "roberta"])
def test_saved_bi_encoders(tiny, sentence_transformers, rng, texts, tmp_path, shape, mode):
    """Both poolings, as the present sentence-transformers saves them."""
    modules = sentence_transformers.sentence_transformer.modules
    transformer = modules.Transformer(str(tiny(shape, None)), max_seq_length=20)
    pooling = modules.Pooling(transformer.get_embedding_dimension(), pooling_mode=mode)
    model = sentence_transformers.SentenceTransformer(modules=[transformer, pooling])
    model.save_pretrained(str(tmp_path))
    query = sentence(rng, 5)
    vectors = model.encode([query, *texts])
    expected = sentence_transformers.util.cos_sim(vectors[:1], vectors[1:])[0].numpy()
    reranker = as_reranker(tmp_path)
    assert isinstance(reranker, BiEncoder)
    assert reranker.max_length == 20
    np.testing.assert_allclose(reranker(query, texts), expected, atol=1e-5, rtol=0)


def test_a_plain_encoder_is_mean_pooled(tiny, sentence_transformers, rng, texts):
    folder = tiny("bert", None)
    vectors = sentence_transformers.SentenceTransformer(str(folder)).encode(["w1 w2", *texts])
    expected = sentence_transformers.util.cos_sim(vectors[:1], vectors[1:])[0].numpy()
    np.testing.assert_allclose(as_reranker(folder)("w1 w2", texts), expected, atol=1e-5, rtol=0)


def test_no_texts(tiny):
    assert as_reranker(tiny("bert", 1))("w1", []) == []


@pytest.mark.parametrize("labels", [1, None])
def test_a_loaded_pair_scores_like_its_folder(tiny, rng, texts, labels):
    from_folder = as_reranker(tiny("bert", labels))
    pair = (from_folder.model, from_folder.tokenizer)
    from_pair = as_reranker(pair)
    assert from_pair.source == pair
    assert from_pair("w1", texts) == from_folder("w1", texts)
    assert from_pair.name == f"bert-{labels or 'encoder'}"
    assert from_pair.fingerprint == as_reranker(pair, name="again").fingerprint
    other = as_reranker((scaled(from_folder.model), from_folder.tokenizer))
    assert other.fingerprint != from_pair.fingerprint


def scaled(model):
    import torch

    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    return other


def test_fingerprints_tell_weights_and_configurations_apart(tiny, tmp_path):
    original = tiny("bert", 1)
    same = shutil.copytree(original, tmp_path / "same")
    (same / "README.md").write_text("not read")
    configured = shutil.copytree(original, tmp_path / "configured")
    config = json.loads((configured / "config.json").read_text()) | IDENTITY
    (configured / "config.json").write_text(json.dumps(config))
    fingerprints = [as_reranker(path).fingerprint for path in (original, same, configured, tiny("bert", 2))]
    assert all(re.fullmatch("[0-9a-f]{16}", fingerprint) for fingerprint in fingerprints)
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


def test_two_threads_may_share_a_model(tiny, rng, texts):
    """Two names for one model have a worker each."""
    reranker = as_reranker(tiny("bert", 1))
    queries = [sentence(rng, rng.randint(1, 60)) for _ in range(8)]
    expected = [reranker(query, texts) for query in queries]
    found = {}

    def score(number):
        found[number] = [reranker(query, texts) for query in queries]

    threads = [threading.Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4


def test_loading_is_silent_and_leaves_settings_alone(tiny, capfd):
    import huggingface_hub.utils as hub
    from transformers.utils import logging as settings

    def state():
        return settings.get_verbosity(), settings.is_progress_bar_enabled(), hub.are_progress_bars_disabled()

    before = state()
    try:
        for bars, hub_bars, level in ((True, True, 10), (True, False, 20), (False, True, 30), (False, False, 40)):
            (settings.enable_progress_bar if bars else settings.disable_progress_bar)()
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()
            settings.set_verbosity(level)
            chosen = state()
            as_reranker(tiny("bert", 1))("w1 " * 100, ["w2 " * 100])
            assert state() == chosen
    finally:
        settings.enable_progress_bar() if before[1] else settings.disable_progress_bar()
        hub.disable_progress_bars() if before[2] else hub.enable_progress_bars()
        settings.set_verbosity(before[0])
    assert capfd.readouterr() == ("", "")


def test_settings_are_put_back_after_a_failed_load(tiny, tmp_path):
    from transformers.utils import logging as settings

    broken = shutil.copytree(tiny("bert", 1), tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    with pytest.raises(ConfigError, match=r"transformers cannot load .*broken: \w+"):
        as_reranker(broken)
    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before


def test_weights_drawn_at_random_are_refused(tiny, tmp_path):
    """An encoder's weights under a classifier's configuration would score at random."""
    folder = shutil.copytree(tiny("bert", None), tmp_path / "headless")
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "relevant"}, "label2id": {}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"lack classifier\.bias, classifier\.weight.* at random"):
        as_reranker(folder)


def test_three_labels_are_refused(tiny):
    with pytest.raises(ConfigError, match="a cross-encoder has 1 or 2 labels, this one 3"):
        as_reranker(tiny("bert", 3))


def test_the_classes_refuse_each_others_folders(tiny):
    with pytest.raises(ConfigError, match="is a bi-encoder, not a cross-encoder"):
        CrossEncoder(tiny("bert", None))
    assert CrossEncoder(tiny("bert", 1), name="mine", device="cpu", budget=64).name == "mine"


def test_a_pair_of_neither_kind_is_refused(tiny):
    import transformers

    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8, n_positions=8)
    with pytest.raises(ConfigError, match="GPT2LMHeadModel is neither a sequence classifier"):
        as_reranker((transformers.GPT2LMHeadModel(config), as_reranker(tiny("bert", 1)).tokenizer))


def test_a_model_without_a_padding_token_is_read_one_by_one(tiny, rng, texts):
    reranker = as_reranker(tiny("bert", 1))
    expected = reranker("w1", texts)
    unpadded = as_reranker((reranker.model, copy.deepcopy(reranker.tokenizer)))
    unpadded.tokenizer.pad_token = None
    np.testing.assert_allclose(unpadded("w1", texts), expected, atol=1e-6, rtol=0)


def test_roberta_without_a_limit_stays_within_its_positions(tiny, texts):
    """Its tokenizer may name no limit, and its first positions cannot be used."""
    reranker = as_reranker(tiny("roberta", 1, max_length=10**30))
    assert reranker.max_length == 64
    assert len(reranker("w1", texts)) == len(texts)


def test_hub_ids_are_loaded_from_a_snapshot(tiny, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(hub_id, **options):
        asked.append((hub_id, options))
        return str(tiny("bert", 1))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    reranker = as_reranker("someone/some-model")
    assert isinstance(reranker, TransformerReranker)
    assert (reranker.name, reranker.source) == ("someone/some-model", "someone/some-model")
    assert [hub_id for hub_id, _ in asked] == ["someone/some-model"]  # once
    patterns = asked[0][1]["allow_patterns"]
    assert not any(pattern.endswith((".bin", ".pt", ".pkl", ".py", "*")) for pattern in patterns)


@pytest.mark.parametrize(("shape", "labels"), [("bert", 1), ("roberta", 2), ("bert", None)])
def test_several_searches_score_as_each_alone(tiny, rng, texts, shape, labels):
    """Also where they have texts in common, one has none, and one query is longer than it may be."""
    reranker = as_reranker(tiny(shape, labels))
    queries = [sentence(rng, length) for length in (1, 5, 60, 5)]
    searches = [(query, hits_of(texts[place * 3 : place * 3 + 15])) for place, query in enumerate(queries)]
    searches += [("nothing", []), searches[0]]
    together = reranker.score_many(searches)
    assert [len(scores) for scores in together] == [len(hits) for _, hits in searches]
    for (query, hits), scores in zip(searches, together, strict=True):
        np.testing.assert_allclose(scores, reranker.score(query, hits), atol=1e-6, rtol=0)
    assert reranker.score_many([]) == []


def test_a_model_can_be_warmed(tiny):
    for labels in (1, None):
        as_reranker(tiny("bert", labels)).warm()


def test_the_best_window_of_a_long_text_counts(tiny, rng):
    """Each window is scored as predict scores it; the best one is the text's, and the cost is visible."""
    folder, query = tiny("bert", 1), sentence(rng, 7)
    first, best = CrossEncoder(folder), CrossEncoder(folder, passages="max")
    words = sentence(rng, 150).split()
    room, step = 54, 54 - 13
    windows = [" ".join(words[start : start + room]) for start in range(0, 150 - 13, step)]
    short = sentence(rng, 20)
    assert best(query, [" ".join(words), short]) == pytest.approx([max(first(query, windows)), *first(query, [short])])
    assert (best.work.texts, best.work.windows) == (2, len(windows) + 1)
    assert "passages='max'" in repr(best)
    assert best.fingerprint != first.fingerprint


def test_the_best_window_for_a_bi_encoder(tiny, rng):
    folder, query = tiny("bert", None), sentence(rng, 7)
    first, best = BiEncoder(folder), BiEncoder(folder, passages="max")
    words = sentence(rng, 150).split()
    room, step = 62, 62 - 15
    windows = [" ".join(words[start : start + room]) for start in range(0, 150 - 15, step)]
    short = sentence(rng, 20)
    for _ in range(2):
        scores = best(query, [" ".join(words), short])
        assert scores == pytest.approx([max(first(query, windows)), *first(query, [short])], abs=1e-6)
    assert len(best.cache) == len(windows) + 1
    assert best.details()["cache"]["vectors"]["hit_rate"] == 0.5


def test_two_labels_have_a_best_window_too(tiny, rng):
    reranker = CrossEncoder(tiny("bert", 2), passages="max")
    (score,) = reranker("w1", [sentence(rng, 200)])
    assert 0 < score < 1


def test_scores_are_kept(tiny, rng, texts):
    reranker, query = CrossEncoder(tiny("bert", 1), cache=30), sentence(rng, 5)
    scores = reranker(query, texts)
    computed = reranker.work.tokens
    assert reranker(query, texts[::-1]) == scores[::-1]
    assert reranker.work.tokens == computed
    assert reranker.details()["cache"]["scores"] == {"kept": len(set(texts)), "hit_rate": 0.5}
    reranker("w9", texts)
    assert reranker.work.tokens > computed
    assert len(reranker.caches["scores"]) == 30


def test_prefixes_go_before_query_and_text(tiny, rng):
    folder = tiny("bert", 1)
    plain, texts = CrossEncoder(folder), [sentence(rng, n) for n in (3, 9, 90)]
    prefixed = CrossEncoder(folder, query_prefix="w7 w8 ", document_prefix="w9 ")
    assert prefixed("w1", texts) == pytest.approx(plain("w7 w8 w1", [f"w9 {text}" for text in texts]))
    assert prefixed.fingerprint != plain.fingerprint


def test_a_bi_encoders_prompts_are_used(tiny, sentence_transformers, rng, texts, tmp_path):
    """As sentence-transformers' encode_query and encode_document use them."""
    model = sentence_transformers.SentenceTransformer(
        str(tiny("bert", None)), prompts={"query": "w7 w8 ", "document": "w9 "}
    )
    model.save_pretrained(str(tmp_path))
    expected = sentence_transformers.util.cos_sim(model.encode_query("w1"), model.encode_document(texts))[0].numpy()
    reranker = as_reranker(tmp_path)
    assert (reranker.query_prefix, reranker.document_prefix) == ("w7 w8 ", "w9 ")
    np.testing.assert_allclose(reranker("w1", texts), expected, atol=1e-5, rtol=0)
    without = BiEncoder(tmp_path, query_prefix="", document_prefix="")
    np.testing.assert_allclose(without("w1", texts), as_reranker(tiny("bert", None))("w1", texts), atol=1e-5)


def test_a_shorter_length_may_be_asked_for(tiny, sentence_transformers, rng, texts):
    folder = tiny("roberta", 1)
    expected = sentence_transformers.CrossEncoder(str(folder), max_length=24).predict([("w1 w2", t) for t in texts])
    np.testing.assert_allclose(CrossEncoder(folder, max_length=24)("w1 w2", texts), expected, atol=1e-5, rtol=0)
    for length in (7, 65, "long"):
        with pytest.raises(ConfigError, match="max_length must be from 8 to 64"):
            CrossEncoder(folder, max_length=length)


def test_a_loaded_pair_reads_as_it_is_told(tiny, rng):
    model = CrossEncoder(tiny("bert", 1))
    told = CrossEncoder.of(model.model, model.tokenizer, passages="max", query_prefix="w7 ")
    text = sentence(rng, 150)
    assert told("w1", [text]) == CrossEncoder(tiny("bert", 1), passages="max", query_prefix="w7 ")("w1", [text])
