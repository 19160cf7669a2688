"""The report: one page that needs nothing else, whatever was recorded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import nbproxy
from nbproxy import ConfigError
from nbproxy.ranking import Hit, Ranking
from nbproxy.recorder import Recorder

from . import browser
from .recordings import exchange, ranking
from .test_searches import backwards, search
from .test_views import HOSTILE
from .upstreams import Client, Json

pytest.importorskip("matplotlib")
EVIL = HOSTILE.replace("\ud800", "") + "<img src=http://evil.example/x onerror=alert(1)>$x^2$</title></svg></style>"
VOID = {"meta", "link", "img", "br", "input", "hr", "use", "path"}


class Page(HTMLParser):
    """What is in a page: elements with their attributes, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def headings(self) -> list[str | None]:
        return [found.get("id") for tag, found in self.elements if tag == "h2"]


def recorded(folder: Path, *exchanges: nbproxy.Exchange) -> nbproxy.Recording:
    recorder = Recorder(folder, session_id="a")
    for one in exchanges:
        recorder.append(one)
    recorder.close()
    return nbproxy.load(folder)


def merged(text: str) -> Ranking:
    hits = tuple(Hit(text, f"{text}{n}", n + 1, 5.0 - n, f"{text} {n}") for n in range(3))
    return Ranking("served", text, "f", hits, (0.1, 0.2, 0.3), (3, 2, 1), (True,) * 3)


def searched(n: int, query: str = "red shoes", text: str = "m", **more: object) -> nbproxy.Exchange:
    known = dict(
        route="search", method="POST", target=f"/{text}/_search", query=query, query_id=f"q{n}", index=text, offset=0,
        size=10, depth=50, status=200, model=text, model_fingerprint="f", reranked=True, rankings=(merged(text),),
        total_ms=3.0 + n, upstream_ms=2.0, rerank_ms=0.5, dialect="elasticsearch",
    )  # fmt: skip
    return exchange(n, **(known | more))


@pytest.fixture
def recording(tmp_path: Path) -> nbproxy.Recording:
    failed = searched(9, reranked=False, reason="model-error", error="ValueError: no", rankings=(), text="m")
    others = [exchange(n, route="pass", status=200 + n, total_ms=1.0, upstream_ms=0.5) for n in range(20, 25)]
    own = exchange(30, route="own", status=200, target="/_nbproxy/status")
    return recorded(tmp_path / "recording", *[searched(n, f"query {n}") for n in range(6)], failed, *others, own)


QRELS = pd.DataFrame({"query_id": ["q0", "q1", "q2"], "doc_id": ["m2", "m0", "m2"], "relevance": [2, 1, 1]})


def test_a_report_has_all_that_there_is(recording: nbproxy.Recording, tmp_path: Path) -> None:
    page = Page(recording.report(tmp_path / "r.html", QRELS).read_text())
    assert page.headings() == ["traffic", "latency", "comparison", "evaluation", "errors"]
    assert page.open == []
    assert sum(tag == "svg" for tag, _ in page.elements) == 5
    for said in ("model-error", "nDCG@10", "reranking", "Furthest moves", "most changed", "ValueError: no", "▲2", "▼2"):
        assert said in page.text


def test_it_loads_nothing_and_runs_nothing(recording: nbproxy.Recording, tmp_path: Path) -> None:
    text = recording.report(tmp_path / "r.html", QRELS).read_text()
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & {
        tag for tag, _ in page.elements
    }
    for tag, found in page.elements:
        assert not any(name.startswith("on") for name in found), (tag, found)
        for name in ("href", "src", "xlink:href", "style"):
            assert not re.search("//|data:|@import", found.get(name) or ""), (tag, found)
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)|@import", text)


def test_it_is_read_by_keyboard_and_by_ear(recording: nbproxy.Recording, tmp_path: Path) -> None:
    page = Page(recording.report(tmp_path / "r.html").read_text())
    tags = [tag for tag, _ in page.elements]
    assert {"main", "nav", "header", "footer", "h1"} <= set(tags)
    assert dict(page.elements)["html"] == {"lang": "en"}
    ids = [found["id"] for _, found in page.elements if found.get("id")]
    assert len(ids) == len(set(ids))
    assert all(found.get("scope") for tag, found in page.elements if tag == "th")
    assert tags.count("caption") == tags.count("table")
    assert all(found.get("aria-hidden") == "true" for tag, found in page.elements if tag == "svg")
    links = [found["href"] for tag, found in page.elements if tag == "a"]
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


def test_recorded_text_is_only_text(tmp_path: Path) -> None:
    failed = searched(9, EVIL, reranked=False, error=EVIL, reason=EVIL, rankings=(), target=EVIL)
    page_of = recorded(tmp_path / "recording", *[searched(n, f"{EVIL} {n}", EVIL) for n in range(3)], failed)
    qrels = pd.DataFrame({"query_id": ["q0", "q1"], "doc_id": [f"{EVIL}2", f"{EVIL}0"], "relevance": [1, 1]})
    text = page_of.report(tmp_path / "r.html", qrels).read_text()
    page = Page(text)
    assert page.open == []
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert "<script" not in text
    assert "alert(1)" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert page.headings() == ["traffic", "latency", "comparison", "evaluation", "errors"]


def test_a_recording_with_no_searches_says_so(tmp_path: Path) -> None:
    nothing = recorded(tmp_path / "recording", exchange(1, status=200, total_ms=1.0))
    page = Page(nothing.report(tmp_path / "r.html").read_text())
    assert page.headings() == ["traffic", "latency", "comparison", "errors"]
    assert "Not here:" in page.text


def test_own_routes_only_is_a_page_too(tmp_path: Path) -> None:
    page = Page(recorded(tmp_path / "r", exchange(1, route="own")).report(tmp_path / "r.html").read_text())
    assert "nothing yet" in page.text
    assert "Nothing has come through yet." in page.text
    assert not [tag for tag, _ in page.elements if tag == "table"]


def test_moves_have_signs_and_an_index_that_is_the_same_everywhere_is_left_out(
    recording: nbproxy.Recording, tmp_path: Path
) -> None:
    text = recording.report(tmp_path / "r.html").read_text()
    moves = text[text.index("Furthest moves") :]
    moves = moves[: moves.index("</table>")]
    assert re.findall(r'<th scope="col"[^>]*>([^<]+)', moves) == ["query", "model", "doc_id", "from", "to", "move"]
    assert re.search(r'<td class="n">▲2</td>', moves)
    assert re.search(r'<td class="n">▼2</td>', moves)


@pytest.mark.browser
@pytest.mark.skipif(bool(browser.missing()), reason=f"there is no {browser.missing()}")
def test_it_fits_a_telephone_and_a_desk_and_fetches_nothing(tmp_path: Path) -> None:
    known = [searched(n, f"{EVIL} {n}", EVIL) for n in range(3)]
    page_of = recorded(tmp_path / "recording", *known, searched(9, EVIL, reranked=False, error=EVIL, rankings=()))
    file = page_of.report(tmp_path / "r.html", QRELS)
    with browser.chromium() as page:
        for width, height, dark in ((390, 844, True), (390, 844, False), (1200, 900, True), (1200, 900, False)):
            page.sized(width, height)
            page.dark(dark)
            page.driver.get(file.as_uri())
            assert page.script("return document.documentElement.scrollWidth") <= width
            assert page.script("return performance.getEntriesByType('resource').length") == 0
            assert page.script("return document.querySelectorAll('script,img,iframe').length") == 0
            page.whole(f"report-hostile-{width}{'-dark' if dark else ''}")


def test_a_shadow_and_one_name_of_two_models_are_compared(tmp_path: Path) -> None:
    shadow = ranking(1.0, 3.0, 2.0, role="shadow", model="mini")
    other = searched(1, "q one", model_fingerprint="g", rankings=(Ranking("served", "m", "g", *tuple(vars_of("m"))),))
    both = recorded(tmp_path / "r", searched(0, "q one", rankings=(merged("m"), shadow), query_id="q1"), other)
    page = Page(both.report(tmp_path / "r.html").read_text())
    assert {"m (f)", "m (g)", "mini"} <= set(re.findall(r"m \([fg]\)|mini", page.text))


def vars_of(text: str) -> list[object]:
    one = merged(text)
    return [one.hits, one.scores, one.ranks, one.returned]


def test_an_interleaving_is_in_it(start: Callable[..., nbproxy.Session], json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave("bm25", backwards))
    search(session)
    hit = session.hits.iloc[0]
    click = json.dumps({"query_id": hit["query_id"], "doc_id": hit["doc_id"]}).encode()
    with Client(session.url) as client:
        assert client.ask(b"POST", b"/_nbproxy/click", click).status == 202
    page = Page(session.report(tmp_path / "r.html").read_text())
    assert page.headings() == ["traffic", "latency", "comparison", "interleaving", "errors"]
    assert "clicks credited: 1" in page.text
    assert Page(nbproxy.connect(session.url).report(tmp_path / "far.html").read_text()).headings() == page.headings()


def test_it_is_written_whole_or_not_at_all(recording: nbproxy.Recording, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        recording.report(tmp_path / "none" / "r.html")
    path = tmp_path / "r.html"
    path.write_text("old")
    with pytest.raises(ConfigError, match="relevance"):
        recording.report(path, QRELS.drop(columns="relevance"))
    assert path.read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["r.html", "recording"]


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path) -> None:
    recorded(tmp_path / "r", searched(1))
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"import nbproxy; nbproxy.load({str(tmp_path / 'r')!r}).report('x.html')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert 'pip install "nbproxy[plot]"' in done.stderr
