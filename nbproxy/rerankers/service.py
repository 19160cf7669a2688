"""A rerank service, by its URL, as a model."""

from __future__ import annotations

import base64
import http.client
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ..errors import ConfigError, RerankFault
from ..ranking import Hit, readable
from ..redact import REDACTED, redact_target
from .base import BaseReranker, hex16, texts_of
from .kept_connection import KeptConnection, Reply, TooLong
from .service_styles import ANY_KEY, RECOGNISED, STYLES, Style, model_in, named_style, scores_in, style_of, vendor

_IN_PATH = "/%:@!$&'()*+,;=~"
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SHOWN = 200


class Secret:
    """A text that shows nowhere by itself: not in a repr, not in ``vars``."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal = text

    def __repr__(self) -> str:
        return REDACTED


class Service(BaseReranker):
    """A model behind HTTP, on a connection that is kept. Made by :func:`service`.

    :ivar style: the name of its shape.
    :ivar model: what it is asked for; None: what it serves.
    """

    def __init__(self, url: SplitResult, source: str, style: str, model: str | None, fields: Mapping[str, str]) -> None:
        self.style, self.model, self._shape = style, model, STYLES[style]
        self._fields = {name: Secret(value) for name, value in fields.items()}
        self._connection = KeptConnection(url)
        self._target = Secret(_target(url))
        self._keyless = "authorization" not in map(str.lower, fields)
        shown = redact_target(f"{url.scheme}://{_host(url)}{_target(url)}")
        fingerprint = hex16(b"service", style.encode(), shown.encode(), (model or "").encode("utf-8", "replace"))
        super().__init__("/".join(part for part in (_host(url), model) if part), fingerprint, source)

    def score(self, query: str, hits: Sequence[Hit]) -> list[Any]:
        """What the service says, in as many requests as its limit on texts asks for.

        :raises RerankFault: it cannot be reached, answers with an error, or not with a score for each text.
        """
        texts, query = texts_of(hits), readable(query)
        size = self._shape.most or max(1, len(texts))
        batches = (texts[start : start + size] for start in range(0, len(texts), size))
        return [score for batch in batches for score in self._scored(query, batch)]

    def _scored(self, query: str, texts: Sequence[str]) -> list[Any]:
        reply = self._asked(self._shape.body(query, texts, self.model))
        if reply.status != 200:
            raise RerankFault(f"{self.name} answered {self._explained(reply)}")
        return scores_in(reply.body, len(texts))

    def _asked(self, body: bytes) -> Reply:
        fields = {"Content-Type": "application/json", "Accept": "application/json"}
        fields |= {name: value.reveal for name, value in self._fields.items()}
        try:
            return self._connection.post(self._target.reveal, body, fields)
        except TooLong:
            raise RerankFault(f"{self.name}: the answer is too long") from None
        except TimeoutError as error:
            raise RerankFault(f"{self.name} does not answer: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise RerankFault(
                f"{self.name} cannot be asked: {self._clean(f'{type(error).__name__}: {error}')}"
            ) from None

    def _explained(self, reply: Reply) -> str:
        """An error's status and what else it says, briefly, without secrets."""
        said = self._clean(reply.body[: 64 * 1024].decode("utf-8", "replace"))
        where = f", to {redact_target(self._clean(reply.location))}" if reply.location else ""
        hint = f"; no API key was given: set {self._shape.key or ANY_KEY}" if self._lacks_key(reply) else ""
        short = said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
        return f"{reply.status} {reply.reason}{where}{f': {short}' if short else ''}{hint}"

    def _lacks_key(self, reply: Reply) -> bool:
        return reply.status in (401, 403) and self._keyless

    def _clean(self, text: str) -> str:
        """One line, without what was sent in header fields."""
        for value in self._fields.values():
            for secret in (value.reveal, value.reveal.rpartition(" ")[2]):
                text = text.replace(secret, REDACTED) if len(secret) >= 4 else text
        return redact_target(" ".join("".join(one if one.isprintable() else " " for one in text).split()))


def service(
    url: str,
    style: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Service:
    """The model behind a rerank service's URL: ``session.model = nbproxy.service("http://localhost:8080/rerank")``.

    Assigning the URL itself does the same. Nothing is asked of the service before the first search. TLS certificates
    are checked by the system's authorities, or those in ``SSL_CERT_FILE``; proxies in the environment are not used.

    :param url: of the endpoint; where it has no path, the style's own is taken. ``#model`` at its end names the model.
    :param style: ``cohere``, ``jina``, ``vllm``, ``tei`` (text-embeddings-inference), ``elastic``, ``voyage``,
        ``mixedbread``; None: told by the path, and where several have the same path by the host, else ``vllm``.
    :param model: what the service is asked for; of ``elastic`` the inference endpoint's id. None: what the URL says,
        else the vendor's usual one at the vendor's own host, else what the service serves.
    :param api_key: None: ``COHERE_API_KEY``, ``JINA_API_KEY``, ``VOYAGE_API_KEY``, ``MXBAI_API_KEY`` or
        ``ELASTIC_API_KEY`` by style, else ``NBPROXY_RERANK_API_KEY``. It is shown and recorded nowhere.
    :param headers: further header fields; an ``Authorization`` among them takes the place of the key.
    :raises ConfigError: the URL is none, or its style is not known.
    """
    split = _split(url)
    chosen = _style(split, style)
    shape = STYLES[chosen]
    known = model or model_in(split) or (shape.model if vendor(split) == chosen else None)
    where = split if split.path.strip("/") else split._replace(path=_own_path(shape, known))
    return Service(where, redact_target(url), chosen, known, _fields(split, shape, api_key, headers or {}))


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url.strip())
        _ = split.port
    except (ValueError, AttributeError):
        split = None
    if split is None or split.scheme not in ("http", "https") or not split.hostname:
        raise ConfigError("the URL of a rerank service is http://host/path or https://host/path")
    return split


def _style(url: SplitResult, style: str | None) -> str:
    chosen = style_of(url) if style is None else named_style(style)
    if chosen is None and style is not None:
        raise ConfigError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    if chosen is None:
        raise ConfigError(
            f"{redact_target(url.geturl())} is the path of no rerank service ({RECOGNISED}); say which one it is: "
            f"nbproxy.service(url, style=…), one of {', '.join(STYLES)}"
        )
    return chosen


def _own_path(shape: Style, model: str | None) -> str:
    if "{model}" in shape.path and not model:
        raise ConfigError("the URL names no inference endpoint: …/_inference/rerank/ID, or model=ID")
    return shape.path.replace("{model}", quote(model or "", safe=""))


def _fields(url: SplitResult, shape: Style, api_key: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """The header fields that say who asks: the user's own, else a key's, else the URL's user."""
    given = {str(name): str(value) for name, value in headers.items()}
    key = api_key or (os.environ.get(shape.key) if shape.key else None) or os.environ.get(ANY_KEY)
    if "authorization" not in map(str.lower, given):
        if api_key or (key and not url.username):
            given["Authorization"] = f"{shape.scheme} {str(key).strip()}"
        elif url.username:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            given["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    for name, value in given.items():
        if not _FIELD.fullmatch(name) or not _VALUE.fullmatch(value):  # its value is not shown: it may be the key
            raise ConfigError(f"the header field {name!r} cannot be sent: it has characters that no field may have")
    return given


def _host(url: SplitResult) -> str:
    """Host and port as the URL has them, without its user."""
    return url.netloc.rpartition("@")[2].lower()


def _target(url: SplitResult) -> str:
    path = quote(url.path, safe=_IN_PATH)
    return f"{path}?{quote(url.query, safe=_IN_PATH + '?')}" if url.query else path
