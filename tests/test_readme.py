"""The README: what it links to is there, and its pictures are small and load nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = sorted({*re.findall(r"\]\((?!https?:|#)([^)]+)\)", TEXT), *re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)})
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())


@pytest.mark.parametrize("link", LINKS)
def test_what_it_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()


def test_it_shows_every_picture_and_says_what_is_in_it() -> None:
    shown = {ROOT / link for link in LINKS if link.startswith("docs/pictures/")}
    assert shown == set(PICTURES)
    images = re.findall(r"<img [^>]*>", TEXT)
    assert images
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(picture: Path) -> None:
    assert picture.stat().st_size < 100_000


def test_a_drawing_loads_nothing_and_runs_nothing() -> None:
    svg = (ROOT / "docs" / "pictures" / "terminal.svg").read_text(encoding="utf-8")
    fetched = re.findall(r"(?:href|src)=|@import|@font-face|url\((?!#)|<script|<foreignObject", svg)
    assert fetched == []
    assert "reranked by" in svg.replace("&#160;", " ")
