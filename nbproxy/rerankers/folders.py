"""A model's folder as its JSON files describe it, before any library loads it.

What decides how a model is read lies in the files that transformers and sentence-transformers save: the kind of
model in ``config.json``'s ``architectures``, the rest in ``modules.json`` and the files that it points to. Only
safetensors are accepted as weights: a pickle can run any code when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError

Kind = Literal["cross-encoder", "bi-encoder", "causal-reranker"]
Pooling = Literal["mean", "cls"]

_CLASSIFIER = re.compile(r"ForSequenceClassification$")
_CAUSAL = re.compile(r"ForCausalLM$")
# BertModel and the checkpoints around the same encoder; GPT2LMHeadModel and EncoderDecoderModel are none
_ENCODER = re.compile(r"((?<!LMHead)(?<!Decoder)Model|ForMaskedLM|ForPreTraining)$")

# The modules of sentence-transformers whose work is done here, by the last part of their type
_MODULES: dict[Kind, frozenset[str]] = {
    "cross-encoder": frozenset({"Transformer"}),
    "bi-encoder": frozenset({"Transformer", "Pooling", "Normalize"}),
    "causal-reranker": frozenset({"Transformer"}),
}

# Everything read from a folder that changes a score
_READ = (
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class ModelFolder:
    """A folder with ``config.json`` and weights as safetensors.

    :raises ConfigError: from any of its properties, naming the file and what is wrong with it.
    """

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        config: Any = self.json("config.json")
        if not isinstance(config, dict):
            raise ConfigError(f"{self.path / 'config.json'} holds no JSON object")
        return config

    @cached_property
    def modules(self) -> list[dict[str, Any]]:
        """The modules of sentence-transformers, none for a folder that it did not save."""
        modules: Any = self.json("modules.json")
        return list(modules)

    def json(self, name: str) -> Any:
        """A file's content, ``{}`` where there is no such file."""
        try:
            return json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {self.path / name}: {error}") from error

    @property
    def kind(self) -> Kind:
        """Cross-encoder or bi-encoder, by the architecture; then by sentence-transformers' files."""
        names = self.config.get("architectures") or []
        kind = architecture_kind(names, bool(self.config.get("is_encoder_decoder")))
        if kind or self.modules:
            return self._only_known_modules(kind or "bi-encoder")
        raise ConfigError(
            f"{self.path} holds {', '.join(names) or 'a model that names no architecture'}; accepted are "
            "cross-encoders (…ForSequenceClassification), bi-encoders (a sentence-transformers folder, or a plain "
            "encoder such as BertModel) and causal language models trained to rerank (…ForCausalLM)"
        )

    def _only_known_modules(self, kind: Kind) -> Kind:
        types = [str(module.get("type", "")) for module in self.modules]
        unknown = [name for name in types if name.rpartition(".")[2] not in _MODULES[kind]]
        if unknown:
            raise ConfigError(f"{self.path} uses {', '.join(unknown)}, which a {kind} cannot have here")
        return kind

    @property
    def pooling(self) -> Pooling:
        """How token vectors become one: as the Pooling module says, mean where there is none."""
        module = next((m for m in self.modules if str(m.get("type", "")).endswith("Pooling")), None)
        config = self.json(f"{module['path']}/config.json") if module else {}
        chosen = _pooling_modes(config)
        if chosen == ["mean"] or chosen == ["cls"]:
            return "cls" if chosen == ["cls"] else "mean"
        raise ConfigError(f"{self.path} pools by {', '.join(chosen)}; accepted are mean and cls")

    @property
    def max_length(self) -> int | None:
        """sentence-transformers' ``max_seq_length``, in tokens."""
        value = self.json("sentence_bert_config.json").get("max_seq_length") if self.modules else None
        return value if isinstance(value, int) else None

    @property
    def activation(self) -> str | None:
        """The dotted name of what sentence-transformers' ``CrossEncoder.predict`` puts on the logits."""
        saved = self.json("config_sentence_transformers.json") if self.modules else {}
        nested = self.config.get("sentence_transformers") or {}
        old = self.config.get("sbert_ce_default_activation_function")
        return next((name for name in (saved.get("activation_fn"), nested.get("activation_fn"), old) if name), None)

    @property
    def prefixes(self) -> dict[str, str]:
        """What goes before each ``query`` and each ``document``, as sentence-transformers' prompts say.

        Read as its ``encode_query`` and ``encode_document`` read them; of a bi-encoder only.
        """
        saved = self.json("config_sentence_transformers.json") if self.modules and self.kind == "bi-encoder" else {}
        prompts = saved.get("prompts") or {}
        default = saved.get("default_prompt_name")
        names = {"query": ("query", default), "document": ("document", "passage", "corpus", default)}
        found = {role: next((prompts[name] for name in asked if name in prompts), "") for role, asked in names.items()}
        return {role: str(prefix) for role, prefix in found.items()}

    @property
    def code(self) -> list[str]:
        """The files of its own code that transformers would run, as ``auto_map`` says."""
        known = self.config.get("auto_map")
        values = known.values() if isinstance(known, dict) else ()
        names = [name for value in values for name in (value if isinstance(value, list) else [value])]
        return sorted({f"{name.rpartition('.')[0]}.py" for name in names if isinstance(name, str) and "." in name})

    @cached_property
    def weights(self) -> list[Path]:
        """The safetensors files that transformers loads, in a fixed order."""
        whole = self.path / "model.safetensors"
        if whole.is_file():
            return [whole]
        shards = self.json("model.safetensors.index.json").get("weight_map", {}).values()
        if not shards:
            raise ConfigError(
                f"{self.path} has no model.safetensors; other formats are not loaded, because a pickle can run "
                "any code: save the model again with save_pretrained(…)"
            )
        return [self.path / shard for shard in sorted(set(shards))]

    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over the configuration, the vocabulary and the weights: 0.2 s for 90 MB."""
        digest = hashlib.sha256()
        own = sorted(self.path.glob("*.py")) if self.code else []
        for file in (*(self.path / name for name in _READ), *own, *self.weights):
            if file.is_file():
                content = file.open("rb")
                with content:
                    part = hashlib.file_digest(content, "sha256").digest()
                digest.update(str(file.relative_to(self.path)).encode() + b"\0" + part)
        return digest.hexdigest()[:16]


def architecture_kind(names: list[str], encoder_decoder: bool = False) -> Kind | None:
    """What the architectures of a configuration, which are names of transformers' classes, can be used as.

    >>> architecture_kind(["BertForSequenceClassification"]), architecture_kind(["BertModel"])
    ('cross-encoder', 'bi-encoder')
    >>> architecture_kind(["GPT2LMHeadModel"])
    """
    if any(_CLASSIFIER.search(name) for name in names):
        return "cross-encoder"
    if any(_CAUSAL.search(name) for name in names):
        return "causal-reranker"
    encoder = bool(names) and all(_ENCODER.search(name) for name in names)
    return "bi-encoder" if encoder and not encoder_decoder else None


def open_folder(path: Path) -> ModelFolder:
    """The folder of a transformers model.

    :raises ConfigError: there is no such folder, or no configuration or weights in it.
    """
    if not path.is_dir():
        what = "is a file; give its folder" if path.exists() else "does not exist"
        raise ConfigError(f"{path} {what}")
    if not (path / "config.json").is_file():
        raise ConfigError(f"{path} has no config.json, so it holds no transformers model")
    folder = ModelFolder(path)
    _ = folder.kind, folder.weights  # both say what is wrong
    return folder


def is_there(path: str) -> bool:
    """Whether a string, of whatever content, is a path of something."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, an unknown ~user
        return False


def folder_name(path: Path) -> str:
    """A path's last folder.

    >>> folder_name(Path("models/minilm/"))
    'minilm'
    """
    name = path.absolute().name
    return path.resolve().name if name in ("", "..") else name


def _pooling_modes(config: dict[str, Any]) -> list[str]:
    """The modes of a Pooling module's configuration, written in the new way or as one switch each."""
    mode = config.get("pooling_mode")
    if mode:
        return [mode] if isinstance(mode, str) else list(mode)
    switches = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True]
    names = {"mean_tokens": "mean", "cls_token": "cls"}
    return [names.get(name, name) for name in switches if name not in ("include_prompt",)] or ["mean"]
