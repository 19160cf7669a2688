"""Rerank services on loopback: one small real HTTP server of each documented shape.

Each refuses what the real one would: a parameter that it does not know, a missing model, too many texts. Its scores are
a function of query and text, so that a test can say what has to come out.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def relevance(query: str, text: str) -> float:
    """Common words, then the shorter text."""
    common = set(query.lower().split()) & set(text.lower().split())
    return len(common) + 1 / (1 + len(text))


class Refused(Exception):
    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


def _known(asked: dict[str, Any], required: str, optional: str) -> None:
    missing = set(required.split()) - asked.keys()
    unknown = asked.keys() - set(f"{required} {optional}".split())
    if missing or unknown:
        raise Refused(400, {"message": f"missing {sorted(missing)}, unknown {sorted(unknown)}"})


def _best(asked: dict[str, Any], texts: str, top: str, score: str = "relevance_score") -> list[dict[str, Any]]:
    found = [{"index": i, score: relevance(asked["query"], text)} for i, text in enumerate(asked[texts])]
    found.sort(key=lambda one: -one[score])
    return found[: asked.get(top) or len(found)]


def cohere(asked: dict[str, Any]) -> Any:
    _known(asked, "model query documents", "top_n max_tokens_per_doc")
    return {"id": "1", "results": _best(asked, "documents", "top_n"), "meta": {"api_version": {"version": "2"}}}


def jina(asked: dict[str, Any]) -> Any:
    _known(asked, "model query documents", "top_n return_documents")
    assert asked["return_documents"] is False
    return {"model": asked["model"], "usage": {"total_tokens": 1}, "results": _best(asked, "documents", "top_n")}


def vllm(asked: dict[str, Any]) -> Any:
    _known(asked, "query documents", "model top_n truncate_prompt_tokens")
    found = _best(asked, "documents", "top_n")
    results = [{**one, "document": {"text": asked["documents"][one["index"]]}} for one in found]
    return {"id": "rerank-1", "model": "served", "usage": {"total_tokens": 1}, "results": results}


def tei(asked: dict[str, Any]) -> Any:
    _known(asked, "query texts", "raw_scores return_text truncate truncation_direction")
    if len(asked["texts"]) > 32:
        raise Refused(422, {"error": f"batch size {len(asked['texts'])} > maximum allowed batch size 32"})
    assert asked["truncate"] is True
    return _best(asked, "texts", "none", "score")


def elastic(asked: dict[str, Any]) -> Any:
    _known(asked, "query input", "task_settings")
    found = _best(asked, "input", "none")
    return {"rerank": [{**one, "relevance_score": str(one["relevance_score"])} for one in found]}


def voyage(asked: dict[str, Any]) -> Any:
    _known(asked, "model query documents", "top_k return_documents truncation")
    return {"object": "list", "data": _best(asked, "documents", "top_k"), "model": asked["model"]}


def mixedbread(asked: dict[str, Any]) -> Any:
    _known(asked, "model query input", "top_k return_input rank_fields")
    return {"object": "list", "data": _best(asked, "input", "top_k", "score"), "return_input": False}


Answer = Callable[[dict[str, Any]], Any]

PATHS: dict[str, Answer] = {
    "/v2/rerank": cohere,
    "/jina/v1/rerank": jina,
    "/v1/rerank": vllm,
    "/rerank": tei,
    "/_inference/rerank/my-reranker": elastic,
    "/voyage/v1/rerank": voyage,
    "/v1/reranking": mixedbread,
}


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Services:
    """A server with all of them.

    :ivar asked: every request, in order.
    :ivar connections: how many were opened.
    :ivar answers: what a path answers instead: bytes of the whole answer, or a function of the body.
    :ivar keep: whether connections are kept after an answer.
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    answers: dict[str, Answer | bytes] = field(default_factory=dict)
    keep: bool = True
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Services]:
    services = Services()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            services.connections += 1
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.connection.close()
            services.closed.release()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.partition("?")[0]
            asked = json.loads(body)
            services.asked.append(Asked(self.path, dict(self.headers.items()), asked))
            answer = services.answers.get(path, PATHS.get(path))
            self.close_connection = not services.keep or isinstance(answer, bytes)
            if isinstance(answer, bytes):
                self.wfile.write(answer)
                return
            try:
                status, said = 200, answer(asked) if answer else None
            except Refused as refused:
                status, said = refused.status, refused.body
            self.reply(status if answer else 404, said)

        def reply(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        services.url = f"http{'s' * (tls is not None)}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield services
        server.shutdown()
        thread.join()
