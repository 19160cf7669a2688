"""What a client sees of a document: ``fl``, asking for more where the model needs it, and taking that out again.

https://solr.apache.org/guide/solr/latest/query-guide/common-query-parameters.html#fl-field-list-parameter
https://solr.apache.org/guide/solr/latest/query-guide/document-transformers.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from . import json_spans, splice

_NAME = r"[^\W\d][\w.$-]*+"
_SEPARATORS = re.compile(r"[\s,]*+")
_KEY = re.compile(rf"({_NAME})\s*+:\s*+")
_PLAIN = re.compile(_NAME)
_GLOB = re.compile(r"[\w.$*?-]++")
_END = re.compile(r"(?=[\s,]|\Z)")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class FieldList:
    """The ``fl`` of a request.

    :ivar names: that are shown: fields, and the keys that something is shown under.
    :ivar globs: patterns of names, as a regular expression.
    :ivar whole: whether all fields are shown.
    :ivar moved: fields that are shown under another key only.
    :ivar text: as it was written, for the keys of functions and transformers.
    """

    names: frozenset[str]
    globs: re.Pattern[str] | None
    whole: bool
    moved: frozenset[str]
    text: str

    def shows(self, name: str) -> bool:
        """Whether a member of a document is the client's."""
        if name in self.names or name in self.moved:
            return name in self.names
        if self.whole or (self.globs is not None and self.globs.fullmatch(name) is not None):
            return True
        # What is no field's name is a function, or a transformer in brackets, which may have had arguments.
        return _PLAIN.fullmatch(name) is None and name.removesuffix("]") in self.text

    @property
    def reaches_in(self) -> bool:
        """Whether documents inside documents are shown by this list too: nothing can be taken out of those."""
        return "[child" in self.text or "[subquery" in self.text

    @property
    def explains(self) -> bool:
        return "[explain" in self.text


@lru_cache(maxsize=1024)
def parse(values: tuple[str, ...]) -> FieldList:
    """The field list that the values of ``fl`` make; none, or one that is empty: everything."""
    if not any(values) and len(values) < 2:
        return FieldList(frozenset(), None, True, frozenset(), "")
    found: dict[str, list[str]] = {"name": [], "glob": [], "moved": []}
    for kind, name in (entry for value in values for entry in _entries(value)):
        found[kind].append(name)
    globs = found["glob"]
    pattern = re.compile("|".join(map(_regex, globs)), re.S) if globs else None
    return FieldList(frozenset(found["name"]), pattern, "*" in globs, frozenset(found["moved"]), "\n".join(values))


def _regex(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """("name", "glob" or "moved"; the name) of what a list holds; functions and transformers only by the key that they
    are given."""
    at = _skip(text, 0)
    while at < len(text):
        key = _KEY.match(text, at)
        start = key.end() if key else at
        at, glob = _entry(text, start)
        kind = "glob" if glob and ("*" in glob or "?" in glob) else "moved" if key else "name"
        if key:
            yield "name", key[1]
        if glob is not None and (kind != "glob" or not key):
            yield kind, glob
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    found = _SEPARATORS.match(text, at)
    return found.end() if found else at


def _entry(text: str, at: int) -> tuple[int, str | None]:
    """Where an entry ends, and its name where it is a field or a glob."""
    found = _GLOB.match(text, at)
    if found and _END.match(text, found.end()):
        return found.end(), found[0]
    depth, quote = 0, ""
    for end in range(at, len(text)):
        char = text[end]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif depth <= 0 and (char == "," or char.isspace()):
            return end, None
        else:
            depth += (char in _OPEN) - (char in _CLOSE)
    return len(text), None


def missing(
    shown: FieldList, doc_id: str, named: tuple[str, ...] | None, searched: tuple[str, ...], everything: bool
) -> list[str]:
    """What must be asked for beyond ``shown``, so that the model can read and hits can be told apart.

    :param named: the fields that the setting names.
    :param searched: the fields that the query searched.
    :param everything: a callable reads the hits, and may look anywhere.
    """
    if shown.reaches_in:
        return []
    out = [] if shown.shows(doc_id) else [doc_id]
    if named is not None:
        return out + [name for name in dict.fromkeys(named) if name not in out and not shown.shows(name)]
    lacking = [name for name in searched if name not in out and not shown.shows(name)]
    # Whether any hit has the searched fields is not known yet, and where none has, all strings are read (contract §3).
    # A field that the client has under another key must be named besides "*", or it would move there.
    all_ = ["*"] if not shown.whole and (everything or not searched or lacking) else []
    return out + all_ + lacking


def strip(document: bytes, shown: FieldList) -> bytes:
    """A document with only the members that the client asked for."""
    every = json_spans.members(document)
    kept = [(one, document[one.start : one.end]) for one in every if shown.shows(one.key)]
    return document if len(kept) == len(every) else splice.keep_members(document, every, kept, blank=b"")
