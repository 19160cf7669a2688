import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import lucene

FULL = [
    ("red shoes", "red shoes", [], True),
    ('title:red AND (body:shoes OR "blue lamp"~2)', "red shoes blue lamp", ["title", "body"], True),
    ("title:red^2 OR body:shoes~1", "red shoes", ["title", "body"], False),
    ("+red -blue !green NOT black", "red", [], True),
    ("red -(blue green) lamp", "red lamp", [], True),
    ("title:(red blue) lamp", "red blue lamp", ["title"], True),
    ('title:"red shoes" year:[1990 TO 2000] n:>5 n:{1 TO *}', "red shoes", ["title"], False),
    ("name:/joh?n(ath[oa]n)/ red", "red", [], True),
    ("sho* l?mp * red", "sho red", [], True),
    ("_exists_:title red", "red", [], True),
    ("foo-bar a/b c++", "foo-bar a/b c++", [], True),
    (r"red\:blue \(x\) a\*", "red:blue (x) a*", [], True),
    ("red && blue || green", "red blue green", [], True),
    ('"red', "red", [], True),
    ("", "", [], False),
    ("*:*", "", [], False),
    ("寿司 café", "寿司 café", [], True),
    (r"book.\*:(quick OR brown)", "quick brown", ["book.*"], False),
]


@pytest.mark.parametrize(("query", "text", "fields", "unprefixed"), FULL)
def test_query_string(query: str, text: str, fields: list[str], unprefixed: bool) -> None:
    found = lucene.reduce(query)
    assert (found.text, found.fields, found.unprefixed) == (text, fields, unprefixed)


SIMPLE = [
    ('"fried eggs" +(eggplant | potato) -frittata', "fried eggs eggplant potato"),
    ("foo-bar title:red", "foo-bar title:red"),
    ("sho* red~2 blue", "sho red blue"),
    ("a~b", "a~b"),
]


@pytest.mark.parametrize(("query", "text"), SIMPLE)
def test_simple_query_string(query: str, text: str) -> None:
    assert lucene.reduce(query, simple=True).text == text


@given(st.text(alphabet='ab "\\/:()[]{}~^+-!*?<>=&|ANDORT0\n', max_size=60), st.booleans())
def test_nothing_fails(query: str, simple: bool) -> None:
    lucene.reduce(query, simple=simple)
