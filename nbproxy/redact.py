"""What must never be stored: credentials in header lines and request targets (contract §5). Pure.

The rules, which are public because users rely on them:

- A header is a credential if its name ends in ``authorization``, ``authentication``, ``cookie``, ``cookie2``,
  ``token``, ``secret``, ``password``, ``credential(s)``, ``signature``, ``apikey``, or in the word ``key``
  (``X-Api-Key``, ``Api-Key``, ``Ocp-Apim-Subscription-Key``) but for ``Sec-WebSocket-Key``, ``Surrogate-Key`` and
  ``Idempotency-Key``. So ``ES-Secondary-Authorization`` and ``X-Amz-Security-Token`` are, ``WWW-Authenticate`` is
  not. The whole value, folded lines included, becomes ``[redacted]``.
- In targets, and in the other header lines (``Location``, ``Referer`` …): the user information of a URL
  (``http://user:password@host``), and the value of a parameter whose name, percent-decoded and in any case,
  is ``api_key apikey api-key token access_token key password secret`` or ``X-…-Api-Key`` (Algolia's, Typesense's),
  starts with ``sig``, or is one of AWS's ``X-Amz-Signature``, ``X-Amz-Security-Token``, ``X-Amz-Credential``. A value
  ends at ``&`` or ``#``.
- Every other byte stays as it is; empty values too.

No pattern here backtracks more than linearly: the text is a client's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

REDACTED = "[redacted]"

_CREDENTIAL = re.compile(
    rb"(?i)(?!(?:sec-websocket|surrogate|idempotency)-key$)"
    rb"(?:.*(?:authorization|authentication|cookie2?|token|secret|password|credentials?|signature|apikey)"
    rb"|(?:.*[-_.])?key)"
)
_UNFOLDED = re.compile(rb"\n(?![ \t])")
_HIDDEN = f": {REDACTED}".encode()
_USER = re.compile(r"(?a)(?<=://)[^/?#\s]+@")
_NAME = re.compile(r"(?a)(?<=[?&;#])([^=&;#\s]+)=")
_SECRET = re.compile(
    r"(?ai)(?:x-(?:\w+-)*)?api[_-]?key|token|access_token|key|password|secret|sig.*"
    r"|x-amz-(?:signature|security-token|credential)"
)
# The fast path: nearly every target has no such parameter, and none with a percent sign in its name.
_SUSPECT = re.compile(r"(?ai)[?&;#](?:api[_-]?key|token|access_token|key|password|secret|sig|x-|[^=&;#\s]*%)")
# In a header line a URL may stand between other things: ``Link: <…?token=x>; rel=next``.
_TARGET_VALUE = re.compile(r"[^&#]*")
_HEADER_VALUE = re.compile(r"(?a)[^&#\s\"'<>]*")


def redact_target(target: str) -> str:
    """A request target without credentials.

    >>> redact_target("/docs/_search?q=a%20b&API_KEY=abc")
    '/docs/_search?q=a%20b&API_KEY=[redacted]'
    """
    return _without_secrets(target, _TARGET_VALUE)


def redact_head(block: bytes) -> bytes:
    """Header lines (``Name: value\\r\\n`` each, any bytes in the values) without credentials.

    >>> redact_head(b"Host: a\\r\\nAuthorization: Basic eDp5\\r\\n")
    b'Host: a\\r\\nAuthorization: [redacted]\\r\\n'
    """
    folded = b"\n " in block or b"\n\t" in block
    lines = _UNFOLDED.split(block) if folded else block.split(b"\n")
    secret = [place for place, line in enumerate(lines) if _is_credential(line.partition(b":")[0])]
    for place in secret:
        lines[place] = _hidden(lines[place])
    if secret:
        block = b"\n".join(lines)
    if b"=" not in block and b"@" not in block:
        return block
    text = block.decode("latin-1")
    clean = _without_secrets(text, _HEADER_VALUE)
    return block if clean == text else clean.encode("latin-1")


@lru_cache(maxsize=1024)
def _is_credential(name: bytes) -> bool:
    return _CREDENTIAL.fullmatch(name.rstrip(b" \t")) is not None


def _hidden(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    return name + _HIDDEN + (b"\r" if value.endswith(b"\r") else b"") if value.strip() else line


def _without_secrets(text: str, value: re.Pattern[str]) -> str:
    """``text`` with the user information of its URLs and its secret parameters' values replaced."""
    if "@" in text:
        text = _USER.sub(REDACTED + "@", text)
    if not _SUSPECT.search(text):
        return text
    pieces: list[str] = []
    done = 0
    for match in _NAME.finditer(text):
        if match.start() >= done and _is_secret(match[1]) and (end := _end(value, text, match.end())) > match.end():
            pieces += [text[done : match.end()], REDACTED]
            done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _is_secret(name: str) -> bool:
    return _SECRET.fullmatch(unquote_plus(name) if "%" in name else name) is not None


def _end(value: re.Pattern[str], text: str, start: int) -> int:
    match = value.match(text, start)
    return match.end() if match else start
