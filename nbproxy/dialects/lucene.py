"""Lucene's query syntax reduced to words: what a person meant, for a model to read.

No text takes longer than its length: each place is looked at by one alternative that cannot fail far from it.

Operators, field prefixes, boosts, fuzziness, slop, regular expressions, ranges and negated terms go; a wildcard at a
word's end goes and leaves the word, one inside takes the word with it. Nothing here fails: text that Lucene would
refuse is reduced as far as it goes.

https://www.elastic.co/docs/reference/query-languages/query-dsl/query-dsl-query-string-query#query-string-syntax
https://www.elastic.co/docs/reference/query-languages/query-dsl/query-dsl-simple-query-string-query#simple-query-string-syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FULL = re.compile(
    r"""(?P<phrase>"(?:\\.|[^"\\])*+"?)
      | (?P<regex>/(?:\\.|[^/\\\s])++/(?=[\s()~^]|\Z))
      | (?P<range>[\[{][^\[\]{}]*+[\]}])
      | (?P<open>\() | (?P<close>\))
      | (?P<ignored>[~^][0-9.]*+ | (?:AND|OR|&&|\|\|)(?=[\s()]|\Z) | \+)
      | (?P<negation>NOT(?=[\s(]|\Z) | [-!])
      | (?P<compare>[<>]=?+)
      | (?P<field>(?:\\.|[^\s:()"\[\]{}^~\\])++:)
      | (?P<term>(?:\\.|[^\s()"\[\]{}^~:\\])++)
    """,
    re.X | re.S,
)
_SIMPLE = re.compile(
    r"""(?P<phrase>"(?:\\.|[^"\\])*+"?)
      | (?P<open>\() | (?P<close>\))
      | (?P<ignored>~[0-9]++(?=[\s()|]|\Z) | [+|])
      | (?P<negation>-)
      | (?P<term>(?:\\.|[^\s()"|\\~]|~(?![0-9]++(?:[\s()|]|\Z)))++)
    """,
    re.X | re.S,
)
_ESCAPE = re.compile(r"\\(.)", re.S)
_WILD = re.compile(r"(?<!\\)[*?]")


@dataclass(slots=True)
class Words:
    """What is left of a query.

    :ivar words: in order.
    :ivar fields: those named by a prefix of a word that is left.
    :ivar unprefixed: whether some word has no prefix, so that the default fields are searched.
    """

    words: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    unprefixed: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def add(self, words: str, prefix: str | None) -> None:
        if not words.strip():
            return
        self.words.append(words.strip())
        if prefix is None:
            self.unprefixed = True
        elif prefix not in self.fields:
            self.fields.append(prefix)


@dataclass(slots=True)
class _Scope:
    """A parenthesis: the field before it, whether it is negated, and what stands before the next unit in it."""

    prefix: str | None
    dropped: bool
    next_prefix: str | None = None
    next_dropped: bool = False

    def unit(self) -> tuple[str | None, bool]:
        """The field of the unit that comes now, and whether it is dropped; what stood before it is used up."""
        out = (self.next_prefix or self.prefix, self.dropped or self.next_dropped)
        self.next_prefix, self.next_dropped = None, False
        return out


def reduce(text: str, *, simple: bool = False) -> Words:
    """The words of a query in Lucene's syntax, or in ``simple_query_string``'s."""
    out, scopes = Words(), [_Scope(None, False)]
    for found in (_SIMPLE if simple else _FULL).finditer(text):
        _take(found.lastgroup or "", found[0], scopes, out)
    return out


def _take(kind: str, token: str, scopes: list[_Scope], out: Words) -> None:
    scope = scopes[-1]
    if kind == "negation" or kind == "compare":
        scope.next_dropped = True
    elif kind == "field":
        scope.next_prefix = _unescape(token[:-1])
        scope.next_dropped |= scope.next_prefix == "_exists_"
    elif kind == "open":
        scopes.append(_Scope(*scope.unit()))
    elif kind == "close":
        del scopes[max(1, len(scopes) - 1) :]
    elif kind != "ignored":
        _unit(kind, token, scope, out)


def _unit(kind: str, token: str, scope: _Scope, out: Words) -> None:
    prefix, dropped = scope.unit()
    if not dropped and kind in _READ:
        out.add(_READ[kind](token), prefix)


def _phrase(token: str) -> str:
    return _unescape(token.strip('"') if token.count('"') < 3 else token[1:].removesuffix('"'))


def _term(token: str) -> str:
    word = token.rstrip("*?")
    if word.endswith("\\"):
        word = token[: len(word) + 1]  # the first of them is escaped
    return "" if _WILD.search(word) else _unescape(word)


def _unescape(token: str) -> str:
    return _ESCAPE.sub(r"\1", token)


_READ = {"phrase": _phrase, "term": _term}
