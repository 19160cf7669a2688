"""The command line: ``nbproxy demo``, ``serve``, ``live``, ``report``, ``convert``, ``doctor``.

Laws:

- A command is a function in ``COMMANDS``; its docstring is its help. What is heavy is imported inside of it.
- Exit codes: 0 done, 1 failed (one line on standard error, no traceback), 2 wrong usage.
- Standard output is for results: with ``--json`` nothing else is on it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._version import __version__
from .commands import (
    MODELS,
    Authorities,
    Credentials,
    Json,
    Pinned,
    Verify,
    auth_of,
    console,
    convert,
    doctor,
    offered,
    print_json,
    report,
)
from .errors import ConfigError, NbproxyError

if TYPE_CHECKING:
    from .session import Session

_MODEL = (
    "What reranks: none, original, bm25, words, minilm (the packaged all-MiniLM-L6-v2), a folder, a Hugging Face hub "
    "id, a rerank service's URL, or module:attribute."
)


def _dialects(incomplete: str) -> list[str]:
    from .dialects import DIALECTS, PRESETS

    return offered(*DIALECTS, *PRESETS)(incomplete)


Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The proxy's port; a free one if left out.")]
Record = Annotated[Path | None, typer.Option(help="Where to record; a new directory of yours if left out.")]


def demo(
    model: Annotated[str, typer.Option(help=_MODEL, autocompletion=MODELS)] = "minilm",
    port: Port = None,
    record: Record = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first queries.")] = None,
    as_json: Json = False,
) -> None:
    """See search results get better: the whole of nbproxy in two minutes, on your machine.

    Starts a small search engine with a judged collection, puts the proxy in front, asks every query with three
    rankings (the engine's own, BM25, a sentence model), and prints which is better, by how much, and what moved.

    [bold]Examples[/bold]

      nbproxy demo                     all queries

      nbproxy demo --limit 10          a quick look

      nbproxy demo --model ./my-model  a model of yours instead
    """
    from .demo import run

    # What a person reads while it works stays off standard output where a program reads the result there.
    result = run(
        console(stderr=as_json, quiet=as_json), model=_demo_model(model), port=port, record=record, limit=limit
    )
    if as_json:
        print_json(result.as_dict())


def serve(
    upstream: Annotated[str, typer.Argument(help="The search engine: http://… or https://…")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name by which others reach it for nbproxy.connect; may be repeated."),
    ] = None,
    port: Port = None,
    model: Annotated[str, typer.Option(help=_MODEL, autocompletion=MODELS)] = "none",
    depth: Annotated[int, typer.Option(min=1, help="How many hits are fetched and reranked.")] = 50,
    fields: Annotated[list[str] | None, typer.Option("--field", help="What the model reads; may be repeated.")] = None,
    dialects: Annotated[
        list[str] | None,
        typer.Option(
            "--dialect", help="The search API; found out if left out; may be repeated.", autocompletion=_dialects
        ),
    ] = None,
    record: Record = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Keep the recording in memory only.")] = False,
    deadline: Annotated[float, typer.Option(help="Seconds a search may wait for the model.")] = 5.0,
    drain: Annotated[float, typer.Option(min=0, help="Seconds that open exchanges have at the end.")] = 5.0,
    timeout: Annotated[float, typer.Option(help="Seconds between bytes from the search engine.")] = 30.0,
    verify: Verify = True,
    ca: Authorities = None,
    cert: Annotated[Path | None, typer.Option(help="A client certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key, if it is not in the same file.")] = None,
    fingerprint: Pinned = None,
    auth: Credentials = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", help="'Name: value' on every request upstream; may be repeated.")
    ] = None,
    host_header: Annotated[
        str,
        typer.Option(
            help="Host as it goes upstream: upstream (its own) or preserve.",
            autocompletion=offered("upstream", "preserve"),
        ),
    ] = "upstream",
    as_json: Json = False,
) -> None:
    """Put a reranking, recording proxy in front of a search engine, until Ctrl-C.

    Point your search client at the printed address. In a notebook, nbproxy.connect(URL) is the session: swap models,
    read its frames, compare, evaluate. In a terminal, nbproxy live URL shows it. Later, nbproxy.load(DIRECTORY) reads
    what was recorded. From another machine, nbproxy.connect needs the token, which lies in the printed file; whoever
    has it can run code in this process (a model may be module:attribute).

    [bold]Examples[/bold]

      nbproxy serve http://localhost:9200

      nbproxy serve http://localhost:9200 --port 9201 --model bm25

      nbproxy serve http://localhost:9200 --host 0.0.0.0 --allow-host search.team.example

      nbproxy serve https://search.example.com --model cross-encoder/ms-marco-MiniLM-L6-v2 --field title --field body

      NBPROXY_AUTH=elastic:secret nbproxy serve https://localhost:9200 --fingerprint 3F:A2:…
    """
    if record is not None and no_record:
        raise typer.BadParameter("--record and --no-record exclude each other")
    if key is not None and cert is None:
        raise typer.BadParameter("--key goes with --cert")
    allowed = _host_names(allow_hosts or [])
    options = {
        "host": host,
        "port": port,
        "model": _model(model),
        "depth": depth,
        "fields": fields or None,
        "dialect": dialects or None,
        "record": False if no_record else record,
        "deadline": deadline,
        "drain": drain,
        "timeout": timeout,
        "verify": verify,
        "ca": ca,
        "cert": (str(cert), str(key)) if cert and key else cert and str(cert),
        "fingerprint": fingerprint,
        "auth": auth_of(auth),
        "headers": dict(map(_field, headers or [])) or None,
        "host_header": host_header,
    }
    _until_signalled(lambda: _started(upstream, options, allowed, as_json))


def live(
    url: Annotated[str | None, typer.Argument(help="The proxy; your newest one on this machine if left out.")] = None,
    token: Annotated[str | None, typer.Option(help="Its token.", envvar="NBPROXY_TOKEN")] = None,
) -> None:
    """Watch a running proxy: rates, the newest exchanges, the last reranked search, models and their latency.

    Keys: p pauses, q quits, / filters, the arrows select an exchange, m chooses the model that serves. Where the output
    is no terminal, each exchange is a line.

    [bold]Examples[/bold]

      nbproxy live                          your newest proxy on this machine

      nbproxy live http://127.0.0.1:9201    this one; its token is found
    """
    from .live import attach

    attach(url, token)


COMMANDS: tuple[Callable[..., None], ...] = (demo, serve, live, report, convert, doctor)


# -- putting together


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with what nbproxy raises told in one line."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except NbproxyError as error:
            typer.echo(f"nbproxy: {error}", err=True)
            raise typer.Exit(1) from error

    # Its lines are as long as the source's: where the terminal's end is for whoever prints them to say.
    run.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))
    return run


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nbproxy {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A proxy in front of your search engine: rerank, record, compare, evaluate.

    [bold]Begin with[/bold]

      nbproxy demo                          see it work

      nbproxy doctor http://localhost:9200  is your search engine ready for it?

      nbproxy serve http://localhost:9200   put it in front of yours

    [bold]Completion[/bold]

      nbproxy --install-completion          Tab completes commands and options

    Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


def _app() -> typer.Typer:
    app = typer.Typer(name="nbproxy", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.callback()(_root)
    for command in COMMANDS:
        app.command()(_told(command))
    return app


app = _app()


def main() -> None:
    """The entry point of ``nbproxy``."""
    app()


# -- what the commands share


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"--header is 'Name: value', not {text!r}")
    return name.strip(), value.strip()


def _model(text: str) -> Any:
    """What ``--model`` stands for."""
    from .named import named

    try:
        return named(text)
    except ConfigError as error:
        raise error if ":" not in text else ConfigError(f"--model {error}") from error


def _demo_model(text: str) -> Any:
    """None is the demo's own model; that the others have three systems to compare, it sees to itself."""
    return None if text == "minilm" else _model(text)


def _host_names(hosts: Sequence[str]) -> frozenset[str]:
    from .ports import host_names

    return host_names(hosts)


def _started(upstream: str, options: Mapping[str, Any], allowed: frozenset[str], as_json: bool) -> Session:
    """The session; where it is and how to connect is printed, for people or as JSON."""
    from .registry import start

    with contextlib.redirect_stdout(io.StringIO() if as_json else sys.stdout):
        session = start(upstream, **options)
    session.allowed_hosts = allowed
    if as_json:
        print_json(_facts(session))
    else:
        typer.echo(f'nbproxy: in a notebook: nbproxy.connect("{session.url}") · token in {session.token_file}')
    sys.stdout.flush()
    return session


def _facts(session: Session) -> dict[str, Any]:
    """Where it is, and where its token lies: what a program needs that started it."""
    return {
        "url": session.url,
        "port": session.port,
        "upstream": session.upstream,
        "model": session.model.name if session.model else None,
        "recording": str(session.recorded_in) if session.recorded_in else None,
        "token_file": str(session.token_file.absolute()) if session.token_file.exists() else None,
        "pid": os.getpid(),
    }


def _until_signalled(open_session: Callable[[], Session]) -> None:
    """Serve until SIGINT or SIGTERM, both of which mean: end cleanly. A second one ends it at once."""
    with _interrupting(signal.SIGINT, signal.SIGTERM):
        session = None
        try:
            session = open_session()
            session.wait()
        except KeyboardInterrupt:
            pass
        finally:
            if session is not None:
                session.stop()


@contextlib.contextmanager
def _interrupting(*numbers: signal.Signals) -> Iterator[None]:
    """Signals that raise KeyboardInterrupt; SIGINT too, which a shell makes its background jobs ignore."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
