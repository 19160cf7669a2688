"""A cross-encoder that was trained end to end, so that a precision's cost can be read beside the fitted head's.

A head fitted to a bi-encoder's scores orders by small differences of what the body was never trained to say: a
candidate list is full of near-ties. Here all layers but the embeddings are trained, to order eight candidates at a time
as the packaged bi-encoder and the judgments do, together. That takes some minutes, and orders both collections far
better than the fitted head does. The fitted head stays in the benchmark as the harder one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import nbproxy
from nbproxy.rerankers import packaged_minilm

EPOCHS, LIST, TOKENS, RATE, WARM = 3, 8, 64, 1e-4, 20
COSINE, JUDGED, CLOSE = 20.0, 3.0, 0.02  # weights of the teacher, of the best grade, and of the scores' distances


class Item(NamedTuple):
    """A query, its candidates, and the scores that they should have."""

    query: str
    texts: list[str]
    wanted: Any


def trained(folder: Path, collections: Any) -> Path:
    """The packaged MiniLM as a cross-encoder, trained on the collections' queries; saved."""
    import torch
    import transformers

    torch.manual_seed(0)
    body = packaged_minilm()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(body)
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        body, num_labels=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    model.bert.embeddings.requires_grad_(False)
    _train(model, tokenizer, [item for each in collections for item in _items(each)])
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _items(collection: Any) -> Iterator[Item]:
    import torch

    teacher = nbproxy.BiEncoder(packaged_minilm(), device="cpu", max_length=TOKENS)
    columns = (collection.qrels[name] for name in ("query_id", "doc_id", "relevance"))
    grades = {(query, document): float(grade) for query, document, grade in zip(*columns, strict=True)}
    for (query, texts), (query_id, ids) in zip(collection.pairs, collection.ids, strict=True):
        cosines = np.asarray(teacher.raw(query, texts))
        gains = np.array([max(0.0, grades.get((query_id, document), 0.0)) for document in ids])
        yield Item(query, texts, torch.tensor(COSINE * cosines + JUDGED * gains / max(1.0, gains.max())).float())


def _train(model: Any, tokenizer: Any, items: list[Item]) -> None:
    import torch

    steps, rng = EPOCHS * len(items), random.Random(0)
    order = [item for _ in range(EPOCHS) for item in rng.sample(items, len(items))]
    learnt = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min((i + 1) / WARM, max(0.0, 1 - i / steps)))
    for item in order:
        loss = _loss(model, tokenizer, item, rng.sample(range(len(item.texts)), min(LIST, len(item.texts))))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        pace.step()


def _loss(model: Any, tokenizer: Any, item: Item, places: list[int]) -> Any:
    """Kullback-Leibler, of what is wanted as a distribution over the list; and a little of the scores' distances."""
    from torch.nn import functional

    texts, wanted = [item.texts[place] for place in places], item.wanted[places]
    inputs = tokenizer(
        [item.query] * len(texts), texts, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt"
    )
    scores = model(**inputs).logits[:, 0]
    apart = (scores - scores.mean()) - (wanted - wanted.mean())
    told = functional.kl_div(scores.log_softmax(0), wanted.log_softmax(0), log_target=True, reduction="sum")
    return told + CLOSE * apart.square().mean()
