"""JSON as Solr reads it in requests: bare words, single quotes, comments, commas too many or too few.

https://solr.apache.org/guide/solr/latest/query-guide/json-request-api.html#json-extensions
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from .search_request import Malformed

_MAX_DEPTH = 100
_TOKEN = re.compile(
    r"""(?P<skip>[\s\u00a0]++ | (?://|\#)[^\n]*+ | /\*.*?\*/)
      | (?P<string>"(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+')
      | (?P<bare>(?:(?!/[/*])[^\s\u00a0,:{}\[\]"'\#])++)
      | (?P<mark>[{}\[\],:])
    """,
    re.X | re.S,
)
Token = tuple[str, str]  # its kind, and as it is written
_END: Token = ("end", "")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def loads(text: str) -> Any:
    """A value; None for a text that holds nothing but white space and comments.

    :raises Malformed: Solr would refuse it, or it is nested more than 100 deep and not strict JSON.
    """
    try:
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise Malformed(str(error)) from None
    except ValueError:
        return _Lax(text).whole()


class _Lax:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> Any:
        if self._next() == _END:
            return None
        self._at = 0
        value = self._value(0)
        if self._next() != _END:
            _refuse("more than one value")
        return value

    def _next(self) -> Token:
        while self._at < len(self._text):
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                _refuse(f"not JSON at character {self._at}")
            self._at = found.end()
            if found.lastgroup != "skip":
                return found.lastgroup or "", found[0]
        return _END

    def _value(self, depth: int) -> Any:
        kind, token = self._next()
        if kind == "end" or depth > _MAX_DEPTH:
            _refuse("it ends too early, or goes too deep")
        if kind == "mark":
            return self._container(token, depth + 1)
        return _string(token) if kind == "string" else _bare(token)

    def _container(self, bracket: str, depth: int) -> Any:
        if bracket == "{":
            return self._object(depth)
        return self._array(depth) if bracket == "[" else _refuse(f"{bracket} is out of place")

    def _object(self, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while not self._closed("}"):
            kind, key = self._next()
            if kind not in ("string", "bare") or self._next() != ("mark", ":"):
                _refuse("no key and colon")
            out[_string(key) if kind == "string" else key] = self._value(depth)
        return out

    def _array(self, depth: int) -> list[Any]:
        out: list[Any] = []
        while not self._closed("]"):
            out.append(self._value(depth))
        return out

    def _closed(self, bracket: str) -> bool:
        """Whether the container ends here; commas before that are passed over, and may be missing."""
        before, token = self._at, self._next()
        while token == ("mark", ","):
            before, token = self._at, self._next()
        if token == ("mark", bracket):
            return True
        self._at = before
        return False


def _refuse(why: str) -> NoReturn:
    raise Malformed(why)


def _string(token: str) -> str:
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2])


def _bare(token: str) -> Any:
    """A number or a constant, else the word itself."""
    try:
        return json.loads(token)
    except ValueError:
        return token
