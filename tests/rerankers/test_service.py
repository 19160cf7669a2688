"""Rerank services as models, over real sockets."""

from __future__ import annotations

import socket

import pytest

import nbproxy
from nbproxy.errors import ConfigError, RerankFault
from nbproxy.rerankers import as_reranker, service
from tests import certificates
from tests.rerankers.services import Refused, relevance, serving

TEXTS = ["a dog and a cat", "a cat", "nothing", "the quick cat"]
WANTED = [relevance("cat quick", text) for text in TEXTS]
KEYS = [
    "COHERE_API_KEY",
    "JINA_API_KEY",
    "VOYAGE_API_KEY",
    "MXBAI_API_KEY",
    "ELASTIC_API_KEY",
    "NBPROXY_RERANK_API_KEY",
]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(f"{key}_API_KEY", raising=False)


@pytest.fixture
def services():
    with serving() as running:
        yield running


@pytest.mark.parametrize(
    ("path", "style", "model"),
    [
        ("/v2/rerank#rerank-v3.5", "cohere", "rerank-v3.5"),
        ("/v1/rerank", "vllm", None),
        ("/v1/rerank#BAAI/bge-reranker-v2-m3", "vllm", "BAAI/bge-reranker-v2-m3"),
        ("/rerank", "tei", None),
        ("/_inference/rerank/my-reranker", "elastic", "my-reranker"),
        ("/v1/reranking#mxbai", "mixedbread", "mxbai"),
    ],
)
def test_recognised_by_the_path(services, path, style, model):
    reranker = as_reranker(services.url + path)
    host = services.url.removeprefix("http://")
    assert (reranker.style, reranker.name) == (style, f"{host}/{model}" if model else host)
    assert reranker.source == services.url + path
    assert reranker("cat quick", TEXTS) == WANTED
    assert reranker("cat quick", TEXTS[:1]) == WANTED[:1]
    assert not services.asked[0].headers.keys() & {"Authorization"}
    assert as_reranker(services.url + path, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("path", "style"),
    [
        ("/v2/rerank", "cohere"),
        ("/jina/v1/rerank", "jina"),
        ("/v1/rerank", "vllm"),
        ("/rerank", "tei"),
        ("/rerank", "text-embeddings-inference"),
        ("/_inference/rerank/my-reranker", "elasticsearch"),
        ("/voyage/v1/rerank", "voyage"),
        ("/v1/reranking", "MixedBread"),
        ("/v1/reranking", "mixedbread_ai"),
    ],
)
def test_said_outright(services, path, style):
    assert nbproxy.service(services.url + path, style=style, model="m")("cat quick", TEXTS) == WANTED


@pytest.mark.parametrize(("style", "path"), [("tei", "/rerank"), ("elastic", "/_inference/rerank/my-reranker")])
def test_a_style_knows_its_own_path(services, style, path):
    assert service(services.url + "/", style, model="my-reranker")("cat quick", TEXTS) == WANTED
    assert services.asked[0].path == path


@pytest.mark.parametrize(
    ("url", "style", "model"),
    [
        ("https://api.cohere.com/v1/rerank", "cohere", "rerank-v3.5"),
        ("https://api.jina.ai/v1/rerank", "jina", "jina-reranker-v2-base-multilingual"),
        ("https://api.jina.ai/v1/rerank#jina-reranker-m0", "jina", "jina-reranker-m0"),
        ("https://api.voyageai.com/v1/rerank", "voyage", "rerank-2.5"),
        ("https://api.mixedbread.com/v1/reranking", "mixedbread", "mixedbread-ai/mxbai-rerank-large-v2"),
        ("https://notjina.ai/v1/rerank", "vllm", None),
        ("https://api.jina.ai.example.org/v1/rerank", "vllm", None),
        ("https://es.example.org/prefix/_inference/rerank/.rerank-v1/", "elastic", ".rerank-v1"),
    ],
)
def test_vendors_are_known_by_their_hosts(url, style, model):
    made = service(url)
    assert (made.style, made.model) == (style, model)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/rerankers", "/rerank/more", "/docs/_search"])
def test_other_paths_have_to_be_said(path):
    for make in (as_reranker, service):
        with pytest.raises(ConfigError, match=r"path of no rerank service .* nbproxy\.service\(url, style=…\), one of"):
            make("http://127.0.0.1:1" + path)


@pytest.mark.parametrize(
    "url", ["", "http://", "localhost:8080/rerank", "http://host:port/rerank", "ftp://a/rerank", None]
)
def test_what_is_no_url(url):
    with pytest.raises(ConfigError, match=r"the URL of a rerank service is http://host/path"):
        service(url)


def test_a_wrong_style():
    with pytest.raises(ConfigError, match=r"style must be one of cohere, jina, .* not 'openai'"):
        service("http://127.0.0.1:1/rerank", style="openai")
    with pytest.raises(ConfigError, match="names no inference endpoint"):
        service("http://127.0.0.1:1", style="elastic")


# -- what is asked


def test_as_many_results_as_texts_are_asked_for(services):
    for path, texts, top in (("/v2/rerank#m", "documents", "top_n"), ("/v1/reranking#m", "input", "top_k")):
        as_reranker(services.url + path)("cat", [f"text {i}" for i in range(120)])
        asked = services.asked[-1].body
        assert (len(asked[texts]), asked[top]) == (120, 120)


def test_more_texts_than_a_service_takes(services):
    texts = [f"cat {i}" * i for i in range(75)]
    assert as_reranker(services.url + "/rerank")("cat", texts) == [relevance("cat", text) for text in texts]
    assert [len(asked.body["texts"]) for asked in services.asked] == [32, 32, 11]
    assert services.connections == 1


def test_texts_of_every_script(services):
    texts = ["Straße", "京都 の 寺", "\ud800 lone", 'quote " and \\ and \n']
    as_reranker(services.url + "/v1/rerank")("京都", texts)
    assert services.asked[0].body["documents"] == [*texts[:2], "\ufffd lone", texts[3]]


def test_the_connection_is_kept(services):
    reranker = as_reranker(services.url + "/v1/rerank")
    for _ in range(5):
        assert reranker("cat quick", TEXTS) == WANTED
    assert services.connections == 1


def test_a_kept_connection_that_was_closed_is_opened_anew(services):
    services.keep = False  # the service closes after each answer, without saying so
    reranker = as_reranker(services.url + "/v1/rerank")
    for number in range(1, 4):
        assert reranker("cat quick", TEXTS) == WANTED
        assert services.closed.acquire(timeout=10)
        assert services.connections == number
    assert len(services.asked) == 3


# -- keys


@pytest.mark.parametrize(
    ("style", "variable", "scheme"),
    [
        ("cohere", "COHERE_API_KEY", "Bearer"),
        ("jina", "JINA_API_KEY", "Bearer"),
        ("voyage", "VOYAGE_API_KEY", "Bearer"),
        ("mixedbread", "MXBAI_API_KEY", "Bearer"),
        ("elastic", "ELASTIC_API_KEY", "ApiKey"),
        ("vllm", "NBPROXY_RERANK_API_KEY", "Bearer"),
        ("tei", "NBPROXY_RERANK_API_KEY", "Bearer"),
    ],
)
def test_keys(services, monkeypatch, style, variable, scheme):
    def sent(**options):
        with pytest.raises(RerankFault):
            service(services.url + "/no", style=style, **options)("q", ["a"])
        return services.asked[-1].headers.get("Authorization")

    assert sent() is None
    monkeypatch.setenv("NBPROXY_RERANK_API_KEY", "any-key")
    assert sent() == f"{scheme} any-key"
    monkeypatch.setenv(variable, "own-key\n")
    assert sent() == f"{scheme} own-key"
    assert sent(api_key="given-key") == f"{scheme} given-key"
    assert sent(api_key="given-key", headers={"authorization": "Mine 1"}) is None
    assert services.asked[-1].headers["authorization"] == "Mine 1"


def test_a_vendors_key_goes_to_no_other_shape(services, monkeypatch):
    monkeypatch.setenv("COHERE_API_KEY", "secret")
    as_reranker(services.url + "/v1/rerank")("q", ["a"])
    assert "Authorization" not in services.asked[0].headers


SECRETS = ["key-s3cret", "header-s3cret", "user-s3cret", "param-s3cret"]


def a_service_of_secrets(services, path="/v1/rerank"):
    url = services.url.replace("://", "://me:user-s3cret@") + path + "?api_key=param-s3cret&region=eu#m"
    return url, service(url, api_key="key-s3cret", headers={"X-Team": "header-s3cret"})


def test_secrets_are_sent_and_shown_nowhere(services):
    _, made = a_service_of_secrets(services)
    assert made("cat quick", TEXTS) == WANTED
    asked = services.asked[0]
    assert asked.path == "/v1/rerank?api_key=param-s3cret&region=eu"
    assert (asked.headers["Authorization"], asked.headers["X-Team"]) == ("Bearer key-s3cret", "header-s3cret")
    shown = f"{made!r} {made.name} {made.source} {made.fingerprint} {vars(made)!r} {vars(made._connection)!r}"
    assert "s3cret" not in shown
    assert made.source == services.url.replace("://", "://[redacted]@") + "/v1/rerank?api_key=[redacted]&region=eu#m"


def test_a_user_in_the_url_is_basic_authorization(services, monkeypatch):
    monkeypatch.setenv("ELASTIC_API_KEY", "not this")
    url = services.url.replace("://", "://elastic:p%40ss@") + "/_inference/rerank/my-reranker"
    made = as_reranker(url)
    assert made("cat quick", TEXTS) == WANTED
    assert services.asked[0].headers["Authorization"] == "Basic ZWxhc3RpYzpwQHNz"
    assert made.name == services.url.removeprefix("http://") + "/my-reranker"


def test_a_secret_that_comes_back_in_an_error_is_not_shown(services):
    def refuse(asked):
        raise Refused(401, {"message": "no: key-s3cret, header-s3cret, http://a?api_key=param-s3cret " + "x" * 500})

    services.answers["/v1/rerank"] = refuse
    _, made = a_service_of_secrets(services)
    with pytest.raises(RerankFault, match=r"answered 401 Unauthorized: .*no: \[redacted\], \[redacted\]") as caught:
        made("q", ["a"])
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "nul\0"])
def test_a_key_that_cannot_be_sent(key):
    with pytest.raises(ConfigError, match="'Authorization' cannot be sent") as caught:
        service("http://127.0.0.1:1/rerank", api_key=key)
    assert key not in str(caught.value)


def test_no_key_where_one_is_asked_for(services):
    services.answers["/v2/rerank"] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(RerankFault, match=r"401 Unauthorized; no API key was given: set COHERE_API_KEY$"):
        as_reranker(services.url + "/v2/rerank#m")("q", ["a"])


def test_fingerprints_tell_services_apart_and_keys_do_not(services):
    url = services.url + "/v1/rerank"
    made = [service(url), service(url, model="m"), service(url + "?region=eu"), service(url, style="jina", model="m")]
    assert len({one.fingerprint for one in made}) == len(made)
    assert all(len(one.fingerprint) == 16 for one in made)
    assert service(url, api_key="one").fingerprint == service(url, api_key="two").fingerprint


# -- errors


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda asked: {"results": [{"index": 0, "relevance_score": 1}]}, r"scored 1 of 2 texts; has it a top_n"),
        (lambda asked: {"results": [{"index": 0, "relevance_score": 1}] * 2}, "scored text 0 twice"),
        (lambda asked: {"results": [{"index": 2, "relevance_score": 1}]}, "scored text 2 of 2"),
        (lambda asked: {"results": [{"index": -1, "relevance_score": 1}]}, "scored text -1 of 2"),
        (lambda asked: [{"score": 1}, {"score": 2}], "has no index"),
        (lambda asked: [1, 2], "has no index"),
        (lambda asked: [{"index": True, "score": 1}], "has no index"),
        (lambda asked: [{"index": 0, "score": "high"}, {"index": 1, "score": 1}], r"score 0 .* is str 'high'"),
        (lambda asked: [{"index": 0}, {"index": 1, "score": 1}], r"score 0 .* is None"),
        (lambda asked: [{"index": 0, "score": float("nan")}, {"index": 1, "score": 1}], "scores have to be finite"),
        (lambda asked: {"error": "no"}, "has no list of results"),
        (lambda asked: "done", "has no list of results"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{..}", "is not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{", "cannot be asked: IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, "is not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n" + b" " * 16_777_217, "the answer is too long"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nback\x1b[2J\n", r"answered 500 Oh: back \[2J$"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answered 503 Busy$"),
        (
            b"HTTP/1.1 307 T\r\nLocation: http://b/?token=x\r\nContent-Length: 0\r\n\r\n",
            r"307 T, to http://b/\?token=\[",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be asked: BadStatusLine"),
        (b"", "cannot be asked: RemoteDisconnected"),
    ],
)
def test_wrong_answers(services, answer, message):
    services.answers["/v1/rerank"] = answer
    reranker = as_reranker(services.url + "/v1/rerank")
    with pytest.raises(RerankFault, match=message):
        reranker("q", ["a", "b"])
    del services.answers["/v1/rerank"]
    assert reranker("cat quick", TEXTS) == WANTED  # the next one is not troubled by it


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RerankFault, match=r"cannot be asked: ConnectionRefusedError"):
        as_reranker(f"http://127.0.0.1:{port}/rerank")("q", ["a"])


def test_one_that_does_not_answer(monkeypatch):
    from nbproxy.rerankers import kept_connection

    monkeypatch.setattr(kept_connection, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reranker = as_reranker(f"http://127.0.0.1:{silent.getsockname()[1]}/rerank")
        with pytest.raises(RerankFault, match="does not answer: timed out"):
            reranker("q", ["a"])


def test_tls(tmp_path, monkeypatch):
    authority = certificates.root()
    with serving(certificates.server_context(tmp_path, authority.issue("127.0.0.1"))) as services:
        with pytest.raises(RerankFault, match=r"cannot be asked: SSLCertVerificationError: .*verify failed"):
            as_reranker(services.url + "/rerank")("cat quick", TEXTS)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file(tmp_path)))
        assert as_reranker(services.url + "/rerank")("cat quick", TEXTS) == WANTED


def test_no_texts(services):
    assert as_reranker(services.url + "/rerank")("q", []) == []
    assert not services.asked


# -- behind a session


def search(session, *fields):
    from tests.upstreams import Client

    with Client(session.url) as client:
        body = b'{"query": {"match": {"title": "document 17"}}, "size": 3}'
        return client.ask(b"POST", b"/books/_search", body, b"Content-Type: application/json", *fields)


def test_live_and_from_another_process(services, start, json_upstream):
    url, _ = a_service_of_secrets(services)
    session = start(json_upstream.url, model=services.url + "/rerank")
    assert search(session).json["hits"]["hits"][0]["_id"] == "17"
    assert session.frame.model.tolist() == [services.url.removeprefix("http://")]
    remote = nbproxy.connect(session.url, token=session.token)
    remote.model = url
    assert "s3cret" not in remote.model.source
    assert remote.model.name == services.url.removeprefix("http://") + "/m"
    assert search(session).json["hits"]["hits"][0]["_id"] == "17"
    assert services.asked[-1].path.startswith("/v1/rerank")


def test_secrets_reach_no_file_frame_or_log(services, start, json_upstream, tmp_path, capsys, caplog):
    def refuse(asked):
        raise Refused(401, {"message": f"{services.asked[-1].headers} is not known"})

    caplog.set_level("DEBUG")
    url, made = a_service_of_secrets(services)
    session = start(json_upstream.url, model=made, record=tmp_path / "recording")
    session.models["by url"] = url
    session.shadow["shadow"] = made
    search(session)
    services.answers["/v1/rerank"] = refuse
    search(session)
    search(session, b"X-Nbproxy-Model: by url")
    session.flush(10)
    session.model = url
    reasons = session.frame.reason.tolist()
    assert reasons[1:] == ["model-error", "model-error"]
    shown = [repr(session), repr(session.models), repr(session.options), repr(session.errors), str(session.status)]
    shown += [session.frame.to_csv(), session.hits.to_csv(), capsys.readouterr().out, caplog.text]
    session.stop()
    assert not [text for text in shown if "s3cret" in text]
    files = [path for path in (tmp_path / "recording").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


def test_a_service_that_fails_costs_its_own_order_only(services, start, json_upstream):
    services.answers["/rerank"] = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    session = start(json_upstream.url, model=services.url + "/rerank")
    assert [hit["_id"] for hit in search(session).json["hits"]["hits"]] == ["0", "1", "2"]
    row = session.frame.iloc[0]
    assert (row.reason, row.reranked) == ("model-error", False)
    assert row.error.endswith("answered 500 Oh")
