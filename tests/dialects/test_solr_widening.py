"""What goes to Solr, and what is taken out of its answer again, byte for byte."""

from typing import Any
from urllib.parse import quote

import pytest

from nbproxy.dialects import Solr, Unreadable
from nbproxy.dialects.solr_widening import Undo, restored
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search
from nbproxy.settings import FieldsSetting

SOLR = Solr()
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def widen(query: str, body: bytes = b"", kind: str = JSON, fields: FieldsSetting = None, depth: int = 50) -> Any:
    target = "/solr/c/select" + ("?" + query if query else "")
    asked = Request(
        "POST" if body else "GET", target, Headers([(b"Content-Type", kind.encode())] if body else []), body
    )
    search = SOLR.read_search(asked)
    assert isinstance(search, Search)
    out = SOLR.widen(asked, search, depth, fields)
    if (out.request.target, out.request.body) == (target, body):
        assert out.request is asked
        assert out.undo is None
    return out.request.target.partition("?")[2], out.request.body, out.undo


URLS = [
    ("q=a", "q=a&rows=50"),
    ("q=a&rows=50", "q=a&rows=50"),
    ("q=a&rows=50&start=0", "q=a&rows=50&start=0"),
    ("q=a&rows=70", "q=a&rows=70"),
    ("start=45&q=a%2Fb+c&&rows=10&x", "start=0&q=a%2Fb+c&&rows=55&x"),
    ("q=a&rows=4&rows=5", "q=a&rows=50&rows=50"),
    ("q=a&json.limit=4", "q=a&json.limit=50"),
    ("q=a&json.limit=4&rows=4", "q=a&json.limit=50&rows=50"),
    ("q=a&rows=2147483647&start=5", "q=a&rows=2147483647&start=0"),
    ("q=a&rows=${n}&n=4", "q=a&rows=50&n=4"),
    ("q=a&rows=50&fl=id&df=t", "q=a&rows=50&fl=id&df=t&fl=*,t"),
    ("q=a&rows=50&fl=id,t&df=t", "q=a&rows=50&fl=id,t&df=t"),
    ("q=a&rows=50&fl=score", "q=a&rows=50&fl=score&fl=id,*"),
    ("q=a&rows=50&fl=*,score", "q=a&rows=50&fl=*,score"),
    ("q=a&rows=50&fl=title,[child]", "q=a&rows=50&fl=title,[child]"),
]


@pytest.mark.parametrize(("query", "expected"), URLS)
def test_urls(query: str, expected: str) -> None:
    assert widen(query)[0] == expected


BODIES = [
    ("", b"q=a&fl=id&df=t", FORM, "", b"q=a&fl=id&df=t&rows=50&fl=*,t"),
    ("rows=4", b"q=a", FORM, "rows=50", b"q=a"),
    ("", b"q=a&rows=4&start=2", FORM, "", b"q=a&rows=50&start=0"),
    ("rows=4&q=a", b"rows=5", FORM, "rows=50&q=a", b"rows=50"),
    ("", b"json=" + quote('{"query":"a","limit":3}').encode(), FORM,
     "", b"json=" + quote('{"query":"a","limit":3}').encode() + b"&json.limit=50"),
    ("", b'{"query":"a"}', JSON, "rows=50", b'{"query":"a"}'),
    ("", b'{query:a, limit:5, offset:3}', JSON, "json.offset=0&json.limit=50", b'{query:a, limit:5, offset:3}'),
    ("rows=5", b'{"query":"a","limit":5}', JSON, "rows=50&json.limit=50", b'{"query":"a","limit":5}'),
    ("", b'{"params":{"q":"a","rows":5}}', JSON, "rows=50", b'{"params":{"q":"a","rows":5}}'),
    ("", b'{"query":"a","fields":["id"],"limit":50}', JSON, "fl=*", b'{"query":"a","fields":["id"],"limit":50}'),
    ("", b'{"params":{"q":"a","rows":50,"fl":["id","x"]}}', JSON,
     "fl=id&fl=x&fl=*", b'{"params":{"q":"a","rows":50,"fl":["id","x"]}}'),
    ("fl=id", b'{"params":{"q":"a","rows":50,"fl":"x"}}', JSON,
     "fl=id&fl=*", b'{"params":{"q":"a","rows":50,"fl":"x"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("query", "body", "kind", "new_query", "new_body"), BODIES)
def test_bodies(query: str, body: bytes, kind: str, new_query: str, new_body: bytes) -> None:
    assert widen(query, body, kind)[:2] == (new_query, new_body)


FIELDS: list[tuple[FieldsSetting, str]] = [
    ("title", "id,title"), (["title", "x"], "id,title,x"), ("{title}. {body}", "id,title,body"),
    (lambda hit: "x", "id,*,t"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "added"), FIELDS)
def test_fields(fields: FieldsSetting, added: str) -> None:
    query = "q=a&rows=50&df=t&fl=price"
    assert widen(query, fields=fields)[0] == f"{query}&fl={added}"


ANSWER = b"""{
  "responseHeader":{
    "status":0,
    "QTime":3,
    "params":{
      %s
    }
  },
  "response":{"numFound":9,"start":%s,"numFoundExact":true,"docs":[]
  },
  "facets":{"response":{"start":0},"params":{"rows":"50"}}
}
"""


ECHOES: list[tuple[str, bytes, str, bytes, str, str]] = [
    # the request, its echo as Solr gives it, what the client is shown; start before and after
    ("q=a", b"", '"q":"a","rows":"50"', b'"q":"a"', "0", "0"),
    ("q=a&rows=5&start=3", b"", '"q":"a","rows":"50","start":"0"', b'"q":"a","rows":"5","start":"3"', "0", "3"),
    ("rows=5&q=a", b"", '"rows":"50",\n      "q":"a"', b'"rows":"5",\n      "q":"a"', "0", "0"),
    ("q=a&rows=5&rows=6", b"", '"q":"a","rows":["50",\n        "50"]', b'"q":"a","rows":["5",\n        "6"]', "0", "0"),
    ("q=a&fl=id&rows=50", b"", '"q":"a","fl":["id",\n "*"],"rows":"50"', b'"q":"a","fl":"id","rows":"50"', "0", "0"),
    ("q=a&fl=id&fl=x&rows=50", b"", '"fl":["id",\n "x",\n "*"],"q":"a"', b'"fl":["id",\n "x"],"q":"a"', "0", "0"),
    ("", b'{"query":"a","limit":5}', '"json":"{}","json.limit":"50"', b'"json":"{}"', "0", "0"),
    ("json.limit=7", b'{"query":"a"}', '"json.limit":"50"', b'"json.limit":"7"', "0", "0"),
    ("", b'{"query":"a","fields":"id","limit":50}', '"json":"{}","fl":"*"', b'"json":"{}"', "0", "0"),
    ("", b'{"params":{"q":"a","fl":"id","rows":50}}', '"json":"{}","fl":["id","*"]', b'"json":"{}"', "0", "0"),
    ("q=a&echoParams=all&rows=5", b"", '"df":"t","rows":"50"', b'"df":"t","rows":"5"', "0", "0"),
    ("q=a&echoParams=all", b"", '"rows":"50","df":"t"', b'"rows":"10","df":"t"', "0", "0"),
    ("echoParams=all", b'{"query":"a","offset":3,"limit":5}', '"rows":"50","start":"0","json.limit":"50"',
     b'"rows":"5","start":"3"', "0", "3"),
    ("echoParams=all&fl=id&q=a&rows=50", b"", '"fl":["id","*","appended"],"rows":"50"',
     b'"fl":["id","appended"],"rows":"50"', "0", "0"),
    ("q=a&omitHeader=true", b"", '"other":1', b'"other":1', "0", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "body", "echo", "shown", "start", "own_start"), ECHOES)
def test_what_is_echoed_is_the_clients(
    query: str, body: bytes, echo: str, shown: bytes, start: str, own_start: str
) -> None:
    undo = widen(query, body)[2]
    answer = ANSWER % (echo.encode(), start.encode())
    assert restored(answer, undo, [], cut=False) == ANSWER % (shown, own_start.encode())


def test_answers_without_these_parts() -> None:
    undo = Undo(start=3, echo=(("rows", ()),), field=None)
    for answer in (b'{"response":{"docs":[]}}', b'{"responseHeader":5}', b'{"responseHeader":{"params":"x"}}', b"{}"):
        assert restored(answer, undo, [], cut=True) == answer


HIGHLIGHTS = [
    (b'{"highlighting":{"a":{"t":["x"]},"b":{},"c":[]},"z":1}', b'{"highlighting":{"a":{"t":["x"]},"c":[]},"z":1}'),
    (b'{"highlighting":{\n    "a":{},\n    "b":{}}}', b'{"highlighting":{\n    "a":{}}}'),
    (b'{"highlighting":{"b":{}}}', b'{"highlighting":{}}'),
    (b'{"highlighting":{}}', b'{"highlighting":{}}'),
    (b'{"highlighting":["a",{},"b",{}]}', b'{"highlighting":["a",{},"b",{}]}'),
    (b'{"debug":{"highlighting":{"b":1}}}', b'{"debug":{"highlighting":{"b":1}}}'),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), HIGHLIGHTS)
def test_highlights_of_the_page(answer: bytes, expected: bytes) -> None:
    assert restored(answer, Undo(), ["c", "a"], cut=True) == expected
    assert restored(answer, Undo(), ["c", "a"], cut=False) == answer


def test_highlights_without_ids() -> None:
    with pytest.raises(Unreadable, match="without ids"):
        restored(b'{"highlighting":{"a":{}}}', Undo(), [None], cut=True)
    assert restored(b'{"highlighting":{}}', Undo(), [None], cut=True) == b'{"highlighting":{}}'


def test_a_default_field_list_is_said_again() -> None:
    own = Solr(defaults={"fl": "title,price", "rows": 50, "df": "text"})
    asked = Request("GET", "/solr/c/select?q=a")
    search = own.read_search(asked)
    assert isinstance(search, Search)
    out = own.widen(asked, search, 50)
    assert out.request.target == "/solr/c/select?q=a&fl=title,price&fl=id,*,text"
    answer = ANSWER % (b'"q":"a","fl":["title,price","id,*,text"]', b"0")
    assert restored(answer, out.undo, [], cut=False) == ANSWER % (b'"q":"a"', b"0")
