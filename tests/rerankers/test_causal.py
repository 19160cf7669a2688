"""Causal language models that answer yes or no, against the code of Qwen3-Reranker's model card."""

from __future__ import annotations

import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.causal import INSTRUCTION, LENGTH, TEMPLATE, CausalReranker

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QUERY = "what is the fastest animal"
TEXTS = ["the cheetah is the fastest", "no", "a document about yes and no " * 9, "bread", "the cheetah is the fastest"]


def tokenizer(*, pad: bool = False, answers: bool = True):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([INSTRUCTION, QUERY, *(TEXTS if answers else ())] * 3, trainer)
    made.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>", "<|pad|>")])
    made.add_tokens([AddedToken(t) for t in ("<think>", "</think>", *(("yes", "no") if answers else ()))])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|pad|>" if pad else None, model_max_length=131_072
    )


def save(folder, *, tied: bool = True, **tokens):
    import torch
    import transformers

    words = tokenizer(**tokens)
    config = transformers.Qwen3Config(
        vocab_size=len(words) + 5, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=40_960, tie_word_embeddings=tied,
        initializer_range=0.3, pad_token_id=None, bos_token_id=None, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(5)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "tiny-qwen3-reranker")


def as_published(model, words, query, texts, instruction=INSTRUCTION, max_length=LENGTH):
    """One prompt at a time, so that nothing is padded."""
    import torch

    before, after = (words.encode(text, add_special_tokens=False) for text in (PREFIX, SUFFIX))
    scores = []
    for text in texts:
        pair = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {text}"
        room = max_length - len(before) - len(after)
        ids = words(pair, truncation="longest_first", max_length=room, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + ids + after])).logits[:, -1, :].float()
        no, yes = (words.convert_tokens_to_ids(answer) for answer in ("no", "yes"))
        both = torch.stack([logits[:, no], logits[:, yes]], dim=1)
        scores.append(torch.nn.functional.log_softmax(both, dim=1)[:, 1].exp().item())
    return scores


def loaded(folder):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_the_template_is_the_published_one():
    before, _, rest = TEMPLATE.partition("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}")
    assert (before, rest) == (PREFIX, SUFFIX)


@pytest.mark.parametrize("budget", [1, 300, 100_000])
def test_scores_are_the_model_cards(qwen, budget):
    reranker = as_reranker(qwen)
    assert type(reranker) is CausalReranker
    assert reranker.tokenizer.pad_token_id is None
    assert (reranker.name, reranker.source, reranker.max_length) == (qwen.name, qwen, LENGTH)
    reranker.budget = budget
    scores = reranker(QUERY, TEXTS)
    assert scores == pytest.approx(as_published(*loaded(qwen), QUERY, TEXTS), abs=1e-5)
    assert len(set(scores)) == 4
    assert scores[0] == scores[4]


@pytest.mark.parametrize("options", [{"pad": True}, {"tied": False}])
def test_with_a_padding_token_and_untied(tmp_path, options):
    folder = save(tmp_path, **options)
    assert as_reranker(folder)(QUERY, TEXTS) == pytest.approx(as_published(*loaded(folder), QUERY, TEXTS), abs=1e-5)


def test_a_loaded_pair_and_a_pipeline(qwen):
    import transformers

    pair = loaded(qwen)
    wanted = as_reranker(qwen)(QUERY, TEXTS)
    reranker = as_reranker(pair)
    assert reranker(QUERY, TEXTS) == pytest.approx(wanted, abs=1e-7)
    assert reranker.name == qwen.name
    generating = transformers.pipeline("text-generation", model=pair[0], tokenizer=pair[1])
    assert as_reranker(generating)(QUERY, TEXTS) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("keeps", [True, False])
def test_by_the_models_own_logits(qwen, keeps):
    reranker = as_reranker(qwen)
    wanted = reranker(QUERY, TEXTS)
    assert reranker._plain
    reranker._plain, reranker._keeps = False, keeps
    assert reranker(QUERY, TEXTS) == pytest.approx(wanted, abs=1e-6)


def test_a_model_that_scales_its_logits(tmp_path):
    import torch
    import transformers

    words = tokenizer()
    config = transformers.GraniteConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2_048, logits_scaling=8.0, initializer_range=0.3,
        pad_token_id=None, bos_token_id=None, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(5)
    transformers.GraniteForCausalLM(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    reranker = as_reranker(tmp_path)
    assert not reranker._plain
    assert reranker(QUERY, TEXTS) == pytest.approx(as_published(*loaded(tmp_path), QUERY, TEXTS), abs=1e-5)


def test_half_precision_does_not_tie_documents(qwen):
    import torch

    model, words = loaded(qwen)
    texts = [f"document number {number}" for number in range(60)]
    reranker = as_reranker((model.to(torch.bfloat16), words))
    assert len(set(reranker.logits(QUERY, texts)[:, 0])) == len(texts)
    reranker._plain = False
    assert len(set(reranker.logits(QUERY, texts)[:, 0])) < len(texts)


def test_what_is_too_long_is_cut_but_not_the_question(qwen):
    reranker = as_reranker(qwen)
    reranker.max_length = 500
    texts = ["bread " * 200 + "ends", "bread " * 200 + "otherwise", "bread"]
    scores = reranker(QUERY, texts)
    assert scores == pytest.approx(as_published(*loaded(qwen), QUERY, texts, max_length=500), abs=1e-5)
    assert scores[0] == scores[1] != scores[2]
    for ids in reranker.inputs("query " * 500, texts):
        said = reranker.tokenizer.decode(ids)
        assert len(ids) <= 500
        assert said.startswith(PREFIX)
        assert said.endswith(SUFFIX)


def test_texts_that_look_like_places(qwen):
    reranker = as_reranker(qwen)
    for query, text in (("{document} {query}", "a {instruction}"), (r"\1 \g<0>", "{0} {}")):
        assert reranker(query, [text]) == pytest.approx(as_published(*loaded(qwen), query, [text]), abs=1e-5)


def test_another_question(qwen):
    plain, told = CausalReranker(qwen), CausalReranker(qwen, instruction="find recipes")
    assert told(QUERY, TEXTS) == pytest.approx(
        as_published(*loaded(qwen), QUERY, TEXTS, instruction="find recipes"), abs=1e-5
    )
    asked = CausalReranker(qwen, template="A: {query}\nB: {document}\nyes or no?", yes="no", no="yes")
    opposite = CausalReranker(qwen, template="A: {query}\nB: {document}\nyes or no?")
    assert asked(QUERY, TEXTS) == pytest.approx([1 - score for score in opposite(QUERY, TEXTS)], abs=1e-6)
    assert len({one.fingerprint for one in (plain, told, asked, opposite)}) == 4


@pytest.mark.parametrize("template", ["", "{query}", "{document} for {query}", "{query} {document} {query}"])
def test_templates_without_their_places(qwen, template):
    with pytest.raises(ConfigError, match=r"has to have \{query\} and, after it, \{document\}"):
        CausalReranker(qwen, template=template)


def test_a_model_without_the_answers(tmp_path):
    with pytest.raises(ConfigError, match=r"'yes' is no token of this model.*template=…, yes="):
        as_reranker(save(tmp_path, answers=False))
