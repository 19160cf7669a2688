"""Causal language models as cross-encoders: asked whether a document fits a query, by the weight of "yes" over "no".

The template, the instruction and the way of asking are those that Qwen3-Reranker was trained with and its model card
gives (https://huggingface.co/Qwen/Qwen3-Reranker-0.6B; Zhang et al., arXiv:2506.05176): the prompt ends where the
answer begins, and the score is the softmax over the two answers' logits, which is the sigmoid of their difference.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..ranking import Hit, readable
from .base import BaseReranker, each_once, hex16, texts_of
from .loading import Parts, libraries, load_parts, usable_length
from .objects import weights_fingerprint, weights_name
from .squash import Floats, scores_of
from .windows import batches

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
TEMPLATE = """\
<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {instruction}
<Query>: {query}
<Document>: {document}<|im_end|>
<|im_start|>assistant
<think>

</think>

"""
LENGTH = 8_192  # the model card's; the model itself takes more
_PUBLISHED = (TEMPLATE, INSTRUCTION, "yes", "no")
_BUDGET = {"cpu": 2_048, "cuda": 65_536}
_PLACE = re.compile(r"\{(instruction|query|document)\}")


class CausalReranker(BaseReranker):
    """A causal language model (``…ForCausalLM``) that answers yes or no, such as Qwen3-Reranker.

    Scores are those of the model card's code, and of sentence-transformers' ``CrossEncoder.predict`` with a sigmoid:
    the probability of yes against no, from 0 to 1. No padding token is needed: inputs are padded on the right, behind
    the token whose answer counts, which a causal model does not see.

    A document that is too long is cut at its end, a query longer than half of ``max_length`` to that half before.

    :param source: a folder, the id of a model of the Hugging Face hub, or a loaded ``(model, tokenizer)``.
    :param template: with ``{query}``, ``{document}`` and, if wanted, ``{instruction}``; None: Qwen3-Reranker's.
    :param instruction: what is being looked for; None: Qwen3-Reranker's.
    :param yes, no: the answers, each one token.
    :param name: None: the path's last folder, or the hub id as it is.
    :param device: None: CUDA where there is one, else the CPU; a loaded model stays where it is.
    :param trust_remote_code: run code that comes with the model.
    :ivar max_length: tokens of one input.
    :ivar budget: tokens of one batch, padding included.
    :raises ConfigError: there is no such model, the template lacks a place, or an answer is not one token.
    """

    def __init__(
        self,
        source: Any,
        *,
        template: str | None = None,
        instruction: str | None = None,
        yes: str = "yes",
        no: str = "no",
        name: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.template = TEMPLATE if template is None else template
        self.instruction = INSTRUCTION if instruction is None else instruction
        if [place for place in _PLACE.findall(self.template) if place != "instruction"] != ["query", "document"]:
            raise ConfigError("the template has to have {query} and, after it, {document} in it, once each")
        parts, own_name, fingerprint = _opened(source, device, trust_remote_code)
        self.model, self.tokenizer = parts.model, parts.tokenizer
        self.max_length = min(parts.max_length, LENGTH)
        self.budget = _BUDGET.get(self.model.device.type, _BUDGET["cpu"])
        self._pair = [self._token(answer) for answer in (yes, no)]
        self._keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._plain = self._is_plain()
        self._one_at_a_time = threading.Lock()  # two names may stand for one model, and a tokenizer is not thread-safe
        asked = (self.template, self.instruction, yes, no)
        told = hex16(*(part.encode("utf-8", "surrogatepass") for part in (fingerprint, *asked)))
        super().__init__(name or own_name, fingerprint if asked == _PUBLISHED else told, source)

    def _token(self, answer: str) -> int:
        ids: list[int] = self._ids(answer)
        if len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            raise ConfigError(
                f"{answer!r} is no token of this model, so it cannot answer by it; give a causal language model "
                'trained to rerank: nbproxy.rerankers.CausalReranker(source, template=…, yes="Yes", no="No")'
            )
        return ids[0]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(readable(text), add_special_tokens=False, verbose=False)["input_ids"])

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """Float64 scores, one for each hit; equal texts are scored once."""
        with self._one_at_a_time:
            return each_once(texts_of(hits), lambda texts: scores_of(self.logits(query, texts), None))

    def logits(self, query: str, texts: list[str]) -> Floats:
        """The logits of yes minus those of no, shape ``(n, 1)``."""
        torch, _ = libraries()
        inputs = self.inputs(query, texts)
        logits = np.empty((len(texts), 1))
        with torch.inference_mode():
            for batch in batches([len(ids) for ids in inputs], self.budget):
                logits[batch] = self._answers([inputs[i] for i in batch])
        return logits

    def inputs(self, query: str, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each prompt. What stands around query and document is never cut."""
        head, body, tail = self._pieces()
        before, after = self._ids(head), self._ids(tail)
        said = {"instruction": self.instruction, "query": self._cut(query)}
        cut = self.tokenizer(
            [readable(_filled(body, {**said, "document": text})) for text in texts],
            add_special_tokens=False,
            truncation=True,
            max_length=max(1, self.max_length - len(before) - len(after)),
            verbose=False,
        )
        return [[*before, *ids, *after] for ids in cut["input_ids"]]

    def _pieces(self) -> tuple[str, str, str]:
        """The template as what stands before the line of its first place, what may be cut, and what stands behind.

        Each is a row of tokens of its own, as in the model card's code.
        """
        places = list(_PLACE.finditer(self.template))
        start = self.template.rfind("\n", 0, places[0].start()) + 1
        end = places[-1].end()
        return self.template[:start], self.template[start:end], self.template[end:]

    def _cut(self, query: str) -> str:
        """The query's first tokens, at most half of ``max_length``."""
        ids = self._ids(query)
        half = self.max_length // 2
        return query if len(ids) <= half else str(self.tokenizer.decode(ids[:half]))

    def _answers(self, inputs: list[list[int]]) -> Floats:
        """Shape ``(batch, 1)``."""
        torch, _ = libraries()
        lengths = [len(ids) for ids in inputs]
        filler = self.tokenizer.pad_token_id or 0  # any token: nothing looks at it
        rows = [[*ids, *[filler] * (max(lengths) - len(ids))] for ids in inputs]
        mask = [[1] * length + [0] * (max(lengths) - length) for length in lengths]
        device = self.model.device
        asked = torch.tensor(rows, device=device), torch.tensor(mask, device=device), lengths
        both = (self._by_states(*asked) if self._plain else self._by_logits(*asked)).cpu().numpy().astype(np.float64)
        found: Floats = both[:, :1] - both[:, 1:]
        return found

    def _by_states(self, rows: Any, mask: Any, lengths: list[int]) -> Any:
        """The logits of yes and no behind each input's last token, shape ``(batch, 2)``.

        From the last states and the two words' weights, in float32: a half-precision model's own logits are so coarse
        that documents tie, and those of the other 150,000 words are not wanted.
        """
        torch, _ = libraries()
        states = self.model.get_decoder()(input_ids=rows, attention_mask=mask, use_cache=False).last_hidden_state
        last = states[torch.arange(len(lengths), device=rows.device), [length - 1 for length in lengths]]
        head = self.model.get_output_embeddings()
        bias = None if head.bias is None else head.bias[self._pair].float()
        return torch.nn.functional.linear(last.float(), head.weight[self._pair].float(), bias)

    def _by_logits(self, rows: Any, mask: Any, lengths: list[int]) -> Any:
        """The same from the model's own logits, asked for only where an input of the batch ends."""
        torch, _ = libraries()
        ends = sorted(set(lengths)) if self._keeps else list(range(1, max(lengths) + 1))
        keep = {"logits_to_keep": torch.tensor([end - 1 for end in ends], device=rows.device)} if self._keeps else {}
        output = self.model(input_ids=rows, attention_mask=mask, use_cache=False, **keep).logits
        places = [ends.index(length) for length in lengths]
        return output[torch.arange(len(lengths), device=rows.device), places][:, self._pair].float()

    def _is_plain(self) -> bool:
        """Whether logits are nothing but states times weights: some models scale or cap them."""
        torch, _ = libraries()
        if getattr(self.model.config, "final_logit_softcapping", None) is not None:
            return False
        rows = torch.tensor([[*self._pair, *self._pair]], device=self.model.device)
        asked = rows, torch.ones_like(rows), [rows.shape[1]]
        try:
            with torch.inference_mode():
                states, logits = self._by_states(*asked), self._by_logits(*asked)
        except (AttributeError, TypeError):  # a model that names its parts otherwise
            return False
        return bool(torch.allclose(states, logits, rtol=0.02, atol=0.02 * float(logits.abs().max())))


def _opened(source: Any, device: str | None, code: bool) -> tuple[Parts, str, str]:
    """A model in memory, its name and its fingerprint."""
    from .loaded import find

    if isinstance(source, tuple):
        model, tokenizer = source
        model.eval()
        return Parts(model, tokenizer, usable_length(model, tokenizer)), weights_name(model), weights_fingerprint(model)
    folder, name = find(source, code)
    if folder.kind != "causal-reranker":
        raise ConfigError(f"{source} is a {folder.kind}, not a causal-reranker")
    parts = load_parts(folder, "AutoModelForCausalLM", device, code)
    _halve_on_gpu(parts.model)
    return parts, name, folder.fingerprint()


def _halve_on_gpu(model: Any) -> None:
    """What was saved in float32 computes in half precision on a GPU."""
    torch, _ = libraries()
    if model.device.type == "cuda" and model.dtype == torch.float32:
        model.to(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


def _filled(template: str, said: Mapping[str, str]) -> str:
    """The template with its places filled in; what is filled in may look like a place and is none."""
    return _PLACE.sub(lambda place: said[place[1]], template)
