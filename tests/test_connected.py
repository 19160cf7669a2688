"""``nbproxy.connect``: the session's interface onto a real ``nbproxy serve``, and onto a session in this process."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy import ConfigError, Hit, MissingExtra, RerankFault, SessionClosed, pages
from nbproxy.connected import ConnectedSession
from nbproxy.remote_settings import RemoteModel

from .test_cli import serving
from .test_searches import BODY, backwards, ids, search
from .test_session import forwards
from .upstreams import TIMEOUT, Client, Json, Scripted

Start = Callable[..., nbproxy.Session]
MODELS = '''
"""Models of a proxy's own machine."""
import nbproxy

def backwards(query, texts):
    return list(range(len(texts)))

class Box:
    @staticmethod
    def lengths(query, texts):
        return [float(len(text)) for text in texts]

def missing():
    raise nbproxy.MissingExtra("flax", "pip install flax")

def __getattr__(name):
    if name == "zero":
        1 / 0
    if name == "leaves":
        raise SystemExit(3)
    if name == "extra":
        missing()
    raise AttributeError(name)
'''


@pytest.fixture(params=["memory", "disk"])
def near(request: pytest.FixtureRequest, start: Start, json_upstream: Json, tmp_path: Path) -> nbproxy.Session:
    record = tmp_path / "recording" if request.param == "disk" else False
    return start(json_upstream.url, model=backwards, record=record)


@pytest.fixture
def far(near: nbproxy.Session) -> Iterator[ConnectedSession]:
    with nbproxy.connect(near.url) as session:
        yield session


@contextlib.contextmanager
def served(
    upstream: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """``nbproxy serve`` in a directory with ``far_models.py``; the process, and what it printed."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "far_models.py").write_text(MODELS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(nbproxy.__file__).parents[1]), str(home)]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with serving(upstream.url, "--json", *arguments, runtime=tmp_path) as (process, line):
        yield process, json.loads(line)


@pytest.fixture
def process(
    json_upstream: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, ConnectedSession]]:
    with served(json_upstream, tmp_path, monkeypatch, "--record", str(tmp_path / "recording")) as (process, facts):
        yield process, nbproxy.connect(facts["url"])


# -- the same interface

# What a session has for its own process only.
HERE_ONLY = {
    "allowed_hosts", "apply", "clicked", "end", "forked", "lines_now", "options", "pages", "reopen", "scorers",
    "sight_now", "sights_now", "snapshot_now", "status_now", "token_file",
}  # fmt: skip


def test_it_has_a_sessions_interface(near: nbproxy.Session, far: ConnectedSession) -> None:
    def names(session: object) -> set[str]:
        return {name for name in dir(session) if not name.startswith("_")}

    assert names(near) - HERE_ONLY == names(far)
    bare = [name for name, member in vars(ConnectedSession).items() if name[0] != "_" and not inspect.getdoc(member)]
    assert not bare


def test_it_is_what_the_session_is(near: nbproxy.Session, far: ConnectedSession) -> None:
    search(near)
    for name in ("url", "port", "name", "upstream", "token", "running", "recorded_in", "depth", "deadline", "fields"):
        assert getattr(far, name) == getattr(near, name), name
    assert (far.min_score, far.errors, far.session_id) == (None, [], near.session_id)
    here, there = near.status, far.status
    assert there.pop("uptime_s") >= here.pop("uptime_s")
    assert there == here
    last = near.snapshot().last
    assert last is not None
    assert far.snapshot().last == last
    assert far.sight(last.exchange_id) == last


def test_frames_are_the_sessions(near: nbproxy.Session, far: ConnectedSession) -> None:
    pd.testing.assert_frame_equal(far.frame, near.frame)
    search(near)
    search(near, BODY, b"/books/_search", b"X-Opaque-Id: app")
    search(near, {"query": {"match": {"title": "blue"}}}, b"/books/_search", b"X-Opaque-Id: app")
    with Client(near.url) as client:
        client.ask(b"GET", b"/nowhere")
    with pytest.warns(UserWarning, match="names an application"):
        pd.testing.assert_frame_equal(far.frame, _quiet(lambda: near.frame))
    pd.testing.assert_frame_equal(far.hits, near.hits)
    pd.testing.assert_frame_equal(far._rows(), near._rows())
    pd.testing.assert_frame_equal(far._lines(), near._lines())
    exchange_id = near.frame.exchange_id[0]
    assert far.json(exchange_id) == near.json(exchange_id)
    assert far.json(exchange_id, which="upstream_request") == near.json(exchange_id, which="upstream_request")
    with pytest.raises(KeyError, match="no exchange 'no such/ä&exchange' among the 4"):
        far.json("no such/ä&exchange")
    with pytest.raises(KeyError, match="has no part 3"):
        far.json(exchange_id, part=3)


def _quiet(read: Callable[[], Any]) -> Any:
    with pytest.warns(UserWarning, match="names an application"):
        return read()


def test_compare_and_evaluate_are_the_sessions(near: nbproxy.Session, far: ConnectedSession) -> None:
    search(near, BODY, b"/books/_search", b"X-Opaque-Id: q1")
    qrels = pd.DataFrame({"query_id": ["q1"], "doc_id": ["49"], "relevance": [1]})
    pd.testing.assert_frame_equal(far.compare().per_query, near.compare().per_query)
    pd.testing.assert_frame_equal(far.evaluate(qrels).summary, near.evaluate(qrels).summary)


def test_looking_changes_nothing(near: nbproxy.Session, far: ConnectedSession) -> None:
    search(near)
    for _ in range(3):
        assert (len(far.frame), far.hits.exchange_id.nunique(), far.status["counts"]["route"]) == (1, 1, {"search": 1})
        assert (far.errors, far.model.name, dict(far.models), far.depth) == ([], "backwards", {}, 50)
        far.flush(1)
        far.snapshot()
        assert "running" in repr(far)
    assert len(near.frame) == 1


def test_every_exchange_is_in_and_sent_once(
    near: nbproxy.Session, far: ConnectedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, int]] = []
    read = near.pages.read

    def counted(kind: Any, since: int, **options: Any) -> Any:
        page = read(kind, since, **options)
        sent.append((kind.name, page.table.num_rows))
        return page

    near.pages.read = counted  # type: ignore[method-assign]
    with Client(near.url) as client:
        for n in range(1, 101):
            client.ask(b"POST", b"/books/_search", json.dumps(BODY).encode(), b"Content-Type: application/json")
            assert len(far.frame) == n
            assert n % 10 or far.hits.exchange_id.nunique() == n
    assert sum(rows for kind, rows in sent if kind == "rows") == 100
    assert sum(rows for kind, rows in sent if kind == "hits") == 100 * 50
    pd.testing.assert_frame_equal(far.frame, near.frame)
    frame = far.frame
    frame.loc[0, "query"] = "changed"
    assert far.frame.loc[0, "query"] == "red shoes"


def test_pages_are_small_and_whole(
    near: nbproxy.Session, far: ConnectedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 20_000)
    for _ in range(12):
        search(near)
    pd.testing.assert_frame_equal(far.frame, near.frame)
    pd.testing.assert_frame_equal(far.hits, near.hits)
    monkeypatch.setattr(pages, "PAGE_BYTES", 1)  # a row is sent whole, however large
    search(near)
    pd.testing.assert_frame_equal(far.frame, near.frame)


def test_a_copy_that_was_cleaned_away_is_fetched_again(near: nbproxy.Session, far: ConnectedSession) -> None:
    search(near)
    frame = far.frame
    assert far._home is not None
    for path in far._home.path.rglob("*.arrow*"):
        path.unlink()
    pd.testing.assert_frame_equal(far.frame, frame)
    shutil.rmtree(far._home.path)
    search(near)
    assert len(far.frame) == 2


def test_another_recording_is_another_frame(
    start: Start, json_upstream: Json, tmp_path: Path, far: ConnectedSession, near: nbproxy.Session
) -> None:
    search(near)
    assert len(far.frame) == 1
    again = start(json_upstream.url, name=near.name, record=tmp_path / "other")
    assert again is near
    search(near)
    pd.testing.assert_frame_equal(far.frame, near.frame)
    start(json_upstream.url, name=near.name, record=tmp_path / "other", drain=0.4)  # a restart; the recording goes on
    search(near)
    assert len(far.frame) == 2
    pd.testing.assert_frame_equal(far.hits, near.hits)


def test_the_recording_is_the_directory_or_a_copy_of_it(
    near: nbproxy.Session, far: ConnectedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(near)
    if near.recording is None:
        assert far.recording is None
        return
    recording = far.recording
    assert recording is not None
    assert recording.path == near.recording.path
    pd.testing.assert_frame_equal(recording.frame, near.frame)
    monkeypatch.setattr(ConnectedSession, "_is_here", lambda *_: False)
    elsewhere = far.recording
    assert elsewhere is not None
    assert elsewhere.path != near.recording.path
    pd.testing.assert_frame_equal(elsewhere.frame, near.frame)
    pd.testing.assert_frame_equal(elsewhere.hits, near.hits)


def test_a_wrong_token_is_told_at_once(near: nbproxy.Session) -> None:
    assert nbproxy.connect(near.url, f" {near.token}\n").running
    for wrong in ("wrong", "wröng", "two\nlines"):
        with pytest.raises(ConfigError, match="token"):
            nbproxy.connect(near.url, wrong)


# -- settings


def test_settings_are_live_in_the_proxy(near: nbproxy.Session, far: ConnectedSession) -> None:
    for name, value in (
        ("depth", 7), ("min_score", 0.5), ("min_score", None), ("deadline", None), ("deadline", 2.5),
        ("fields", "title"), ("fields", ["title", "asked"]), ("fields", "{title}: {asked}"), ("fields", None),
    ):  # fmt: skip
        setattr(far, name, value)
        assert getattr(near, name) == getattr(far, name) == value
    far.depth = int(pd.Series([9]).iloc[0])
    far.min_score = pd.Series([0.25]).iloc[0]
    assert (near.depth, near.min_score) == (9, 0.25)
    near.fields = lambda hit: hit.doc_id
    assert far.fields == f"{__name__}:test_settings_are_live_in_the_proxy.<locals>.<lambda>"


@pytest.mark.parametrize(
    ("name", "value"),
    [("depth", 0), ("depth", "x"), ("depth", None), ("deadline", -1), ("deadline", "x"), ("min_score", "x"),
     ("fields", "{title"), ("fields", [1])],
)  # fmt: skip
def test_a_wrong_setting_raises_as_in_process_and_changes_nothing(
    near: nbproxy.Session, far: ConnectedSession, name: str, value: Any
) -> None:
    before = near.options
    with pytest.raises(ConfigError) as here:
        setattr(near, name, value)
    with pytest.raises(ConfigError) as there:
        setattr(far, name, value)
    assert (type(there.value), str(there.value)) == (type(here.value), str(here.value))
    assert near.options == before


def test_what_cannot_leave_the_process_says_so(near: nbproxy.Session, far: ConnectedSession) -> None:
    far.models["a"] = "bm25"
    for act in (
        lambda: setattr(far, "model", backwards),
        lambda: far.models.__setitem__("b", backwards),
        lambda: setattr(far, "shadow", {"b": backwards}),
        lambda: far.swap(backwards).result(TIMEOUT),
    ):
        with pytest.raises(ConfigError, match=r'give "tests.test_searches:backwards" .* or run .*: nbproxy.start'):
            act()
    with pytest.raises(ConfigError, match='give "module:attribute"'):
        far.model = lambda query, texts: []
    with pytest.raises(ConfigError, match="this object is an object of this process"):
        far.model = object()
    with pytest.raises(ConfigError, match="callable of this process cannot be sent"):
        far.fields = lambda hit: ""
    with pytest.raises(ConfigError, match="cannot be sent to another process"):
        far.depth = object()  # type: ignore[assignment]
    assert near.model.name == "backwards"
    assert list(near.models) == ["a"]


def test_models_by_name_path_and_module(near: nbproxy.Session, far: ConnectedSession) -> None:
    far.model = "bm25"
    assert near.model.name == far.model.name == "bm25"
    assert (far.model.source, far.model.fingerprint) == ("bm25", near.model.fingerprint)
    far.model = "tests.test_searches:backwards"
    assert near.model.source is backwards
    assert far.model.source == "tests.test_searches:backwards"
    assert ids(search(near))[0] == "49"
    assert far.swap("original").result(TIMEOUT).name == "original"
    far.model = None
    assert near.model is None
    assert far.model is None
    for wrong in ("no such model", Path("/nothing-here"), "json:nothing"):
        with pytest.raises(ConfigError, match=r"no such model|nothing"):
            far.model = wrong
    assert near.model is None


def test_shelves_are_the_proxys(near: nbproxy.Session, far: ConnectedSession) -> None:
    far.models["lex"] = "bm25"
    near.models["forth"] = forwards
    assert set(far.models) == set(near.models) == {"lex", "forth"}
    assert far.models["lex"].name == "lex"
    worker = near.scorers
    far.models = {**far.models, "same": "original"}  # what is there stays what it is, objects of the proxy's too
    assert near.models["forth"].source is forwards
    assert set(worker) <= set(near.scorers)
    far.model = far.models["forth"]
    assert near.model is near.models["forth"]
    far.shadow["also"] = "bm25"
    search(near)
    far.flush(TIMEOUT)
    assert set(far.hits.role) == {"served", "shadow"}
    del far.shadow["also"]
    assert dict(near.shadow) == {}
    with pytest.raises(KeyError):
        del far.shadow["also"]
    for wrong in (lambda: far.models.__setitem__("x", None), lambda: setattr(far, "models", {"x": None})):
        with pytest.raises(ConfigError, match="not None"):
            wrong()
    with pytest.raises(ConfigError, match="maps names to models"):
        far.models = {"": "bm25"}
    assert set(near.models) == {"lex", "forth", "same"}
    gone = far.models["lex"]
    del far.models["lex"]
    with pytest.raises(ConfigError, match=r"has the model 'lex' .* no longer"):
        far.model = gone
    far.set_model("same")
    assert near.model.name == "same"


def test_two_that_add_models_at_once_have_both(near: nbproxy.Session) -> None:
    sessions = [nbproxy.connect(near.url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: sessions[n].models.__setitem__(f"m{n}", "bm25"), range(4)))
    assert set(near.models) == {"m0", "m1", "m2", "m3"}


def test_a_model_there_can_be_tried_from_here(near: nbproxy.Session, far: ConnectedSession) -> None:
    model = far.model
    assert isinstance(model, RemoteModel)
    assert isinstance(model, nbproxy.Reranker)
    assert model("q", ["a", "b"]) == [0.0, 1.0]
    assert model.score("q", [Hit("i", "1", 1, text="a")]) == [0.0]
    assert model == far.model
    assert "backwards" in repr(model)
    near.models["bad"] = lambda query, texts: [float("nan")] * len(texts)
    with pytest.raises(RerankFault):
        far.models["bad"]("q", ["a"])
    near.model = None
    with pytest.raises(ConfigError, match="no longer"):
        model("q", ["a"])


def test_a_loading_model_holds_nobody_up(near: nbproxy.Session, far: ConnectedSession) -> None:
    """Loading has longer than a question does, and the other routes go on meanwhile."""
    loading, release = threading.Event(), threading.Event()
    near.models["kept"] = backwards

    class Slow:
        name, fingerprint = "slow", "1"

        def score(self, query: str, hits: Any) -> Any:
            return [0.0] * len(hits)

        def __getattribute__(self, attribute: str) -> Any:
            if attribute == "name" and threading.current_thread().name == "nbproxy-loads":
                loading.set()
                release.wait(TIMEOUT)
            return object.__getattribute__(self, attribute)

    global slow
    slow = Slow()
    future = far.swap(f"{__name__}:slow")
    assert loading.wait(TIMEOUT)
    search(near)
    assert len(far.frame) == 1
    far.depth = 12
    assert (far.model.name, near.depth, future.done()) == ("backwards", 12, False)
    release.set()
    assert future.result(TIMEOUT).name == "slow"


slow: Any = None


def test_errors_are_listed(start: Start, json_upstream: Json) -> None:
    def raising(query: str, texts: list[str]) -> list[float]:
        raise ZeroDivisionError("no\nway")

    near = start(json_upstream.url, model=raising)
    far = nbproxy.connect(near.url)
    search(near)
    assert far.errors == near.errors
    assert (far.errors[0].type, "1 errors" in repr(far)) == (near.errors[0].type, True)


def test_flush_waits_for_shadows_and_no_longer_than_it_may(near: nbproxy.Session, far: ConnectedSession) -> None:
    began, release = threading.Event(), threading.Event()

    def held(query: str, texts: list[str]) -> list[int]:
        began.set()
        release.wait(TIMEOUT)
        return backwards(query, texts)

    near.shadow["held"] = held
    search(near)
    assert began.wait(TIMEOUT)
    with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
        far.flush(0.1)
    assert set(far.hits.role) == {"served"}
    release.set()
    far.flush()
    assert set(far.hits.role) == {"served", "shadow"}


def test_late_scores_and_what_a_shadow_was_spared_are_seen_from_afar(
    near: nbproxy.Session, far: ConnectedSession
) -> None:
    release = threading.Event()

    def held(query: str, texts: list[str]) -> list[int]:
        release.wait(TIMEOUT)
        return backwards(query, texts)

    near.model = held
    far.shadow["lex"] = "bm25"
    far.deadline = 0.05
    search(near)
    with pytest.raises(TimeoutError):
        far.flush(0.1)
    release.set()
    far.flush(TIMEOUT)
    assert far.frame.reason.iloc[-1] == "deadline"
    assert set(far.hits.model[far.hits.role == "shadow"]) == {"held", "lex"}
    (lex,) = far.status["shadows"]
    assert (lex["name"], lex["waiting"], lex["scored"], lex["dropped"]) == ("lex", 0, 1, 0)


def test_serving_gives_back_what_served(near: nbproxy.Session, far: ConnectedSession) -> None:
    before = near.model.name
    with pytest.raises(ZeroDivisionError), far.serving("bm25") as model:  # noqa: PT012
        assert (near.model.name, model.name) == ("bm25", "bm25")
        raise ZeroDivisionError
    near.models["kept"] = near.model
    far.model = "words"  # nothing refers to it from here on, so it is loaded anew, by what it was given by
    with far.serving("original"):
        assert near.model.name == "original"
    assert near.model.name == "words"
    assert before == "backwards"


# -- looking, leaving


def test_its_face(near: nbproxy.Session, far: ConnectedSession) -> None:
    assert repr(far) == (
        f"<nbproxy.ConnectedSession {near.name!r} running {near.url} → {near.upstream} · model backwards>"
    )
    assert "in another process · running" in far._repr_html_()


def test_the_panel_is_one_and_closes_with_it(near: nbproxy.Session, far: ConnectedSession) -> None:
    widget = far.panel()
    assert far.panel() is widget
    assert near.url in widget._repr_mimebundle_()["text/html"]
    widgets = far._panel._widgets
    far.stop()
    assert widgets.model.disabled


def test_leaving_leaves_the_proxy_and_nothing_here(near: nbproxy.Session) -> None:
    with nbproxy.connect(near.url) as far:
        search(near)
        assert len(far.frame) == 1
        threads = set(threading.enumerate())
        far.panel()
        assert far._home is not None
        place = far._home.path
        assert place.is_dir()
        assert place.stat().st_mode & 0o077 == 0
    assert not place.exists()
    assert near.running
    assert near.model.name == "backwards"
    assert far.wait(0)
    far.stop()
    for act in (
        lambda: setattr(far, "depth", 3), lambda: setattr(far, "model", None), lambda: far.swap(None),
        lambda: far.flush(1), lambda: far.models.__setitem__("x", "bm25"),
        lambda: far.set_model(None),
    ):  # fmt: skip
        with pytest.raises(SessionClosed, match="begins another"):
            act()
    assert len(far.frame) == 1  # as a stopped session's
    far.stop()
    assert {thread.name for thread in set(threading.enumerate()) - threads} <= {"nbproxy-panel-loads"}


def test_the_proxy_is_ended_only_where_that_is_asked(near: nbproxy.Session, far: ConnectedSession) -> None:
    assert far.wait(0) is False
    far.stop(proxy=True)
    assert near.wait(TIMEOUT)
    assert not near.running
    assert far.wait(TIMEOUT)
    with pytest.raises(SessionClosed, match="nothing answers at"):
        far.frame  # noqa: B018


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_has_no_part_in_it(near: nbproxy.Session, far: ConnectedSession) -> None:
    search(near)
    assert len(far.frame) == 1
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        with contextlib.suppress(BaseException):
            try:
                far.frame  # noqa: B018
            except SessionClosed:
                far.stop()
                code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(far.frame) == 1


def test_many_threads_see_the_same(near: nbproxy.Session, far: ConnectedSession) -> None:
    def work(n: int) -> None:
        for _ in range(5):
            search(near)
            count = (far.frame.route == "search").sum()
            assert far.hits.exchange_id.nunique() >= count
            far.depth = 20 + n

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert (far.frame.route == "search").sum() == 30
    assert not far.frame.exchange_id.duplicated().any()
    pd.testing.assert_frame_equal(far.hits, near.hits)


# -- a process of its own


def test_a_proxy_in_a_process_of_its_own(process: tuple[Any, ConnectedSession], tmp_path: Path) -> None:
    _, far = process
    assert far.model is None
    for n in range(1, 4):
        search(far)  # type: ignore[arg-type]
        assert len(far.frame) == n
    far.model = "far_models:backwards"
    assert ids(search(far))[0] == "49"  # type: ignore[arg-type]
    far.models["lengths"] = "far_models:Box.lengths"
    far.model = far.models["lengths"]
    assert far.model("q", ["a", "aaa"]) == [1.0, 3.0]
    search(far)  # type: ignore[arg-type]
    searches = far.frame[far.frame.route == "search"]
    assert searches.model.fillna("").tolist() == ["", "", "", "backwards", "lengths"]
    assert far.compare().summary.loc[0, "n_queries"] == 1
    assert far.recording is not None
    assert far.recording.path == tmp_path / "recording"
    pd.testing.assert_frame_equal(far.recording.hits, far.hits)
    assert far.status["model"]["name"] == "lengths"


def test_what_fails_there_is_raised_here(process: tuple[Any, ConnectedSession]) -> None:
    _, far = process
    far.model = "bm25"
    for source, kind, message in (
        ("far_models:zero", ZeroDivisionError, r"^division by zero$"),
        ("far_models:extra", MissingExtra, r"^flax is not installed; run: pip install flax$"),
        ("far_models:nothing", ConfigError, r"^far_models:nothing cannot be imported: nothing$"),
        ("far_models:leaves", RuntimeError, r"^SystemExit: 3$"),
        ("bm52", ConfigError, "did you mean 'bm25'"),
    ):
        with pytest.raises(kind, match=message):
            far.model = source
        assert far.model.name == "bm25"
    assert search(far).status == 200  # type: ignore[arg-type]


def test_a_proxy_that_was_killed_says_what_to_do(process: tuple[Any, ConnectedSession], tmp_path: Path) -> None:
    running, far = process
    search(far)  # type: ignore[arg-type]
    frame = far.frame
    running.send_signal(signal.SIGKILL)
    running.wait(TIMEOUT)
    for act in (lambda: far.frame, lambda: far.model, lambda: setattr(far, "model", "bm25"), lambda: far.flush(1)):
        with pytest.raises(SessionClosed, match=r"nothing answers at .*nbproxy\.start\(\) or `nbproxy serve`"):
            act()
    assert "cannot be asked" in repr(far)
    assert not far.running
    assert far.wait(TIMEOUT)
    far.stop()
    pd.testing.assert_frame_equal(nbproxy.load(tmp_path / "recording").frame, frame)


def test_a_proxy_restarted_on_its_port_is_found_again(
    json_upstream: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ("--record", str(tmp_path / "recording"))
    with served(json_upstream, tmp_path, monkeypatch, *record) as (process, facts):
        far = nbproxy.connect(facts["url"])
        given = nbproxy.connect(facts["url"], far.token)
        search(far)  # type: ignore[arg-type]
        assert len(far.frame) == 1
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
    with served(json_upstream, tmp_path, monkeypatch, *record, "--port", str(facts["port"])):
        assert far.frame.status.tolist() == [401]  # the old token's last
        search(far)  # type: ignore[arg-type]
        assert far.frame.status.tolist() == [401, 200]
        with pytest.raises(ConfigError, match=r"the token is refused: give session\.token of that very session"):
            given.frame  # noqa: B018


def test_a_proxy_ended_from_afar_ends_cleanly(process: tuple[Any, ConnectedSession], tmp_path: Path) -> None:
    running, far = process
    far.stop(proxy=True)
    out, err = running.communicate(timeout=TIMEOUT)
    assert (running.returncode, out, err) == (0, "", "")
    assert nbproxy.load(tmp_path / "recording").frame.target.tolist() == ["/_nbproxy/stop"]


def test_a_team_reaches_a_proxy_by_its_name(
    json_upstream: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--no-record", "--allow-host", "search.team.example")
    with served(json_upstream, tmp_path, monkeypatch, *arguments) as (_, facts):
        token = Path(facts["token_file"]).read_text()
        for host, status in ((b"search.team.example:80", 200), (b"evil.example", 401)):
            with Client(facts["url"]) as client:
                fields = b"Host: %b\r\nAuthorization: Bearer %b\r\n" % (host, token.encode())
                client.send(b"GET /_nbproxy/session HTTP/1.1\r\n%b\r\n" % fields)
                assert client.read().status == status


# -- who is not an nbproxy of this version


def test_an_nbproxy_of_another_version_says_so(upstream: Scripted) -> None:
    status = json.dumps({"state": "running", "recording": {}, "counts": {}, "name": "old"}).encode()
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(status), status),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    )
    with pytest.raises(ConfigError, match="the proxy does not know this"):
        nbproxy.connect(upstream.url, "token")
