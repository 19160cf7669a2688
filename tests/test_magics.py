"""``%nbproxy`` and ``%%with_model``, in a real kernel and in a shell: what they do, say, complete, and give back."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Iterator

import pytest

import nbproxy

from .kernels import Kernel
from .upstreams import Json

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def upstream_url() -> Iterator[str]:
    with Json() as server:
        yield server.url


@pytest.fixture(scope="module")
def kernel(upstream_url: str) -> Iterator[Kernel]:
    """With the magics, a session on bm25, a model in it, and a function."""
    with Kernel() as kernel:
        assert kernel.run("%load_ext nbproxy")["status"] == "ok"
        started = kernel.run(f"session = %nbproxy start {upstream_url} --memory --model bm25 --depth 20")
        assert f"→ {upstream_url} · started · model bm25 · recording in memory only" in started["stdout"]
        kernel.run('session.models["mine-1"] = "words"\ndef shortest(query, texts):\n    return [0] * len(texts)')
        yield kernel


def test_help_teaches(kernel: Kernel) -> None:
    for line in ("%nbproxy", "%nbproxy help", "%nbproxy start --help"):
        assert "%%with_model MODEL" in kernel.run(line)["stdout"]


def test_start_took_its_options(kernel: Kernel) -> None:
    assert kernel.run("session.depth")["text/plain"] == "20"


@pytest.mark.parametrize(
    ("name", "model"),
    [("none", "none"), ("shortest", "shortest"), ("mine-1", "mine-1"), ("original", "original"), ("bm25", "bm25")],
)
def test_model_swaps(kernel: Kernel, name: str, model: str) -> None:
    assert kernel.run(f"%nbproxy model {name}")["stdout"] == f"nbproxy: default · model {model}\n"


def test_model_alone_says_which_there_are(kernel: Kernel) -> None:
    said = kernel.run("%nbproxy model")["stdout"]
    assert said.startswith("nbproxy: default · model bm25 · there are mine-1, none, original, bm25, words, minilm")
    assert "shortest" in said


def test_status_is_a_table_with_a_text_twin(kernel: Kernel) -> None:
    shown = kernel.run("%nbproxy status")
    assert "<table>" in shown["text/html"]
    assert shown["text/plain"].splitlines()[1].split()[:3] == ["session", "state", "url"]
    assert "default  running" in shown["text/plain"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%nbproxy frob", "no verb of %nbproxy is called 'frob'; there are: start, stop, model, status, help"),
        ("%nbproxy model bm52", "no model is called 'bm52'; did you mean 'bm25'? there are: mine-1,"),
        ("%nbproxy model /no/such", "'/no/such' is no built-in model"),
        ("%nbproxy model bm25 --session defualt", "no session is called 'defualt'; did you mean 'default'?"),
        ("%nbproxy start --port x", "%nbproxy start: argument --port: invalid int value: 'x' (%nbproxy help)"),
        ("%nbproxy start ftp://a", "upstream must look like http://host:port"),
        ("%nbproxy status now", "%nbproxy status takes no arguments, not now"),
        ("%nbproxy model 'bm25", "No closing quotation"),
        ("%%with_model\n1", "%%with_model: the following arguments are required: model"),
        ("%%with_model /no/such\n1", "'/no/such' is no built-in model"),
        ("%%with_model bm25\nx = (", "line 2 of this cell: "),
        ("%%with_model bm25\n\nx = await y", "line 3 of this cell: 'await' outside function: x = await y"),
    ],
)
def test_what_is_wrong_is_one_line(kernel: Kernel, line: str, message: str) -> None:
    shown = kernel.run(line)
    assert shown["status"] == "error"  # so "run all" stops here
    assert shown["stderr"].startswith("UsageError: ")
    assert message in shown["stderr"]
    assert shown["stderr"].count("\n") == 1


def test_with_model_serves_for_the_cell_and_gives_back(kernel: Kernel) -> None:
    kernel.run("%nbproxy model bm25")
    shown = kernel.run("%%with_model original\nprint(session.model.name)\nx = 3\nsession.model.name")
    assert (shown["stdout"], shown["text/plain"]) == ("original\n", "'original'")
    assert kernel.run("session.model.name, session.options.model, x")["text/plain"] == "('bm25', 'bm25', 3)"


def test_with_model_is_silenced_by_a_semicolon(kernel: Kernel) -> None:
    assert "text/plain" not in kernel.run("%%with_model original\n42;")


def test_an_error_in_the_cell_keeps_its_lines_and_the_model_comes_back(kernel: Kernel) -> None:
    kernel.run("%nbproxy model bm25")
    shown = kernel.run("%%with_model original\n\ndef _f():\n    return 1 / 0\n\n_f()")
    assert shown["status"] == "error"
    assert "----> 6 _f()" in shown["error"]
    assert "----> 4     return 1 / 0" in shown["error"]
    assert "magics.py" not in shown["error"]
    assert kernel.run("session.model.name")["text/plain"] == "'bm25'"


def test_an_error_of_ours_in_the_cell_points_at_its_line(kernel: Kernel) -> None:
    shown = kernel.run('%%with_model original\nsession.model = "/no/such"')
    assert '----> 2 session.model = "/no/such"' in shown["error"]
    assert "live_settings.py" not in shown["error"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%nbproxy ", {"start", "stop", "model", "status", "help"}),
        ("%nbproxy st", {"start", "stop", "status"}),
        ("%nbproxy model b", {"bm25"}),
        ("%nbproxy model mine-", {"mine-1"}),
        ("%nbproxy model bm25 --", {"--session"}),
        ("%nbproxy model bm25 --session d", {"default"}),
        ("%nbproxy start --d", {"--depth", "--deadline"}),
        ("%nbproxy start --model w", {"words"}),
        ("%nbproxy stop ", {"--all", "default"}),
        ("%%with_model sh", {"shortest"}),
        ("%%with_model ", {"mine-1", "none", "original", "bm25", "words", "minilm", "shortest", "--session"}),
    ],
)
def test_words_are_completed(kernel: Kernel, typed: str, offered: set[str]) -> None:
    before = typed[: typed.rindex(" ") + 1]
    assert set(kernel.complete(typed)) == {before + word for word in offered}


def test_the_magics_themselves_are_completed(kernel: Kernel) -> None:
    assert kernel.complete("%nbpro") == ["%nbproxy"]
    assert kernel.complete("%%with_m") == ["%%with_model"]


def test_stopping_and_unloading(upstream_url: str) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nbproxy")
        assert "no session runs; %nbproxy start begins one" in kernel.run("%nbproxy stop")["stderr"]
        assert "no session runs" in kernel.run("%nbproxy status")["text/plain"]
        for name in "abc":
            kernel.run(f"%nbproxy start {upstream_url} --memory --name {name}")
        assert "several sessions run; say --session and one of a, b, c" in kernel.run("%nbproxy model bm25")["stderr"]
        assert kernel.run("%nbproxy model bm25 --session b")["stdout"] == "nbproxy: b · model bm25\n"
        assert kernel.run("%nbproxy stop a")["stdout"] == "nbproxy: a · stopped\n"
        assert kernel.run("%nbproxy stop --all")["stdout"] == "nbproxy: b · stopped\nnbproxy: c · stopped\n"
        kernel.run("%unload_ext nbproxy")
        assert "`%nbproxy` not found" in kernel.run("%nbproxy")["stderr"]
        assert not [one for one in kernel.complete("%nbproxy st") if one == "%nbproxy status"]


def test_a_session_in_another_process(kernel: Kernel) -> None:
    """By the variable that holds it."""
    kernel.run("import nbproxy\nfar = nbproxy.connect(session.url)\n%nbproxy model bm25")
    assert kernel.run("%%with_model words --session far\nfar.model.name")["text/plain"] == "'words'"
    assert kernel.run("session.model.name")["text/plain"] == "'bm25'"
    assert kernel.run("%nbproxy model none --session far")["stdout"] == "nbproxy: default · model none\n"
    kernel.run("far.stop()")


def test_in_a_shell_without_a_kernel(json_upstream: Json, capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a shell inside a test's process
        shell = InteractiveShell()
    try:
        shell.run_line_magic("load_ext", "nbproxy")
        session = shell.run_line_magic("nbproxy", f"start {json_upstream.url} --memory --name shell")
        assert session is nbproxy.start(name="shell")
        assert shell.run_cell("%%with_model bm25 --session shell\n1 + 1").result == 2
        assert session.model is None
        shell.run_cell("%%with_model bm25 --session shell\nnbproxy_is_not_imported")
        assert session.model is None
        shell.run_line_magic("nbproxy", "stop shell")
        assert not session.running
        shell.run_line_magic("unload_ext", "nbproxy")
    finally:
        shell.atexit_operations()
        atexit.unregister(shell.atexit_operations)
    capsys.readouterr()
