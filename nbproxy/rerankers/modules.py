"""What a backend runs: a torch module from token ids to one row for each input. Imports torch.

A cross-encoder's row is its logits, a bi-encoder's the pooled vector. A classifier of BERT's shape is rebuilt so that
nothing is computed that its score does not depend on: only the first token's state reaches the head, so the last layer
attends from that token alone, while its keys and values still come from all. That changes no score but by the order of
float sums; :func:`checked_lean` compares both before the lean one is used. In bfloat16 only its products are
(:func:`narrowed`): what is summed up from layer to layer, and the norms, keep float32's digits.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn import functional

from .folders import Pooling

# Where transformers keeps the encoder, by the class whose forward pass ``Lean`` repeats
_LEAN = {
    "BertForSequenceClassification": "bert",
    "RobertaForSequenceClassification": "roberta",
    "XLMRobertaForSequenceClassification": "roberta",
}
# What padding adds to attention; the least float32 is infinite in bfloat16, and infinity may end in NaN.
_HIDDEN = -1e30
_CLOSE = 1e-4  # two orders of float sums, relative to the largest logit


class Logits(torch.nn.Module):  # type: ignore[misc]
    """transformers' own forward pass of a sequence classifier; shape ``(n, labels)``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits


class Pooled(torch.nn.Module):  # type: ignore[misc]
    """An encoder's token states, pooled; shape ``(n, hidden size)``."""

    def __init__(self, model: Any, pooling: Pooling) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state.float()
        if self.pooling == "cls":
            return states[:, 0]
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


class Lean(torch.nn.Module):  # type: ignore[misc]
    """A classifier of BERT's shape without what its score does not need; shape ``(n, labels)``.

    Its parts are the model's own, not copies.

    :ivar attends: what queries, keys and values are rounded to before they meet; None: they stay as they are.
    """

    attends: Any = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        encoder = getattr(model, _LEAN[type(model).__name__])
        self.embeddings, self.layers, self.pooler = encoder.embeddings, encoder.encoder.layer, encoder.pooler
        self.head, self.heads = model.classifier, int(model.config.num_attention_heads)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        states = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        hidden = max(torch.finfo(states.dtype).min, _HIDDEN)
        mask = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * hidden
        last = len(self.layers) - 1
        for place, layer in enumerate(self.layers):
            states = self._layer(layer, states, mask, first_only=place == last)
        return self.head(states if self.pooler is None else self.pooler(states))

    def _layer(self, layer: Any, states: Any, mask: Any, *, first_only: bool) -> Any:
        attention = layer.attention.self
        asking = states[:, :1] if first_only else states
        queries, keys, values = attention.query(asking), attention.key(states), attention.value(states)
        heads = [self._by_head(part).to(self.attends or part.dtype) for part in (queries, keys, values)]
        mask = mask.to(heads[0].dtype)
        seen = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask).to(values.dtype)
        attended = layer.attention.output(seen.transpose(1, 2).reshape(asking.shape), asking)
        return layer.output(layer.intermediate(attended), attended)

    def _by_head(self, states: Any) -> Any:
        count, tokens, width = states.shape
        return states.view(count, tokens, self.heads, width // self.heads).transpose(1, 2)


class NarrowLinear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer in bfloat16; what is added to its output widens it again."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.weight, self.bias = (
            None if each is None else torch.nn.Parameter(each.detach().bfloat16(), requires_grad=False)
            for each in (linear.weight, linear.bias)
        )

    def forward(self, inputs: Any) -> Any:
        return functional.linear(inputs.to(torch.bfloat16), self.weight, self.bias)


def narrowed(module: Any) -> Any | None:
    """A copy of a lean float32 module whose layers' products are in bfloat16; None for other modules.

    With everything in bfloat16 each sum is rounded to 8 bits, which costs more of the order than the products do.
    """
    if not isinstance(module, Lean) or next(module.parameters()).dtype != torch.float32:
        return None
    own = copy.deepcopy(module)
    for layer in own.layers:
        for name, part in [*layer.named_modules()]:
            if isinstance(part, torch.nn.Linear):
                put(layer, name, NarrowLinear(part))
    return own.eval()


def put(module: Any, name: str, part: Any) -> None:
    """Another part in a module, by its path."""
    above, _, last = name.rpartition(".")
    setattr(module.get_submodule(above), last, part)


def classifier(model: Any) -> Any:
    """The lean module where the model has its shape and both agree, else transformers' own."""
    plain = Logits(model).eval()
    return checked_lean(model, plain) or plain


def checked_lean(model: Any, plain: Any) -> Any | None:
    """``Lean`` of a model, None where it does not give the logits that transformers gives."""
    config = model.config
    fits = type(model).__name__ in _LEAN and not getattr(config, "is_decoder", False)
    if not fits or getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
        return None
    try:
        lean = Lean(model).eval()
        inputs = sample_inputs(model)
        with torch.inference_mode():
            wanted, found = plain(**inputs).float(), lean(**inputs).float()
    except (AttributeError, TypeError, RuntimeError):  # a version of transformers that is built otherwise
        return None
    scale = max(1.0, float(wanted.abs().max()))
    return lean if bool(torch.allclose(found, wanted, rtol=0, atol=_CLOSE * scale)) else None


def sample_inputs(model: Any, rows: int = 2, tokens: int = 9) -> dict[str, Any]:
    """Made-up inputs of a model, the last of them padded: for tracing, and for comparing two ways to compute."""
    device, padding = model.device, getattr(model.config, "pad_token_id", None) or 0
    generator = torch.Generator().manual_seed(0)
    known = getattr(model.config, "vocab_size", None) or model.get_input_embeddings().num_embeddings
    ids = torch.randint(0, known, (rows, tokens), generator=generator)
    ids = torch.where(ids == padding, (padding + 1) % known, ids)
    mask = torch.ones_like(ids)
    ids[-1, tokens // 8 + 1 :], mask[-1, tokens // 8 + 1 :] = padding, 0
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
