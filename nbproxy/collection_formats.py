"""The formats of judged collections, each read from text into rows: JSON lines, SMART, TREC's tags, plain lines.

Pure: a reader takes a file's text and its path (for its messages) and yields rows, each with the number of the line
where it begins. Which reader a file gets is told by its first characters, from ``DOCUMENTS`` and ``QUERIES``.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigError

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row]]


def text_of(path: Path) -> str:
    """A file's text: UTF-8, else Latin-1 as old collections have it."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


Reader = Callable[[str, Path, str], Numbered]


def read(path: Path, readers: Sequence[tuple[str, Reader]], topic: str = "title") -> Numbered:
    """The rows of a file, by the reader of the first pattern that its beginning has."""
    text = text_of(path)
    for pattern, reader in readers:
        if re.match(pattern, text.lstrip()[:4096], re.IGNORECASE | re.DOTALL):
            return reader(text, path, topic)
    raise ConfigError(f"{path}:1: no format that is known here: it begins with {text.lstrip()[:40]!r}")


def bad(path: Path, line: int, what: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: {what}")


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Not ``splitlines``, which also splits at U+2028 and its like, inside of strings."""
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def json_lines(text: str, path: Path) -> Numbered:
    for number, line in lines(text):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise bad(path, number, f"not JSON: {error}") from error
        if not isinstance(row, dict):
            raise bad(path, number, f"an object is expected, not {line.strip()[:40]}")
        yield number, row


def _json_rows(id_name: str, text_name: str) -> Reader:
    """JSON lines, ``_id`` renamed, and the text under its own name or ``text``."""

    def rows(text: str, path: Path, _: str) -> Numbered:
        for number, row in json_lines(text, path):
            key = next((name for name in ("_id", id_name, "id") if row.get(name) not in (None, "")), None)
            body = next((name for name in (text_name, "text") if isinstance(row.get(name), str)), None)
            if key is None or body is None:
                raise bad(
                    path, number, f"needs _id and {'text' if key else 'a text'}, has {', '.join(row) or 'nothing'}"
                )
            rest = {name: value for name, value in row.items() if name not in (key, body) and value not in (None, {})}
            yield number, {id_name: str(row[key]), text_name: row[body], **rest}

    return rows


_SMART = {"T": "title", "A": "author", "B": "bibliography", "W": "text"}


def _smart(text: str, path: Path, _: str) -> Numbered:
    """SMART's records: ``.I number``, then sections that a line of a full stop and a letter opens."""
    row: Row = {}
    begun, section = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if begins := re.match(r"\.I\s+(\S+)\s*$", line):
            if row:
                yield begun, row
            row, begun, section = {"id": begins[1]}, number, ""
        elif opens := re.match(r"\.([A-Z])\s*$", line):
            section = _SMART.get(opens[1], opens[1].lower())
        elif line.strip() and not section:
            raise bad(path, number, f"text outside of a section: {line.strip()[:40]!r}")
        elif section:
            row[section] = " ".join([*row.get(section, "").split(), *line.split()])
    if row:
        yield begun, row


def _smart_documents(text: str, path: Path, topic: str) -> Numbered:
    for number, row in _smart(text, path, topic):
        yield number, {"doc_id": row.pop("id"), **row}


def _smart_queries(text: str, path: Path, topic: str) -> Numbered:
    """Qrels of these collections count queries by their place, whatever stands behind ``.I``."""
    for place, (number, row) in enumerate(_smart(text, path, topic), 1):
        if not row.get("text"):
            raise bad(path, number, "a query without .W")
        yield number, {"query_id": str(place), "query": row["text"]}


def _blocks(text: str, path: Path, tag: str) -> Iterator[tuple[int, str]]:
    """What stands between ``<tag>`` and ``</tag>``, with its line."""
    opened = list(re.finditer(rf"<{tag}(?:\s[^>]*)?>", text, re.IGNORECASE))
    closed = list(re.finditer(rf"</{tag}>", text, re.IGNORECASE))
    ends = [*(match.start() for match in opened[1:]), len(text)]
    number, counted = 1, 0
    for place, match in enumerate(opened):
        number, counted = number + text.count("\n", counted, match.start()), match.start()
        if place >= len(closed) or not match.end() <= closed[place].start() < ends[place]:
            raise bad(path, number, f"<{tag}> without </{tag}>")
        yield number, text[match.end() : closed[place].start()]


def _tagged(block: str, *tags: str) -> str:
    """The plain text inside of the first of the tags that occurs, all its occurrences."""
    for tag in tags:
        if found := re.findall(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", block, re.IGNORECASE | re.DOTALL):
            return _plain(" ".join(found))
    return ""


def _plain(marked: str) -> str:
    return " ".join(html.unescape(re.sub(r"</?[A-Za-z][^>]*>|<!--.*?-->", " ", marked, flags=re.DOTALL)).split())


def _trec_documents(text: str, path: Path, _: str) -> Numbered:
    for number, block in _blocks(text, path, "DOC"):
        doc_id = _tagged(block, "DOCNO", "DOCID")
        if not doc_id:
            raise bad(path, number, "<DOC> without <DOCNO>")
        known = r"<(DOCNO|DOCID|TITLE|HEADLINE|HEAD|HL)(?:\s[^>]*)?>.*?</\1>"
        rest = re.sub(known, " ", block, flags=re.IGNORECASE | re.DOTALL)
        title = _tagged(block, "TITLE", "HEADLINE", "HEAD", "HL")
        yield number, {"doc_id": doc_id, "title": title, "text": _tagged(rest, "TEXT") or _plain(rest)}


_QUERY_HEADS = ("query-id", "query_id", "qid", "id", "topic")
_TOPIC = {"title": r"(?:Topic:)?", "desc": r"(?:Description:)?", "narr": r"(?:Narrative:)?"}


def _trec_topics(text: str, path: Path, topic: str) -> Numbered:
    """Topics as TREC writes them, whose inner tags are opened and never closed."""
    if topic not in _TOPIC:
        raise ConfigError(f"topic must be one of {', '.join(_TOPIC)}, not {topic!r}")
    for number, block in _blocks(text, path, "top"):
        query_id = re.search(r"<num>\s*(?:Number:)?\s*([^\s<]+)", block, re.IGNORECASE)
        said = re.search(rf"<{topic}>\s*{_TOPIC[topic]}(.*?)(?=<\w|</|\Z)", block, re.IGNORECASE | re.DOTALL)
        if query_id is None or said is None or not said[1].strip():
            raise bad(path, number, f"<top> without <{'num' if query_id is None else topic}>")
        yield number, {"query_id": query_id[1], "query": _plain(said[1])}


def _query_lines(text: str, path: Path, _: str) -> Numbered:
    """Lines of an id and a text, apart by a tab (else the first white space)."""
    for number, line in lines(text):
        query_id, _, query = line.partition("\t") if "\t" in line else line.strip().partition(" ")
        if not query_id.strip() or not query.strip():
            raise bad(path, number, f"an id, a tab and a text are expected, not {line.strip()[:40]!r}")
        if number > 1 or query_id.strip().lower() not in _QUERY_HEADS:
            yield number, {"query_id": query_id.strip(), "query": query.strip()}


DOCUMENTS: tuple[tuple[str, Reader], ...] = (
    (r"\{", _json_rows("doc_id", "text")),
    (r"\.I\s", _smart_documents),
    (r".*?<DOC[\s>]", _trec_documents),
)
QUERIES: tuple[tuple[str, Reader], ...] = (
    (r"\{", _json_rows("query_id", "query")),
    (r"\.I\s", _smart_queries),
    (r".*?<top[\s>]", _trec_topics),
    (r"[^<]", _query_lines),
)
