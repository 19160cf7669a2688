"""``%load_ext nbproxy``: the magics ``%nbproxy`` and ``%%with_model``, with completion.

Laws: a magic does what a line of Python would do, nothing more; what the user got wrong is one line (IPython's
``UsageError``, whose cause is the whole); an error in the user's own cell keeps its traceback. IPython is imported with
this module, never with nbproxy.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any, NoReturn

import pandas as pd
from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, output_can_be_silenced
from IPython.core.magic_arguments import MagicArgumentParser

from .errors import NbproxyError
from .magic_names import DEFAULT, Names, unknown
from .registry import REGISTRY, start
from .tables import Shown, Table

HELP = """\
nbproxy in a notebook: a proxy in front of your search engine, on a thread of this kernel.

  %nbproxy start                         the embedded demo engine (session = %nbproxy start keeps it in a variable)
  %nbproxy start http://localhost:9200   your own engine; clients then ask session.url
      [--name NAME] [--model MODEL] [--port N] [--depth N] [--deadline SECONDS] [--memory]
                                         all else (TLS, auth …) is said by nbproxy.start(…); see nbproxy.start?
  %nbproxy model                         which model serves, and which names there are
  %nbproxy model MODEL                   swap it while traffic flows; none for none
  %nbproxy status                        every session: traffic, model, errors
  %nbproxy stop [NAME … | --all]         stop the session, or those named

  %%with_model MODEL                     run this cell with that model serving, then what served before

MODEL is a name in session.models, bm25, words, original, minilm or none, a variable of this notebook (a function, a
model), a folder, a Hugging Face hub id, module:attribute, or the URL of a rerank service. Where several sessions run,
--session NAME (or the variable that holds one) says which; else it is the one called default, or the only one."""

VERBS = ("start", "stop", "model", "status", "help")
OPTIONS: Mapping[str, Sequence[str]] = {
    "start": ("--name", "--model", "--port", "--depth", "--deadline", "--memory"),
    "stop": ("--all",),
    "model": ("--session",),
    "%%with_model": ("--session",),
}
COLUMNS = ["session", "state", "url", "upstream", "model", "shadows", "requests", "searches", "errors", "recorded"]


class Sessions(Shown):
    """What ``%nbproxy status`` shows.

    :ivar frame: one row per session, with ``COLUMNS``.
    """

    def __init__(self, sessions: Sequence[Any]) -> None:
        self.frame = pd.DataFrame([_row(session) for session in sessions], columns=COLUMNS)

    def _tables(self) -> Sequence[Table]:
        notes = () if len(self.frame) else ("no session runs; %nbproxy start begins one",)
        return [Table("nbproxy", self.frame, notes)]


def _row(session: Any) -> list[Any]:
    status = session.status
    routes = status["counts"]["route"]
    model = status["model"]
    return [
        status["name"],
        status["state"],
        session.url,
        status["upstream"],
        model["name"] if model else "none",
        ", ".join(shadow["name"] for shadow in status["shadows"]) or "none",
        sum(n for route, n in routes.items() if route != "own"),
        routes.get("search", 0),
        status["errors"],
        status["recording"]["path"] or "in memory",
    ]


# -- arguments


class _Parser(MagicArgumentParser):  # type: ignore[misc]
    """Says in one line what is wrong; never prints, never exits."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (%nbproxy help)")


def _start_parser() -> _Parser:
    parser = _Parser("%nbproxy start")
    parser.add_argument("upstream", nargs="?")
    for name, kind in {"name": str, "model": str, "port": int, "depth": int, "deadline": float}.items():
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--memory", action="store_true")
    return parser


def _stop_parser() -> _Parser:
    parser = _Parser("%nbproxy stop")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    return parser


def _model_parser(prog: str, nargs: str | None = None) -> _Parser:
    parser = _Parser(prog)
    parser.add_argument("model", nargs=nargs)
    parser.add_argument("--session")
    return parser


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}") from None


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """An error of ours as one line; the whole is its cause."""
    try:
        yield
    except NbproxyError as error:
        line, _, more = str(error).partition("\n")
        line = line.removesuffix("a model is one of").rstrip("; ")
        raise UsageError(f"{line}; %nbproxy help says what a model can be" if more else line) from error


# -- the magics


@magics_class
class NbproxyMagics(Magics):  # type: ignore[misc]
    """``%nbproxy`` and ``%%with_model``."""

    @property
    def names(self) -> Names:
        return Names(self.shell.user_ns)

    @line_magic  # type: ignore[untyped-decorator]
    def nbproxy(self, line: str) -> Any:
        verb, *words = _split(line) or ["help"]
        if {"-h", "--help"} & {verb, *words}:
            verb, words = "help", []
        if verb not in VERBS:
            raise UsageError(unknown("verb of %nbproxy", verb, VERBS))
        do: Callable[[list[str]], Any] = getattr(self, f"_{verb}")
        with _in_one_line():
            return do(words)

    def _help(self, _: list[str]) -> None:
        print(HELP)  # noqa: T201 - asked for

    def _start(self, words: list[str]) -> Any:
        asked = vars(_start_parser().parse_args(words))
        if asked.pop("memory"):
            asked["record"] = False
        given = {name: value for name, value in asked.items() if value is not None}
        if "model" in given:
            running = REGISTRY.running().get(given.get("name", DEFAULT))
            given["model"] = self.names.model(given["model"], running.models if running else {})
        return start(**given)

    def _stop(self, words: list[str]) -> None:
        asked = _stop_parser().parse_args(words)
        running = list(REGISTRY.running().values())
        for session in running if asked.all else [self.names.session(name) for name in asked.names or [None]]:
            session.stop()
            print(f"nbproxy: {session.name} · stopped")  # noqa: T201 - as start says that it started

    def _model(self, words: list[str]) -> None:
        asked = _model_parser("%nbproxy model", "?").parse_args(words)
        session = self.names.session(asked.session)
        if asked.model is not None:
            session.model = self.names.model(asked.model, session.models)
        known = "" if asked.model else f" · there are {', '.join(self.names.models(session.models))}"
        model = session.model
        print(f"nbproxy: {session.name} · model {model.name if model else 'none'}{known}")  # noqa: T201

    def _status(self, words: list[str]) -> Sessions:
        if words:
            raise UsageError(f"%nbproxy status takes no arguments, not {' '.join(words)}")
        return Sessions(self.names.each_session())

    @cell_magic  # type: ignore[untyped-decorator]
    @output_can_be_silenced  # type: ignore[untyped-decorator]
    def with_model(self, line: str, cell: str) -> Any:
        __tracebackhide__ = True  # this frame is no business of whoever reads the traceback of the cell
        asked = _model_parser("%%with_model").parse_args(_split(line))
        with contextlib.ExitStack() as serving:
            with _in_one_line():
                session = self.names.session(asked.session)
                serving.enter_context(session.serving(self.names.model(asked.model, session.models)))
            return _run(self.shell, line, cell)


NbproxyMagics.nbproxy.__doc__ = HELP
NbproxyMagics.with_model.__doc__ = HELP


def _run(shell: Any, line: str, cell: str) -> Any:
    """Run a cell in the notebook's namespace; the value of its last line, if that is an expression.

    The magic's own line stays in front, as a comment, so that a traceback's numbers are those of the cell.
    """
    __tracebackhide__ = True
    for code, run in _compiled(shell, f"%%with_model {line}", cell):
        value = run(code, shell.user_ns)
    return value


def _compiled(shell: Any, magic: str, cell: str) -> list[tuple[CodeType, Callable[..., Any]]]:
    """The cell's statements, to be run by ``exec``, then its last expression, by ``eval``."""
    blank = "\n" * sum(1 for _ in itertools.takewhile(lambda text: not text.strip(), cell.splitlines()))
    source = f"# {magic}\n{blank}{shell.transform_cell(cell)}"  # which takes leading empty lines away
    # Cells are numbered when they begin, and IPython's versions differ in when the count goes up.
    count = [*getattr(shell.compile, "_filename_map", {}).values()][-1:] or [shell.execution_count]
    name = shell.compile.cache(source, count[0], raw_code=f"{magic}\n{cell}")
    try:
        body = shell.transform_ast(shell.compile.ast_parse(source, filename=name)).body
        last = body.pop().value if body and isinstance(body[-1], ast.Expr) else ast.Constant(None)
        code = shell.compile(ast.Module(body, []), name, "exec")
        return [(code, exec), (shell.compile(ast.fix_missing_locations(ast.Expression(last)), name, "eval"), eval)]
    except SyntaxError as error:
        number = error.lineno or 1
        text = source.splitlines()[number - 1 : number]
        raise UsageError(f"line {number} of this cell: {error.msg}: {' '.join(text).strip()}") from error


# -- completion


class Completer:
    """A matcher for IPython's completer: on a line that begins with one of the magics its words, and nobody else's.

    See https://ipython.readthedocs.io/en/stable/api/generated/IPython.core.completer.html (matchers, version 2).
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.matcher = context_matcher(identifier="nbproxy")(lambda context: self(context.text_until_cursor))

    def __call__(self, text: str) -> dict[str, Any]:
        """What may stand at the end of a line, as a ``SimpleMatcherResult``."""
        line = text.rpartition("\n")[2]
        magic, *before = line.split() or [""]
        typed = before.pop() if before and not line[-1:].isspace() else ""
        if magic not in MAGICS or not line[len(magic) :]:
            return {"completions": []}
        found: list[str] = []
        with contextlib.suppress(Exception):  # a proxy that is gone: nothing to offer, and nothing to complain of
            found = [word for word in self._words(magic, before) if word.startswith(typed)]
        return {
            "completions": [SimpleCompletion(word, type="magic") for word in found],
            "matched_fragment": typed,
            "suppress": bool(found),
        }

    def _words(self, magic: str, before: list[str]) -> list[str]:
        names = Names(self._shell.user_ns)
        verb, *rest = [magic, *before] if magic == "%%with_model" else before or [""]
        if not verb:
            return list(VERBS)
        if rest[-1:] == ["--session"]:
            return list(names.sessions())
        if rest[-1:] == ["--model"] or (verb in ("model", "%%with_model") and not rest):
            return [*names.models(_kept(names)), *(() if rest else OPTIONS[verb])]
        return [*(REGISTRY.running() if verb == "stop" else ()), *OPTIONS.get(verb, ())]


def _kept(names: Names) -> Mapping[str, Any]:
    """The models of the session that would be meant, if any."""
    with contextlib.suppress(NbproxyError):
        models: Mapping[str, Any] = names.session().models
        return models
    return {}


MAGICS = ("%nbproxy", "%%with_model")


def load(shell: Any) -> None:
    """Give a shell the magics; a second time changes nothing."""
    unload(shell)
    shell.register_magics(NbproxyMagics)
    shell.Completer.custom_matchers.append(Completer(shell).matcher)


def unload(shell: Any) -> None:
    """Take them away."""
    for kind, name in (("line", "nbproxy"), ("cell", "with_model")):
        shell.magics_manager.magics[kind].pop(name, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", None) != "nbproxy"]
