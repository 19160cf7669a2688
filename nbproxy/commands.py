"""The commands that read: ``report``, ``convert``, ``doctor``; and what all commands share. See :mod:`nbproxy.cli`."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from .patient import Finding, Patient


def offered(*names: str) -> Callable[[str], list[str]]:
    """What a shell completes an option's value to; where none of them fits, it offers files."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


MODELS = offered("none", "original", "bm25", "words", "minilm")
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Source = Annotated[Path, typer.Argument(help="A recording's directory (session.recording.path).")]
Verify = Annotated[bool, typer.Option(help="Check the search engine's certificate.")]
Authorities = Annotated[Path | None, typer.Option(help="A file of authorities to check it by.")]
Pinned = Annotated[str | None, typer.Option(help="SHA-256 that the certificate, or its CA's, must have.")]
Credentials = Annotated[
    str | None, typer.Option(envvar="NBPROXY_AUTH", help="user:password, an API key, or a scheme and credentials.")
]


def report(
    recording: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")],
    qrels: Annotated[
        Path | None, typer.Option(help="Judgments: TREC's or BEIR's lines, or JSON lines. They bring an evaluation.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="The judged queries' texts, where the judgments' ids were not sent along.")
    ] = None,
    title: Annotated[str, typer.Option(help="The page's title.")] = "nbproxy report",
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about a recording, with pictures.

    Traffic, latency (split into upstream and reranking), what reranking changed (means, the furthest moves, searches
    side by side), interleaving, errors; with --qrels also an evaluation with tests. The page needs nothing else: send
    it, print it, keep it. Needs matplotlib: pip install "nbproxy\\[plot]".

    [bold]Examples[/bold]

      nbproxy report ./recording -o report.html

      nbproxy report ./recording -o report.html --qrels qrels.tsv --queries queries.jsonl
    """
    from .datasets import read_qrels, read_queries
    from .recording import load
    from .report import STEPS, write

    judged = None if qrels is None else read_qrels(qrels)
    asked = None if queries is None else read_queries(queries)
    with _progress("reading", STEPS) as told:
        steps = itertools.count(1)
        path = write(
            load(recording), output, judged, asked, title=title, done=lambda what: told(what, next(steps), STEPS)
        )
    facts = {"report": str(path), "bytes": path.stat().st_size}
    if as_json:
        print_json(facts)
    else:
        typer.echo(f"nbproxy: {path} ({facts['bytes']:,} bytes)")


class Rows(StrEnum):
    """What ``convert`` writes."""

    EXCHANGES = "exchanges"
    HITS = "hits"


def convert(
    recording: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file: .parquet, .csv, .arrow or .feather.")],
    rows: Annotated[Rows, typer.Option(help="One row for each exchange, or for each hit.")] = Rows.EXCHANGES,
    as_json: Json = False,
) -> None:
    """Write a recording as Parquet, CSV or Arrow; the file's ending says which.

    [bold]Examples[/bold]

      nbproxy convert ./recording -o exchanges.parquet

      nbproxy convert ./recording -o hits.csv --rows hits
    """
    from .convert import What
    from .convert import convert as converted
    from .recording import load

    with _progress("reading") as told:
        what: What = "hits" if rows is Rows.HITS else "exchanges"
        count = converted(load(recording), output, what, done=lambda at, of: told("writing", at, of))
    if as_json:
        print_json({"file": str(output), "rows": count})
    else:
        typer.echo(f"nbproxy: {output} ({count:,} rows)")


def doctor(
    url: Annotated[
        str | None, typer.Argument(help="A search engine or a running proxy; your newest proxy if left out.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Load this model too, as serve --model would.", autocompletion=MODELS)
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Where it is to record.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Where it is to listen.")] = None,
    verify: Verify = True,
    ca: Authorities = None,
    fingerprint: Pinned = None,
    auth: Credentials = None,
    token: Annotated[str | None, typer.Option(help="The proxy's token.", envvar="NBPROXY_TOKEN")] = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong, and say what to do about it. Changes nothing.

    Upstream (reachable, product, credentials, certificate), clients that sniff, the proxy if one runs, its token and
    errors, the port, the model, the disk, the libraries. Exit code 1: something does not work.

    [bold]Examples[/bold]

      nbproxy doctor                         this machine, your newest proxy

      nbproxy doctor http://localhost:9200   before nbproxy serve

      NBPROXY_AUTH=elastic:secret nbproxy doctor https://localhost:9200
    """
    from .patient import patient as patient_at

    options = {"verify": verify, "ca": ca, "fingerprint": fingerprint, "auth": auth_of(auth)}
    looked_at = patient_at(url, tls=options, token=token, model=model, record=record, port=port)
    found = _told(looked_at, quiet=as_json)
    failed = any(finding.state == "fail" for _, finding in found)
    if as_json:
        print_json(_diagnosis(looked_at, found, failed))
    if failed:
        raise typer.Exit(1)


def _diagnosis(patient: Patient, found: list[tuple[str, Finding]], failed: bool) -> dict[str, Any]:
    return {
        "version": __version__,
        "upstream": patient.place.url if patient.place else None,
        "proxy": patient.proxy,
        "ok": not failed,
        "findings": [{"check": name, **finding._asdict()} for name, finding in found],
    }


_MARKS = {"ok": ("✓ ok  ", "green"), "warn": ("! warn", "bold yellow"), "fail": ("✗ fail", "bold red")}


def _told(patient: Patient, *, quiet: bool) -> list[tuple[str, Finding]]:
    """Print each finding as it is found; gives them all."""
    from rich.padding import Padding
    from rich.text import Text

    from .doctor import examined

    out, found, before = console(quiet=quiet, highlight=False), [], ""
    for name, finding in examined(patient):
        found.append((name, finding))
        mark, style = _MARKS[finding.state]
        head = Text.assemble((f"{'' if name == before else name:<10}", "bold"), (mark, style), " ")
        out.print(_hung(head, Text(finding.what)))
        if finding.todo:
            out.print(Padding(Text(f"→ {finding.todo}", style="" if finding.state != "ok" else "dim"), (0, 0, 0, 17)))
        before = name
    counts = {state: sum(finding.state == state for _, finding in found) for state in _MARKS}
    out.print(Text(f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} wrong", style="bold"))
    return found


def _hung(head: Any, rest: Any) -> Any:
    """``rest`` beside ``head``, its further lines below its first."""
    from rich.table import Table

    row = Table.grid(padding=0)
    row.add_column(width=17, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(head, rest)
    return row


# -- what the commands share


def auth_of(text: str | None) -> tuple[str, str] | str | None:
    """``user:password``; what has a space says its scheme itself, what has no colon is an API key."""
    if text is None or " " in text or ":" not in text:
        return text
    user, _, password = text.partition(":")
    return user, password


def console(**options: Any) -> Console:
    from rich.console import Console

    return Console(**options)


def print_json(value: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


@contextlib.contextmanager
def _progress(first: str, steps: int | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, if that is a terminal; it is gone at the end. Where it is told the steps only later, it
    moves to and fro until then."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(first, total=steps)
        # Drawn at once: a step may hold the interpreter for longer than the bar's own thread waits.
        yield lambda what, at, of: bar.update(task, completed=at, total=of, description=what.lower(), refresh=True)
