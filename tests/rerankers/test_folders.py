"""What a folder's JSON files say, and what is refused before any library loads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers.folders import ModelFolder, folder_name, open_folder

POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
DENSE = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def config(*architectures: str, **more: object) -> dict[str, object]:
    return {"config.json": {"architectures": list(architectures), **more}, "model.safetensors": ""}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (config("BertForSequenceClassification"), "cross-encoder"),
        (config("BertForSequenceClassification") | {"modules.json": [TRANSFORMER]}, "cross-encoder"),
        (config("BertModel"), "bi-encoder"),
        (config("BertForMaskedLM"), "bi-encoder"),
        (config("BertForPreTraining"), "bi-encoder"),
        (config("BertModel") | {"modules.json": [TRANSFORMER, POOLING]}, "bi-encoder"),
        (config() | {"modules.json": [TRANSFORMER, POOLING]}, "bi-encoder"),
    ],
)
def test_kinds(tmp_path, files, kind):
    assert open_folder(write(tmp_path, files)).kind == kind


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (config("GPT2LMHeadModel"), "holds GPT2LMHeadModel; accepted are cross-encoders"),
        (config("EncoderDecoderModel"), "holds EncoderDecoderModel; accepted are"),
        (config("T5Model", is_encoder_decoder=True), "holds T5Model; accepted are"),
        (config(), "holds a model that names no architecture; accepted are"),
        ({"config.json": "{"}, r"cannot read .*config\.json: "),
        (
            config("BertModel") | {"modules.json": [TRANSFORMER, DENSE]},
            r"uses sentence_\S+\.Dense, which",
        ),
        ({"README.md": ""}, r"has no config\.json, so it holds no transformers model"),
        (
            {"config.json": {"architectures": ["BertModel"]}, "pytorch_model.bin": ""},
            r"has no model\.safetensors; .* a pickle can run any code: save the model again",
        ),
    ],
)
def test_refused(tmp_path, files, message):
    with pytest.raises(ConfigError, match=message):
        open_folder(write(tmp_path, files))


def test_paths_that_are_no_folders(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere does not exist"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"config\.json is a file; give its folder"):
        open_folder(write(tmp_path, config("BertModel")) / "config.json")


@pytest.mark.parametrize(
    ("pooling", "mode"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"word_embedding_dimension": 8}, "mean"),
        ({}, "mean"),
    ],
)
def test_poolings(tmp_path, pooling, mode):
    folder = write(tmp_path, {"modules.json": [TRANSFORMER, POOLING], "1_Pooling/config.json": pooling})
    assert ModelFolder(folder).pooling == mode


@pytest.mark.parametrize("pooling", [{"pooling_mode": "lasttoken"}, {"pooling_mode_max_tokens": True}])
def test_other_poolings_are_refused(tmp_path, pooling):
    folder = write(tmp_path, {"modules.json": [TRANSFORMER, POOLING], "1_Pooling/config.json": pooling})
    with pytest.raises(ConfigError, match=r"pools by (lasttoken|max_tokens); accepted are mean and cls"):
        _ = ModelFolder(folder).pooling


def test_shards_are_read_from_the_index(tmp_path):
    index = {"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}}
    folder = ModelFolder(write(tmp_path, {"model.safetensors.index.json": index}))
    assert [path.name for path in folder.weights] == ["model-1.safetensors", "model-2.safetensors"]


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "minilm", {"inner/x": ""}))
    assert [folder_name(Path(path)) for path in (".", "inner/", "inner/..", str(tmp_path / "minilm"))] == [
        "minilm",
        "inner",
        "minilm",
        "minilm",
    ]
