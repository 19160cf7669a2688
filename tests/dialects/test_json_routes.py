import pytest

from nbproxy.dialects.json_routes import Routes

ROUTES = Routes(["POST /indexes/{index}/search", "GET POST /find", "/x('{index}')/{other}.json", "GET /1/*/q/"])

MATCHED = [
    ("POST", "/indexes/a/search", "a"), ("POST", "/indexes/a/search/", "a"), ("POST", "/indexes/a/search?x=/y", "a"),
    ("POST", "/indexes/a%20b/search", "a%20b"), ("POST", "/%69ndexes/a%2Fb/sear%63h", "a%2Fb"),
    ("POST", "/indexes/a,b/search", "a,b"), ("GET", "/find", None), ("POST", "/find?", None),
    ("GET", "/x('a')/b.json", "a"), ("POST", "/x(%27a%27)/b.json", "a"),
    ("GET", "/1/*/q", None), ("GET", "/1/%2A/q/", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "index"), MATCHED)
def test_matched(method: str, target: str, index: str | None) -> None:
    assert ROUTES.match(method, target)
    assert ROUTES.index_of(target) == index


OTHERS = [
    ("GET", "/indexes/a/search"), ("PUT", "/find"), ("HEAD", "/find"), ("POST", "/indexes//search"), ("GET", "/1/a/q"),
    ("POST", "/indexes/a/b/search"), ("POST", "/indexes/a/searches"), ("POST", "//indexes/a/search"), ("GET", "/findx"),
    ("POST", "/indexes/a%2Fsearch"), ("GET", "/"), ("GET", ""), ("GET", "*"), ("GET", "/find\n"), ("GET", "/%ff"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target"), OTHERS)
def test_others(method: str, target: str) -> None:
    assert not ROUTES.match(method, target)
