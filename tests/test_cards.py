"""Cards show facts, in HTML and as text, and nothing in them can do harm."""

from __future__ import annotations

from nbproxy.cards import LONGEST, card_html, card_text, lines

EVIL = "<script>alert(1)</script>\x1b[31m'\" & \u202etxt"


def test_html_is_escaped_and_text_is_without_control_sequences() -> None:
    html, text = card_html(EVIL, {EVIL: EVIL}, {EVIL: EVIL}), card_text(EVIL, {EVIL: EVIL}, {EVIL: EVIL})
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 5
    assert not any(character in html + text for character in "\x1b\u202e")
    assert text.count("alert(1)") == 5


def test_both_say_the_same() -> None:
    facts = {"model": "bm25", "requests": 3}
    assert card_text("a session", facts, {"body": "{\n  1\n}"}) == (
        "a session\nmodel     bm25\nrequests  3\n\nbody\n{\n  1\n}"
    )
    html = card_html("a session", facts, {"body": "{\n  1\n}"})
    assert all(part in html for part in ("a session", ">model<", ">bm25<", ">3<", "<summary>body<", "{\n  1\n}"))


def test_long_texts_are_cut() -> None:
    assert lines("x" * (LONGEST + 7)) == "x" * LONGEST + "\n… 7 characters more"
    assert len(card_html("t", {"a": "x" * 10**7})) < 1000
    assert len(card_text("t", {"a": "x" * 10**7})) < 1000
