"""Side by side: words marked, moves, lines between."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.controls import Place, Sight
from nbproxy.panel import sides


def place(original: int, rank: int, text: str = "Red shoes & hats") -> Place:
    return Place(
        doc_id=f"d{original}", index="b", original_rank=original, rank=rank, score=0.5, text=text, returned=True
    )


def sight(*places: Place, **more: object) -> Sight:
    return Sight(**{"exchange_id": "e", "query": "red SHOES", "model": "m", "places": places, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("Red shoes", "red", "[Red] shoes"),
        ("Redder red", "RED", "Redder [red]"),
        ("<b>red</b>", "red b", "&lt;b&gt;[red]&lt;/b&gt;"),
        ("Straße", "STRASSE", "[Straße]"),
        ("plain", None, "plain"),
        ("a b", "a", "a b"),
        ("amp &amp; lt", "amp lt", "[amp] &amp;[amp]; [lt]"),
    ],
)
def test_the_words_of_the_query_are_marked(text: str, query: str | None, shown: str) -> None:
    mark = f'<mark style="{sides._MARK}">'
    found = sides.marked(text, sides.query_words(query)).replace(mark, "[").replace("</mark>", "]")
    assert found == shown


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_becomes_html(text: str, query: str) -> None:
    seen = _Text()
    seen.feed(sides.side_by_side(sight(place(1, 2, text), place(2, 1, text), query=query, model=query)))
    assert seen.tags <= {"table", "caption", "colgroup", "col", "thead", "tbody", "tr", "th", "td", "div", "b", "span",
                         "mark", "svg", "path"}  # fmt: skip


def test_both_orders_with_moves_and_scores() -> None:
    shown = sides.side_by_side(sight(place(1, 3), place(2, 1), place(3, 2)))
    assert 'title="down 2"' in shown
    assert "▼2" in shown
    assert shown.count("▲1") == 2
    assert "3 hits, 2 up, 1 down" in shown
    assert shown.count("<path") == 3
    assert "0.500" in shown


def test_a_hit_that_leaves_the_page_has_a_line_that_leaves_too() -> None:
    places = [place(n, 20 if n == 1 else n - 1 if n <= 20 else n) for n in range(1, 21)]
    shown = sides.side_by_side(sight(*places))
    assert shown.count("<path") == 11  # ten shown on either side, one of them on one only


def test_whose_order_it_is() -> None:
    assert "“red SHOES”, reranked by m" in sides.side_by_side(sight(place(1, 1)))
    assert "“red SHOES”, shadow m" in sides.side_by_side(sight(place(1, 1), role="shadow"))
    assert "no such" in sides.side_by_side(None, "no such")
