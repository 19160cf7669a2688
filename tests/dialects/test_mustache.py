"""Templates rendered, or not where only upstream can."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects.mustache import render

PARAMS: dict[str, Any] = {
    "q": 'red "shoes"',
    "n": 5,
    "on": True,
    "off": False,
    "list": ["a", "b"],
    "empty": [],
    "at": {"city": "Paris", "n": 1},
}

RENDERED = {
    "nothing": "nothing",
    '{"q":"{{q}}"}': '{"q":"red \\"shoes\\""}',
    "{{ n }}": "5",
    "{{on}} {{off}}": "true false",
    "{{{q}}}": 'red "shoes"',
    "{{&q}}": 'red "shoes"',
    "{{at.city}}": "Paris",
    "{{missing}}": "",
    "{{! a comment }}x": "x",
    "{{n}}{{^n}}10{{/n}}": "5",
    "{{m}}{{^m}}10{{/m}}": "10",
    "{{#on}}yes {{q}}{{/on}}": 'yes red \\"shoes\\"',
    "{{#off}}yes{{/off}}": "",
    "{{#empty}}yes{{/empty}}{{^empty}}no{{/empty}}": "no",
    "{{#at}}{{city}} {{q}}{{/at}}": 'Paris red \\"shoes\\"',
    "{{#toJson}}at{{/toJson}}": '{"city": "Paris", "n": 1}',
    "{{#toJson}}list{{/toJson}}": '["a", "b"]',
    "{{#join}}list{{/join}}": "a,b",
    "{{#url}}{{n}}/x y{{/url}}": "5%2Fx%20y",
    "{{#list}}{{.}}{{/list}}": None,
    "{{list}}": None,
    "{{#join}}q{{/join}}": None,
    "{{> partial}}": None,
    "{{=<% %>=}}": None,
    "{{#open}}": None,
    "{{": None,
}


@pytest.mark.parametrize(("template", "rendered"), RENDERED.items())
def test_rendered(template: str, rendered: str | None) -> None:
    assert render(template, PARAMS) == rendered


def test_sections_nested_too_deep_are_not_rendered() -> None:
    names = [f"a{n}" for n in range(30)]
    template = "".join(f"{{{{#{name}}}}}" for name in names) + "".join(f"{{{{/{name}}}}}" for name in reversed(names))
    assert render(template, dict.fromkeys(names, True)) is None


@given(st.text(), st.dictionaries(st.text("ab", max_size=2), st.text()))
def test_never_raises(template: str, params: dict[str, str]) -> None:
    rendered = render(template, params)
    assert rendered is None or "{{" in template or rendered == template


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_stays_what_it_is(text: str) -> None:
    assert json.loads(render('{"a": "{{q}}"}', {"q": text}) or "") == {"a": text}
