"""Facts about one thing (a session, a recording, an exchange) in two columns: HTML, and the same as plain text.

As everywhere, nothing that is shown is trusted: control sequences are taken out, HTML is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from .tables import clean

WIDEST = 300
LONGEST = 4_000  # characters of a text that is folded away
_PRE = "max-height:24em;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere"


def card_html(title: str, facts: Mapping[str, object], folded: Mapping[str, str] = {}) -> str:
    """A fragment that takes its colours from the notebook.

    :param folded: longer texts, each behind its heading until it is clicked.
    """
    rows = "".join(
        f'<tr><th style="text-align:left">{_escaped(name)}</th><td style="text-align:left">{_escaped(value)}</td></tr>'
        for name, value in facts.items()
    )
    caption = f'<caption style="text-align:left;font-weight:bold">{_escaped(title)}</caption>'
    details = "".join(
        f'<details><summary>{_escaped(name)}</summary><pre style="{_PRE}">{html.escape(lines(text))}</pre></details>'
        for name, text in folded.items()
    )
    return f"<div><table>{caption}<tbody>{rows}</tbody></table>{details}</div>"


def card_text(title: str, facts: Mapping[str, object], folded: Mapping[str, str] = {}) -> str:
    """The same without HTML; what is folded there stands below."""
    shown = {_short(name): _short(value) for name, value in facts.items()}
    width = max(map(len, shown), default=0)
    rows = [f"{name.ljust(width)}  {value}" for name, value in shown.items()]
    below = [f"\n{_short(name)}\n{lines(text)}" for name, text in folded.items()]
    return "\n".join([_short(title), *rows, *below])


def lines(text: str) -> str:
    """A text of many lines, harmless and at most ``LONGEST`` characters long."""
    kept = text[:LONGEST]
    shown = "\n".join(_indented(line) for line in kept.splitlines())
    return shown if kept == text else f"{shown}\n… {len(text) - LONGEST:,} characters more"


def _indented(line: str) -> str:
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + clean(body)


def _short(value: object) -> str:
    text = clean(str(value)[: 4 * WIDEST])
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _escaped(value: object) -> str:
    return html.escape(_short(value))


def session_facts(status: Mapping[str, Any], url: str) -> dict[str, str]:
    """What a session is doing, from its status (contract §7)."""
    model, recording, counts = status["model"], status["recording"], status["counts"]
    routes, reasons = counts.get("route", {}), counts.get("reason", {})
    searches = routes.get("search", 0)
    requests = sum(n for route, n in routes.items() if route != "own")
    return {
        "clients ask": url,
        "upstream": status["upstream"],
        "model": f"{model['name']} ({model['fingerprint']})" if model else "none",
        **({"shadows": ", ".join(one["name"] for one in status["shadows"])} if status["shadows"] else {}),
        "requests": f"{requests:,}, of these {searches:,} searches{_reasons(reasons)}",
        "recorded": f"{recording['exchanges']:,} in {recording['path'] or 'memory only'}",
        **({"errors": f"{status['errors']:,}, the newest: session.errors[-1]"} if status["errors"] else {}),
    }


def _reasons(reasons: Mapping[str, int]) -> str:
    """Which searches were not reranked."""
    why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda pair: -pair[1]))
    return f" (not reranked: {why})" if why else ""
