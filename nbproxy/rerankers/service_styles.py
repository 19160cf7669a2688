"""The shapes of rerank services: what each is asked, how its answer is read, how it is recognised. Pure: no I/O.

A service gets a query and texts, and answers with a score for each text's ``index``. The shapes differ in a few names,
which stand in one table, ``STYLES``. Where the services document them:

* Cohere: https://docs.cohere.com/reference/rerank, limits: https://docs.cohere.com/docs/reranking-best-practices
* Jina: https://api.jina.ai/redoc
* vLLM: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (Jina's and Cohere's shape)
* text-embeddings-inference: https://huggingface.github.io/text-embeddings-inference/
* Elasticsearch: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-rerank
* Voyage: https://docs.voyageai.com/reference/reranker-api
* Mixedbread: https://www.mixedbread.com/api-reference/endpoints/reranking
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote

from ..errors import RerankFault

ANY_KEY = "NBPROXY_RERANK_API_KEY"


@dataclass(frozen=True)
class Style:
    """One shape.

    :ivar texts: the name of the list of texts.
    :ivar top: the name of how many results to give, which is always as many as there are texts; None: it gives all.
    :ivar more: what else is asked.
    :ivar hosts: domains of which it is known whose they are.
    :ivar path: of the service on a host that is given alone; ``{model}`` stands for the model.
    :ivar key: the environment variable of its API key.
    :ivar scheme: what stands before the key in ``Authorization``.
    :ivar most: how many texts one request may have.
    :ivar asks_for_model: whether the body names the model.
    :ivar model: what is asked of the vendor's own host where the user names no model.
    """

    texts: str = "documents"
    top: str | None = "top_n"
    more: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    path: str = "/v1/rerank"
    key: str | None = None
    scheme: str = "Bearer"
    most: int | None = None
    asks_for_model: bool = True
    model: str | None = None

    def body(self, query: str, texts: Sequence[str], model: str | None) -> bytes:
        """The request's body."""
        named = {"model": model} if model and self.asks_for_model else {}
        top = {self.top: len(texts)} if self.top else {}
        said = {**named, "query": query, self.texts: list(texts), **top, **self.more}
        return json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")  # lone surrogates have no UTF-8


STYLES: Mapping[str, Style] = {
    "cohere": Style(
        hosts=("cohere.com", "cohere.ai"), path="/v2/rerank", key="COHERE_API_KEY", most=1_000, model="rerank-v3.5"
    ),
    "jina": Style(
        more={"return_documents": False},
        hosts=("jina.ai",),
        key="JINA_API_KEY",
        most=2_048,
        model="jina-reranker-v2-base-multilingual",
    ),
    "vllm": Style(),
    # The logits, which rank where a sigmoid has come to its end; texts are cut to what the model takes, not refused.
    # It takes 32 texts at once unless it was started with another --max-client-batch-size.
    "tei": Style(
        texts="texts",
        top=None,
        more={"raw_scores": True, "truncate": True},
        path="/rerank",
        most=32,
        asks_for_model=False,
    ),
    "elastic": Style(
        texts="input",
        top=None,
        path="/_inference/rerank/{model}",
        key="ELASTIC_API_KEY",
        scheme="ApiKey",
        asks_for_model=False,
    ),
    "voyage": Style(top="top_k", hosts=("voyageai.com",), key="VOYAGE_API_KEY", most=1_000, model="rerank-2.5"),
    "mixedbread": Style(
        texts="input",
        top="top_k",
        more={"return_input": False},
        hosts=("mixedbread.com", "mixedbread.ai"),
        path="/v1/reranking",
        key="MXBAI_API_KEY",
        model="mixedbread-ai/mxbai-rerank-large-v2",
    ),
}

ALIASES = {
    "elasticsearch": "elastic",
    "text-embeddings-inference": "tei",
    "mixedbread-ai": "mixedbread",
    "mxbai": "mixedbread",
    "voyageai": "voyage",
}

# By a path's end; what several vendors share is told apart by the host, and is vLLM's on any other.
_PATHS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/_inference/rerank/[^/]+/?$"), "elastic"),
    (re.compile(r"/reranking/?$"), "mixedbread"),
    (re.compile(r"/v2/rerank/?$"), "cohere"),
    (re.compile(r"/v1/rerank/?$"), "vllm"),
    (re.compile(r"/rerank/?$"), "tei"),
)

RECOGNISED = "…/v1/rerank, …/v2/rerank, …/rerank, …/reranking, …/_inference/rerank/ID"


def style_of(url: SplitResult) -> str | None:
    """The name of the style that a URL's path tells; None: none.

    >>> from urllib.parse import urlsplit
    >>> style_of(urlsplit("http://localhost:8080/rerank")), style_of(urlsplit("https://api.voyageai.com/v1/rerank"))
    ('tei', 'voyage')
    """
    by_path = next((name for pattern, name in _PATHS if pattern.search(url.path)), None)
    return by_path and (vendor(url) or by_path)


def named_style(name: object) -> str | None:
    """The style that a user's word means; None: no style.

    >>> named_style("Text_Embeddings_Inference")
    'tei'
    """
    word = str(name).lower().replace("_", "-")
    return word if word in STYLES else ALIASES.get(word)


def vendor(url: SplitResult) -> str | None:
    """The style of the vendor whose host it is."""
    host = (url.hostname or "").rstrip(".")
    theirs = ((name, domain) for name, style in STYLES.items() for domain in style.hosts)
    return next((name for name, domain in theirs if host == domain or host.endswith("." + domain)), None)


def model_in(url: SplitResult) -> str | None:
    """The model that a URL names: in ``#model``, or as the id of Elasticsearch's inference endpoint."""
    found = re.search(r"/_inference/rerank/([^/]+)/?$", url.path)
    return unquote(url.fragment) or (unquote(found[1]) if found else None)


def scores_in(answer: bytes, n: int) -> list[Any]:
    """The scores in the order of the texts.

    :raises RerankFault: it is no such answer, or does not score each of ``n`` texts once.

    >>> scores_in(b'{"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": "0.2"}]}', 2)
    [0.2, 0.9]
    """
    scores: dict[int, Any] = {}
    for item in _items(answer):
        place, score = _entry(item)
        if place in scores or not 0 <= place < n:
            raise RerankFault(f"the service scored text {place} {'twice' if place in scores else f'of {n}'}")
        scores[place] = score
    if len(scores) < n:
        raise RerankFault(f"the service scored {len(scores)} of {n} texts; has it a top_n of its own?")
    return [scores[place] for place in range(n)]


def _items(answer: bytes) -> list[Any]:
    try:
        read = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise RerankFault(f"the service's answer is not JSON: {error}") from None
    keys = ("results", "data", "rerank") if isinstance(read, dict) else ()
    found = next((read[key] for key in keys if key in read), read)
    if not isinstance(found, list):
        raise RerankFault("the service's answer has no list of results")
    return found


def _entry(item: Any) -> tuple[int, Any]:
    place = item.get("index") if isinstance(item, dict) else None
    score = item.get("relevance_score", item.get("score")) if isinstance(item, dict) else None
    if isinstance(place, bool) or not isinstance(place, int):
        raise RerankFault(f"a result of the service has no index: {item!r:.80}")
    return place, _number(score)


def _number(score: Any) -> Any:
    """Elasticsearch has written scores as strings."""
    try:
        return float(score) if isinstance(score, str) else score
    except ValueError:
        return score
