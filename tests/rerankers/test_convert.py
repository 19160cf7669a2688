"""What may be assigned as a model, and what is said about the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nbproxy.errors import ConfigError, MissingExtra
from nbproxy.ranking import Hit, Reranker
from nbproxy.rerankers import ACCEPTED, as_reranker, listwise
from nbproxy.rerankers.bm25 import BM25
from nbproxy.rerankers.functions import FunctionReranker, Listwise
from nbproxy.rerankers.original import Original
from nbproxy.rerankers.transformer import BiEncoder, CrossEncoder
from nbproxy.rerankers.words import Words


class Foreign:
    """A Reranker that knows only the protocol."""

    name = "foreign"
    fingerprint = "v1"

    def score(self, query, hits):
        return [len(hit.text) for hit in hits]

    def score_many(self, searches):
        return [self.score(*search) for search in searches]


class Complete(Foreign):
    """… and one that has all that ours have."""

    source = "somewhere"

    def __call__(self, query, texts):
        return [0.0 for _ in texts]


def model(query, texts):
    return [1.0 for _ in texts]


@pytest.mark.parametrize(
    ("x", "kind"),
    [("original", Original), ("bm25", BM25), ("words", Words), (model, FunctionReranker), (listwise(model), Listwise)],
)
def test_kinds(x, kind):
    reranker = as_reranker(x)
    assert type(reranker) is kind
    assert isinstance(reranker, Reranker)
    assert as_reranker(reranker) is reranker


@pytest.mark.parametrize(("labels", "kind"), [(1, CrossEncoder), (2, CrossEncoder), (None, BiEncoder)])
def test_folders(tiny, labels, kind):
    folder = tiny("bert", labels)
    for source in (folder, str(folder), f"{folder}{os.sep}"):
        reranker = as_reranker(source)
        assert type(reranker) is kind
        assert (reranker.name, reranker.source) == (folder.name, source)
    assert as_reranker(folder, name="mine").name == "mine"


def test_none():
    assert as_reranker(None) is None
    assert as_reranker(None, name="nothing") is None


def test_a_foreign_reranker_gets_what_ours_have():
    foreign = Foreign()
    reranker = as_reranker(foreign)
    assert (reranker.name, reranker.fingerprint, reranker.source) == ("foreign", "v1", foreign)
    assert reranker("q", ["a", "bb"]) == [1.0, 2.0]
    assert reranker.score_many([("q", [Hit(None, "a", 1, text="abc")])]) == [[3]]
    assert not hasattr(reranker, "score_some")
    assert as_reranker(reranker) is reranker


def test_a_complete_reranker_is_taken_as_it_is():
    complete = Complete()
    assert as_reranker(complete) is complete
    assert as_reranker(complete, name="foreign") is complete


def test_another_name():
    original = as_reranker(model)
    named = as_reranker(original, name="mine")
    assert (named.name, named.fingerprint, named.source) == ("mine", original.fingerprint, original)
    assert original.name == "model"
    assert named("q", ["a"]) == [1.0]
    with pytest.raises(AttributeError):
        named.score_many  # noqa: B018


@pytest.mark.parametrize(
    ("change", "value"), [("name", 3), ("name", ""), ("fingerprint", None), ("fingerprint", 7), ("score", 1.0)]
)
def test_half_a_reranker(change, value):
    foreign = Foreign()
    setattr(foreign, change, value)
    with pytest.raises(ConfigError, match=r"needs a name and a fingerprint, both strings, and a method score"):
        as_reranker(foreign)


@pytest.mark.parametrize("x", [3, 1.5, [model], {"a": model}, b"bm25", object(), ("bm25", "original"), True])
def test_other_objects_are_told_what_is_accepted(x):
    with pytest.raises(ConfigError, match="cannot be a model; a model is one of") as caught:
        as_reranker(x)
    assert ACCEPTED in str(caught.value)


def test_long_objects_are_shown_short():
    with pytest.raises(ConfigError) as caught:
        as_reranker(list(range(10_000)))
    assert len(str(caught.value)) < len(ACCEPTED) + 150


@pytest.mark.parametrize("x", [Foreign, Original, int, dict])
def test_classes(x):
    with pytest.raises(ConfigError, match=f"{x.__name__} is a class; give an instance"):
        as_reranker(x)


@pytest.mark.parametrize(
    ("task", "labels", "kind"), [("text-classification", 1, CrossEncoder), ("feature-extraction", None, BiEncoder)]
)
def test_pipelines(tiny, task, labels, kind):
    import transformers

    folder = tiny("bert", labels)
    made = transformers.pipeline(task, model=str(folder), device="cpu")
    reranker = as_reranker(made)
    assert type(reranker) is kind
    assert reranker("w1", ["w1 w2", "w3"]) == pytest.approx(as_reranker(folder)("w1", ["w1 w2", "w3"]), abs=1e-6)
    made.tokenizer = None
    with pytest.raises(ConfigError, match="the pipeline's model is a Bert"):
        as_reranker(made)


def test_a_callable_of_hits_and_a_field_ask_for_the_whole_source():
    assert as_reranker(lambda query, hits: []).reads_source
    assert not as_reranker(model).reads_source


def test_modules_of_torch_are_not_called(tiny, sentence_transformers):
    encoder = sentence_transformers.CrossEncoder(str(tiny("bert", 1)))
    with pytest.raises(ConfigError, match=r"reads tensors.*give \(model, tokenizer\).*lambda query, texts"):
        as_reranker(encoder.model)


@pytest.mark.parametrize("x", ["", " ", "/no/where", "./bm25", "ftp://localhost/rerank", "a/b/c", "a\0b", "é" * 5000])
def test_strings_that_name_nothing(x):
    with pytest.raises(
        ConfigError, match=r"no built-in model \('original', 'bm25', 'words', 'minilm'\), no folder here"
    ) as caught:
        as_reranker(x)
    assert ACCEPTED in str(caught.value)


@pytest.mark.parametrize(("x", "hint"), [("bm52", "did you mean 'bm25'"), ("someone/nothing", "")])
def test_ids_that_the_hub_does_not_give(monkeypatch, x, hint):
    import huggingface_hub

    def snapshot_download(hub_id, **options):
        raise OSError("no network\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(ConfigError, match=r"no model to be had from the .* hub.*OSError: no network\)") as caught:
        as_reranker(x)
    assert hint in str(caught.value)
    assert ("did you mean" in str(caught.value)) == bool(hint)


def test_folders_that_hold_nothing(tmp_path):
    for x in (tmp_path, str(tmp_path)):
        with pytest.raises(ConfigError, match=r"has no config\.json"):
            as_reranker(x)
    with pytest.raises(ConfigError, match="does not exist"):
        as_reranker(tmp_path / "nowhere")


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_missing_libraries(monkeypatch, tiny, library):
    folder = tiny("bert", 1)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf'{library} is not installed .*; run: pip install "nbproxy\[torch\]"'):
        as_reranker(folder)


def test_missing_bm25s(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtra, match="bm25s is not installed"):
        as_reranker("bm25")("q", ["a"])


def test_the_package_imports_no_model_library():
    code = (
        "import sys, nbproxy.rerankers as r; r.as_reranker('bm25'); r.as_reranker(lambda query, texts: [])\n"
        "heavy = 'torch transformers bm25s huggingface_hub sentence_transformers rerankers flashrank pyterrier'\n"
        "print(sorted({*heavy.split()} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("second", [None, "x", 3])
def test_half_a_pair(tiny, second):
    model = as_reranker(tiny("bert", 1)).model
    with pytest.raises(
        ConfigError, match=r"\(model, tokenizer\) needs a tokenizer of transformers in second place, not"
    ):
        as_reranker((model, second))


def test_a_tokenizer_alone(tiny):
    with pytest.raises(ConfigError, match=r"a tokenizer alone scores nothing; give \(model, tokenizer\)"):
        as_reranker(as_reranker(tiny("bert", 1)).tokenizer)


@pytest.mark.parametrize(("query", "texts"), [("q", "one text"), ("q", b"x"), ("q", [None]), ("q", [3]), (None, ["a"])])
def test_called_with_something_else(query, texts):
    for reranker in (as_reranker("bm25"), as_reranker(model)):
        with pytest.raises(ConfigError, match="is called with a query and a list of texts"):
            reranker(query, texts)


def test_long_strings_are_shown_short():
    with pytest.raises(ConfigError) as caught:
        as_reranker("x" * 10_000)
    assert len(str(caught.value)) < len(ACCEPTED) + 500
