"""One search side by side: upstream's order, the lines between, a model's order."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from .. import views
from ..controls import Place, Sight
from .charts import slopes
from .markup import CAPTION, COLOUR, FAINT, FONT, RULE, ink

RANKS = 10
ROW = 42  # pixels: two lines of text
NARROWEST = 640  # pixels of the table
_SHOWN = 140
_WORD = re.compile(r"\w+")
_MARK = "background:color-mix(in srgb,#E69F00 30%,transparent);color:inherit;font-weight:600;text-decoration:underline"


def side_by_side(sight: Sight | None, nothing: str = "no reranked search yet") -> str:
    """The table with the slope chart in its middle."""
    if sight is None:
        return f'<div style="{FONT};{COLOUR};padding:8px 0"><i>{views.escaped(nothing)}</i></div>'
    pairs = views.pairs(sight, RANKS)
    words = query_words(sight.query)
    chart = slopes(_moves(pairs), len(pairs), ROW)
    rows = "".join(_row(n, pair, words, chart, len(pairs)) for n, pair in enumerate(pairs))
    caption = f"{html.escape(entitled(sight))} · {_summary(sight)}"
    heads = "".join(
        f'<th scope="col" style="text-align:{side};border-bottom:{RULE};padding:2px 6px">{text}</th>'
        for text, side in (("rank", "right"), ("upstream’s order", "left"), ("", "left"), ("rank", "right"),
                           ("moved", "left"), (f"{html.escape(_role(sight))}", "left"), ("score", "right"))
    )  # fmt: skip
    style = f"border-collapse:collapse;table-layout:fixed;width:100%;min-width:{NARROWEST}px;background:none;"
    style += f"{FONT};{COLOUR}"
    columns = "".join(f'<col style="width:{w}">' for w in ("40px", "auto", "100px", "40px", "56px", "auto", "72px"))
    title = f'<caption style="{CAPTION}">{caption}</caption>'
    return (
        f'<div style="overflow-x:auto"><table style="{style}">{title}<colgroup>{columns}</colgroup>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def entitled(sight: Sight) -> str:
    """The heading: what was asked, and whose order it is."""
    if sight.role == "served":
        return views.entitled(sight)
    return f"“{views.plain(sight.query or views.NOTHING, 80)}”, {_role(sight)}"


def _role(sight: Sight) -> str:
    model = views.plain(sight.model or views.NONE, 60)
    return f"reranked by {model}" if sight.role == "served" else f"{views.plain(sight.role, 10)} {model}"


def _summary(sight: Sight) -> str:
    risen = sum(1 for place in sight.places if place.rank < place.original_rank)
    fallen = sum(1 for place in sight.places if place.rank > place.original_rank)
    return f"{len(sight.places)} hits, {risen} up, {fallen} down"


def _moves(pairs: Sequence[views.Pair]) -> list[tuple[int, int]]:
    """Each hit's rows on both sides, once; below the last row where its rank is not shown."""
    at = {pair.rank: n for n, pair in enumerate(pairs)}
    shown = {id(place): place for pair in pairs for place in (pair.before, pair.after) if place is not None}
    last = max(at, default=0)

    def row(rank: int) -> int:
        return at.get(rank, len(pairs) + 1 if rank > last else -2)

    return [(row(place.original_rank), row(place.rank)) for place in shown.values()]


def _row(n: int, pair: views.Pair, words: Sequence[str], chart: str, rows: int) -> str:
    middle = f'<td rowspan="{rows}" style="padding:0 4px;height:{rows * ROW}px">{chart}</td>' if n == 0 else ""
    number = f'style="text-align:right;padding:0 6px;{FAINT}"'
    score = "" if pair.after is None else views.score(pair.after.score)
    return (
        f'<tr style="height:{ROW}px;background:none"><td {number}>{pair.rank}</td>{_hit(pair.before, words)}{middle}'
        f"<td {number}>{pair.rank}</td>{_moved(pair.after)}{_hit(pair.after, words)}"
        f'<td style="text-align:right;padding:0 6px">{score}</td></tr>'
    )


def _moved(place: Place | None) -> str:
    if place is None:
        return "<td></td>"
    rise = place.original_rank - place.rank
    colour = f"color:{ink('up' if rise > 0 else 'down')};font-weight:600" if rise else FAINT
    return (
        f'<td style="text-align:left;padding:0 6px;white-space:nowrap"><span title="{views.move_words(place)}" '
        f'style="{colour}">{views.move(place)}</span></td>'
    )


def _hit(place: Place | None, words: Sequence[str]) -> str:
    if place is None:
        return "<td></td>"
    name = views.escaped(place.doc_id if place.doc_id is not None else "(no id)", 24)
    text = marked(place.text or "", words)
    left = "" if place.returned else ' <span title="not in the answer’s page">·</span>'
    box = f"max-height:{ROW - 4}px;overflow:hidden;line-height:{(ROW - 4) // 2}px;overflow-wrap:anywhere"
    return f'<td style="text-align:left;padding:0 6px"><div style="{box}"><b>{name}</b>{left} {text}</div></td>'


def query_words(query: str | None) -> list[str]:
    """The words to be marked: what is between white space and punctuation, of two letters or more."""
    found = {word for word in _WORD.findall((query or "")[:1000].casefold()) if len(word) > 1}
    return sorted(found, key=len, reverse=True)[:32]


def marked(text: str, words: Sequence[str], width: int = _SHOWN) -> str:
    """A text as HTML, the query's words in it marked. Words are found first, each piece is escaped then."""
    line = views.plain(text, width)
    if not words:
        return html.escape(line)
    known = set(words)
    out, at = [], 0
    for match in _WORD.finditer(line):
        if match[0].casefold() in known:
            out += [html.escape(line[at : match.start()]), f'<mark style="{_MARK}">{html.escape(match[0])}</mark>']
            at = match.end()
    return "".join([*out, html.escape(line[at:])])
