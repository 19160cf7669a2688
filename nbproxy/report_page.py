"""How a report looks: one HTML page that needs nothing else. Pure: blocks in, text out.

Laws: what was recorded is cleaned and escaped, all of it, here; the page loads nothing and runs nothing (its own
security policy says so too); it is read by eye, by keyboard and by ear, in light and dark, and on paper.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .tables import Table, cells, clean

WIDEST = 160
LONG = 20  # characters of a text in a table
_NUMBER = re.compile(r"[+▲▼-]?[\d,.]+ ?%?|–|=")  # in a cell: shown to the right


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing with what it shows in words; ``svg`` is trusted, the rest is not."""

    title: str
    svg: str
    words: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A search side by side: ``rows`` of (rank, upstream's, move, served)."""

    title: str
    a: str
    b: str
    rows: Sequence[tuple[int, str, int | None, str]]


Block = Table | Picture | Moved | str


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page; ``name`` is its anchor."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default=())


def page(title: str, facts: Mapping[str, str], tiles: Mapping[str, str], sections: Sequence[Section], foot: str) -> str:
    """The whole file."""
    links = "".join(f'<li><a href="#{one.name}">{text(one.title)}</a></li>' for one in sections)
    told = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    counted = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in tiles.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_POLICY}\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{text(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#{sections[0].name if sections else "end"}">Skip to the findings</a>\n'
        f'<header><h1>{text(title)}</h1><dl class="facts">{told}</dl></header>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>\n<dl class="tiles">{counted}</dl>\n'
        + "\n".join(map(_section, sections))
        + f'\n</main>\n<footer id="end">{text(foot)}</footer>\n</body>\n</html>\n'
    )


def text(value: object, width: int = WIDEST) -> str:
    """Recorded or not, as HTML: one line, no control characters; half a surrogate pair is a question mark."""
    line = clean(str(value)[: 8 * width]).encode("utf-8", "replace").decode()
    return html.escape(line if len(line) <= width else line[: width - 1] + "…")


def _section(one: Section) -> str:
    blocks = "\n".join(map(_block, one.blocks))
    lead = f"<p>{text(one.lead, 1000)}</p>" if one.lead else ""
    return (
        f'<section aria-labelledby="{one.name}"><h2 id="{one.name}" tabindex="-1">{text(one.title)}</h2>'
        f"{lead}{blocks}</section>"
    )


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        return _picture(block)
    return _moved(block) if isinstance(block, Moved) else f"<p>{text(block, 1000)}</p>"


def _picture(one: Picture) -> str:
    return (
        f'<figure role="img" aria-label="{text(one.title)}. {text(one.words, 400)}"><h3>{text(one.title)}</h3>{one.svg}'
        f"<figcaption>{text(one.words, 400)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    heads, rows, numbers = cells(table.frame)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(heads)
    told = [number or all(map(_NUMBER.fullmatch, column)) for number, column in zip(numbers, columns, strict=True)]
    kinds = [_kind(number, column) for number, column in zip(told, columns, strict=True)]
    first = "".join(f'<th scope="col"{kind}>{text(head)}</th>' for head, kind in zip(heads, kinds, strict=True))
    body = "".join(f"<tr>{_row(row, kinds)}</tr>" for row in rows)
    notes = "".join(f'<p class="note">{text(note, 400)}</p>' for note in table.notes)
    return _framed(table.title, f"<thead><tr>{first}</tr></thead><tbody>{body}</tbody>") + notes


def _kind(number: bool, column: Sequence[str]) -> str:
    """Numbers stand to the right; long texts keep some width on a narrow page, where the table is scrolled."""
    return ' class="n"' if number else ' class="t"' if max(map(len, column), default=0) > LONG else ""


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    first = f'<th scope="row"{kinds[0]}>{text(row[0])}</th>' if row else ""
    return first + "".join(f"<td{kind}>{text(one)}</td>" for one, kind in zip(row[1:], kinds[1:], strict=True))


def _framed(title: str, inner: str, kind: str = "scroll") -> str:
    """A table that is wider than the page is scrolled on its own, by keyboard too; narrow ones stand side by side."""
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{text(title)}">'
        f"<table><caption><span>{text(title)}</span></caption>{inner}</table></div>"
    )


def _moved(one: Moved) -> str:
    heads = (("rank", ' class="n"'), (one.a, ""), ("moved", ' class="m"'), (one.b, ""))
    first = "".join(f'<th scope="col"{kind}>{text(head)}</th>' for head, kind in heads)
    body = "".join(
        f'<tr><th scope="row" class="n">{rank}</th><td>{text(before, 110)}</td>'
        f"{_move(move)}<td>{text(after, 110)}</td></tr>"
        for rank, before, move, after in one.rows
    )
    return _framed(one.title, f"<thead><tr>{first}</tr></thead><tbody>{body}</tbody>", "scroll wide")


def _move(move: int | None) -> str:
    """``▲3`` up, ``▼2`` down, ``=``: signs beside the colours, words for who listens."""
    if move is None:
        return '<td class="m"></td>'
    kind, sign, words = (("up", "▲", "up") if move > 0 else ("down", "▼", "down")) if move else ("", "=", "unmoved")
    far = str(abs(move)) if move else ""
    return f'<td class="m {kind}"><span aria-label="{words} {far}">{sign}{far}</span></td>'


_POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'\">"
)
_STYLE = """
:root{color-scheme:light dark;--back:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#d7dce2;--card:#f5f7f9;--link:#1f5f9f;
--up:#1a7446;--down:#a34a05}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--ink:#e6e9ed;--soft:#9ca6b2;--line:#353c45;--card:#1d2229;
--link:#7db7f0;--up:#5fc793;--down:#f0a35e}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0 0 .5rem}h2{font-size:1.3rem;margin:2.5rem 0 .3rem;border-bottom:1px solid var(--line)}
h3,caption{font-size:1rem;font-weight:600;margin:0;text-align:left;padding:.4rem 0}
a{color:var(--link)}a:focus-visible,.scroll:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
dl{margin:0}dd{margin:0}.facts div{display:flex;gap:.6rem}.facts dt{color:var(--soft);min-width:7rem}
.facts dd{overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;padding:.6rem 0;margin:.8rem 0;
border-block:1px solid var(--line)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.8rem}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;
display:flex;flex-direction:column-reverse;justify-content:flex-end}
.tiles dt{color:var(--soft);font-size:.85rem}.tiles dd{font-size:1.35rem;font-weight:600}
.scroll{overflow-x:auto;margin:1rem 2.5rem 0 0;display:inline-block;max-width:100%;vertical-align:top}
.wide{display:block;margin-right:0}.wide table{width:100%}.wide td:not(.m){width:47%}
table{border-collapse:collapse;font-size:.92rem}
th,td{padding:.22rem .9rem .22rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-weight:500;vertical-align:bottom;overflow-wrap:normal}
tbody th{font-weight:400}th,td{overflow-wrap:break-word;min-width:3.2rem}.wide td{overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.m{text-align:center;white-space:nowrap}
.up{color:var(--up)}.down{color:var(--down)}.note,figcaption,footer{color:var(--soft);font-size:.88rem;margin:.2rem 0}
figure{margin:1.2rem 0}figure svg{width:100%;height:auto;max-width:60rem;display:block;color:var(--ink)}
@media (max-width:40rem){body{padding:1rem}figure{overflow-x:auto}figure svg{min-width:34rem}.scroll{margin-right:1rem}
.tiles{grid-template-columns:repeat(auto-fit,minmax(6.2rem,1fr))}.wide table{min-width:38rem}
th,td{white-space:nowrap}.t,.wide td{white-space:normal;min-width:11rem}.wide .m{min-width:0}
caption span{display:inline-block;max-width:calc(100vw - 3rem);position:sticky;left:0}
figcaption{position:sticky;left:0}}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.6rem}
@media print{:root{color-scheme:light;--back:#fff;--ink:#000;--soft:#444;--line:#bbb;--card:#fff;--up:#000;--down:#000}
body{max-width:none;padding:0;font-size:10pt}nav,.skip{display:none}.scroll{overflow:visible}
tr,figure,.tiles div{break-inside:avoid}h2,h3,caption{break-after:avoid}}
"""
