"""FlashRank's Ranker as a model: the real library, its model made here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.flash import Flash
from tests.rerankers.conftest import tiny_tokenizer

QUERY = "w1 w2 w3"
NAME, FILE = "ms-marco-TinyBERT-L-2-v2", "flashrank-TinyBERT-L-2-v2.onnx"  # a name that FlashRank knows


def save_onnx(path, labels: int, *, types: bool, spread: float):
    """The mean of the tokens' vectors, times weights: all that a ranker needs to be told from another."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(11)
    table = numpy_helper.from_array(rng.normal(size=(205, 8)).astype(np.float32), "table")
    weights = numpy_helper.from_array((rng.normal(size=(8, labels)) * spread).astype(np.float32), "weights")
    last = numpy_helper.from_array(np.array([2], dtype=np.int64), "last")
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "one")
    ids = ["typed" if types else "input_ids"]
    nodes = [
        *([helper.make_node("Add", ["input_ids", "token_type_ids"], ["typed"])] if types else []),
        helper.make_node("Gather", ["table", *ids], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["vectors", "wide"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "one"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [table, weights, last, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def save_ranker(cache, labels: int = 1, *, types: bool = True, spread: float = 1.0):
    folder = cache / NAME
    folder.mkdir(parents=True)
    tiny_tokenizer(pairs_have_types=types, max_length=64).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    save_onnx(folder / FILE, labels, types=types, spread=spread)
    return cache


def ranker(cache, **options):
    import flashrank

    return flashrank.Ranker(model_name=NAME, cache_dir=str(save_ranker(cache, **options)), log_level="WARNING")


def reranked(made, query, texts):
    """What the library says, in the order of the texts."""
    import flashrank

    asked = flashrank.RerankRequest(query=query, passages=[{"id": i, "text": text} for i, text in enumerate(texts)])
    return [float(one["score"]) for one in sorted(made.rerank(asked), key=lambda one: one["id"])]


@pytest.fixture
def texts(rng):
    return [" ".join(f"w{rng.randrange(200)}" for _ in range(rng.randrange(1, 80))) for _ in range(40)]


@pytest.mark.parametrize("options", [{}, {"labels": 2}, {"types": False}])
def test_scores_are_its_own(tmp_path, texts, options):
    made = ranker(tmp_path, **options)
    reranker = as_reranker(made)
    assert type(reranker) is Flash
    assert (reranker.name, reranker.source) == (NAME, made)
    assert reranker(QUERY, texts) == pytest.approx(reranked(made, QUERY, texts), abs=1e-6)
    assert reranker(QUERY, [*texts, texts[0]])[-1] == reranker(QUERY, texts)[0]
    assert reranker(QUERY, []) == []


def test_batches_are_bounded(tmp_path, texts):
    made = ranker(tmp_path)
    sizes, encode = [], made.tokenizer.encode_batch

    class Watched:
        def encode_batch(self, pairs):
            sizes.append(len(pairs))
            return encode(pairs)

    made.tokenizer = Watched()
    as_reranker(made)(QUERY, texts)
    assert sizes == [16, 16, 8]


def test_the_order_is_that_of_the_logits(tmp_path, texts):
    made = ranker(tmp_path, spread=60.0)
    assert len(set(reranked(made, QUERY, texts))) < len(texts)
    assert len(set(as_reranker(made)(QUERY, texts))) == len(set(texts))


def test_fingerprints(tmp_path):
    one, same, other = (
        as_reranker(ranker(tmp_path / name, spread=spread)) for name, spread in (("a", 1.0), ("b", 1.0), ("c", 2.0))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_listwise_ranker(tmp_path, texts):
    made = ranker(tmp_path)

    class Model:
        """llama-cpp's interface, as the library calls it."""

        def create_chat_completion(self, messages):
            return {"choices": [{"message": {"content": "[2] > [3] > [1]"}}]}

    made.llm_model = Model()
    assert as_reranker(made)(QUERY, ["a", "b", "c"]) == [1.0, 3.0, 2.0]
