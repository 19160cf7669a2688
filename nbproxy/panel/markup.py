"""What all parts of the page share: type, colours of the theme, tables of cells that are HTML already.

Laws: no colour stands for itself, there is always a sign or a word beside it. The colours are Okabe and Ito's (Color
Universal Design, 2008), which the colour-blind can tell apart, each mixed with the theme's own text colour, so that
they are darker on white and lighter on black. The only script is :data:`COPY`, a constant.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from .. import views

FONT = "font-family:var(--jp-ui-font-family,sans-serif);font-size:var(--jp-ui-font-size1,13px);line-height:1.4"
MONO = "font-family:var(--jp-code-font-family,var(--vscode-editor-font-family,monospace));font-size:12px"
COLOUR = "color:var(--jp-content-font-color1,var(--vscode-foreground,inherit))"
FAINT = "opacity:.75"
RULE = "1px solid color-mix(in srgb,currentColor 25%,transparent)"
CAPTION = "text-align:left;font-weight:600;padding:8px 0 2px;color:inherit"
_INKS = {"good": "#009E73", "warn": "#E69F00", "bad": "#D55E00", "up": "#0072B2", "down": "#D55E00", "plain": "#56B4E9"}
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
COPY = (  # no navigator.clipboard: it is missing where a notebook's server is reached by plain http
    "const r=document.createRange();r.selectNodeContents(this.previousElementSibling);const s=getSelection();"
    "s.removeAllRanges();s.addRange(r);document.execCommand('copy');this.textContent='copied'"
)


def ink(name: str) -> str:
    """A colour by what it says, readable on white and on black."""
    return mixed(_INKS[name])


def mixed(colour: str) -> str:
    """A colour, brought nearer to the theme's text."""
    return f"color-mix(in srgb,{colour} 78%,currentColor)"


def region(label: str, parts: Iterable[str]) -> str:
    """A landmark that a screen reader can go to."""
    title = views.escaped(label)
    return f'<div role="region" aria-label="{title}" style="{FONT};{COLOUR}">{"".join(parts)}</div>'


def copied(text: str, what: str) -> str:
    """``text`` (not escaped yet) with a button that copies it."""
    button = (
        '<button type="button" class="jupyter-button" style="width:auto;height:22px;line-height:20px;padding:0 8px"'
    )
    return (
        f'<code style="{MONO};background:none">{views.escaped(text)}</code> '
        f'{button} aria-label="copy {html.escape(what)}" onclick="{html.escape(COPY)}">copy</button>'
    )


def message(text: str, kind: str = "warn") -> str:
    """A sentence that a screen reader says when it comes."""
    if not text:
        return ""
    return f'<div role="status"><b><span style="color:{ink(kind)}">⚠</span> {views.escaped(text, 400)}</b></div>'


def grid(caption: str, heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; heads are (text, side)."""
    sides = [side for _, side in heads]
    cell = "padding:1px 12px 1px 0;vertical-align:top;text-align:"
    top = "".join(
        f'<th scope="col" style="{cell}{side};border-bottom:{RULE}">{html.escape(text)}</th>' for text, side in heads
    )
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}{s}">{c}</td>' for c, s in zip(row, sides, strict=True)) + "</tr>"
        for row in rows
    )
    title = f'<caption style="{CAPTION}">{caption}</caption>'
    style = f"border-collapse:collapse;background:none;{FONT}"
    return f'<table style="{style}">{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
