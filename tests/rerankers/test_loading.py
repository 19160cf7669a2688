"""Models that come with code of their own, and weights that are pickles, with real transformers."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import nbproxy
from nbproxy.errors import ConfigError
from nbproxy.rerankers import CausalReranker, as_reranker

from .conftest import tiny_tokenizer

# What a hub's model with its own architecture looks like: transformers knows neither class.
CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput


class MeanConfig(PretrainedConfig):
    model_type = "mean-of-words"

    def __init__(self, vocab_size=204, hidden_size=16, **more):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**more)


class MeanModel(PreTrainedModel):
    config_class = MeanConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **more):
        return BaseModelOutput(last_hidden_state=torch.tanh(self.words(input_ids)))


class MeanForSequenceClassification(PreTrainedModel):
    config_class = MeanConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.head = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **more):
        weights = attention_mask.unsqueeze(-1).to(self.words.weight.dtype)
        states = (torch.tanh(self.words(input_ids)) * weights).sum(1) / weights.sum(1)
        return SequenceClassifierOutput(logits=self.head(states))
"""
RAN = '\nimport pathlib\npathlib.Path(__file__).with_name("ran").touch()\n'
TEXTS = ["w1 w2", "w3", "w4 w5 w6 w7", ""]


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """``own_code(classifies)``: the folder of a model whose architecture is in its own ``modeling_mean.py``."""
    import torch
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))

    def imported(path: Path) -> ModuleType:
        path.write_text(CODE)
        spec = importlib.util.spec_from_file_location("made_by_the_test", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    def saved(classifies: bool) -> Path:
        folder = tmp_path / ("cross" if classifies else "bi")
        folder.mkdir()
        name = "MeanForSequenceClassification" if classifies else "MeanModel"
        torch.manual_seed(2)
        made = imported(tmp_path / "made.py")
        getattr(made, name)(made.MeanConfig(num_labels=1, pad_token_id=0)).save_pretrained(folder)
        auto = "AutoModelForSequenceClassification" if classifies else "AutoModel"
        said = json.loads((folder / "config.json").read_text())
        said["auto_map"] = {"AutoConfig": "modeling_mean.MeanConfig", auto: f"modeling_mean.{name}"}
        (folder / "config.json").write_text(json.dumps(said))
        (folder / "modeling_mean.py").write_text(CODE + RAN)
        tiny_tokenizer(pairs_have_types=False, max_length=64).save_pretrained(folder)
        return folder

    return saved


@pytest.mark.parametrize("classifies", [True, False])
def test_own_code_runs_only_if_that_is_asked_for(tmp_path, own_code, classifies):
    folder, kind = own_code(classifies), "CrossEncoder" if classifies else "BiEncoder"
    told = rf"code of its own \(modeling_mean\.py\).*nbproxy\.{kind}\(.*, trust_remote_code=True\)"
    make = getattr(nbproxy, kind)
    for attempt in (lambda: make(folder), lambda: as_reranker(folder), lambda: as_reranker(str(folder))):
        with pytest.raises(ConfigError, match=told):
            attempt()
    assert not list(tmp_path.rglob("ran"))  # nothing of it was executed
    model = make(folder, trust_remote_code=True)
    assert list(tmp_path.rglob("ran"))
    scores = model("w1 w9", TEXTS)
    assert np.isfinite(scores).all()
    assert len(set(scores)) == len(TEXTS)
    assert as_reranker(model) is model


def test_own_code_scores_what_it_computes(own_code):
    import torch
    import transformers

    folder = own_code(True)
    model = nbproxy.CrossEncoder(folder, trust_remote_code=True)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        wanted = [float(plain(**tokenizer(["w1 w9"], [text], return_tensors="pt")).logits) for text in TEXTS]
    assert model.logits("w1 w9", TEXTS)[:, 0] == pytest.approx(wanted, abs=1e-6)


def test_other_code_is_another_model(own_code):
    folder = own_code(True)
    one = nbproxy.CrossEncoder(folder, trust_remote_code=True).fingerprint
    assert nbproxy.CrossEncoder(folder, trust_remote_code=True).fingerprint == one
    code = folder / "modeling_mean.py"
    code.write_text(code.read_text().replace("torch.tanh", "torch.sigmoid"))
    assert nbproxy.CrossEncoder(folder, trust_remote_code=True).fingerprint != one


def test_code_that_fails_is_told(own_code):
    folder = own_code(True)
    (folder / "modeling_mean.py").write_text("raise ZeroDivisionError('own')")
    with pytest.raises(ConfigError, match=r"cannot load .*ZeroDivisionError: own"):
        nbproxy.CrossEncoder(folder, trust_remote_code=True)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_pickle_is_refused_with_and_without_code(own_code, trusted):
    import torch
    from safetensors.torch import load_file

    folder = own_code(True)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"pickle can run any code: save the model again"):
        nbproxy.CrossEncoder(folder, trust_remote_code=trusted)
    with pytest.raises(ConfigError, match=r"no model\.safetensors"):
        as_reranker(folder)


def test_a_causal_model_takes_the_switch_too(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({
            "architectures": ["OwnForCausalLM"], "model_type": "own",
            "auto_map": {"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"},
        })
    )  # fmt: skip
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"nbproxy\.rerankers\.CausalReranker\(.*trust_remote_code=True\)"):
        as_reranker(tmp_path)
    with pytest.raises(ConfigError, match=r"modeling_own\.py"):  # trusted, and not there
        CausalReranker(tmp_path, trust_remote_code=True)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path, tiny):
    """transformers makes an empty one, to which every word is unknown: all texts would score alike."""
    folder = shutil.copytree(tiny("bert", 1), tmp_path / "model")
    for file in folder.glob("token*"):
        file.unlink()
    with pytest.raises(
        ConfigError, match=r"holds no tokenizer .*; save it beside the model: tokenizer\.save_pretrained"
    ):
        as_reranker(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], r"config\.json holds no JSON object"),
        ({"auto_map": ["x"]}, "transformers cannot load"),
        ({"auto_map": {"AutoModel": 3, "AutoConfig": [None, "a"]}}, "transformers cannot load"),
    ],
)
def test_configurations_that_say_nothing(tmp_path, tiny, config, message):
    folder = shutil.copytree(tiny("bert", 1), tmp_path / "model")
    known = {"architectures": ["OwnForSequenceClassification"], "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(known | config if isinstance(config, dict) else config))
    with pytest.raises(ConfigError, match=message):
        as_reranker(folder)
