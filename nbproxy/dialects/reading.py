"""How a user wants searches to be read, beside the usual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RerankFault
from ..messages import Request
from . import query_text


@dataclass(frozen=True, slots=True)
class Reading:
    """What a user wants to have read in another way.

    :ivar query: gives the text of a search, None: as usual.
    :ivar explain: whether searches that ask for ``explain`` are reranked too.
    """

    query: Callable[[Request], str | None] | None = None
    explain: bool = False

    def text(self, request: Request) -> str | None:
        """The text by the user's own function, None where there is none or it gives none.

        :raises RerankFault: the function failed.
        """
        if self.query is None:
            return None
        try:
            text = self.query(request)
        except BaseException as error:  # a SystemExit of theirs must not end a thread of ours
            raise RerankFault(f"query={self.query!r} failed on {request.target}: {error!r}") from error
        if text is not None and not isinstance(text, str):
            raise RerankFault(f"query={self.query!r} gave {type(text).__name__}, not a text or None")
        return query_text.clean(text) if text and text.strip() else None


AS_USUAL = Reading()
