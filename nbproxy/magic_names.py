"""What the words of the magics stand for: sessions and models by name, from the notebook's own variables too."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import ConfigError
from .named import named
from .recording import Recorded
from .registry import REGISTRY

BUILT_IN = ("none", "original", "bm25", "words", "minilm")
DEFAULT = "default"


class Names:
    """
    :param variables: the notebook's.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = dict(variables)

    def sessions(self) -> dict[str, Any]:
        """Those that run in this process by name, and by their variable those that one holds, which may be
        proxies elsewhere (``nbproxy.connect``)."""
        held = {name: one for name, one in self._variables.items() if _is_session(name, one)}
        return {**held, **REGISTRY.running()}

    def each_session(self) -> list[Any]:
        """The same, each once."""
        return list({id(one): one for one in self.sessions().values()}.values())

    def session(self, name: str | None = None) -> Any:
        """The one of that name; None: the default one, or the only one.

        :raises ConfigError: there is none, or it is not clear which one.
        """
        known, apart = self.sessions(), self.each_session()
        if name is not None:
            if name in known:
                return known[name]
            raise ConfigError(unknown("session", name, known))
        if DEFAULT in REGISTRY.running():
            return REGISTRY.running()[DEFAULT]
        if len(apart) == 1:
            return apart[0]
        if not apart:
            raise ConfigError("no session runs; %nbproxy start begins one")
        raise ConfigError(f"several sessions run; say --session and one of {', '.join(known)}")

    def model(self, text: str, kept: Mapping[str, Any]) -> Any:
        """What to assign: one of ``session.models``, a built-in one, a variable's value, or what
        :func:`nbproxy.named.named` makes of it.

        :raises ConfigError: a bare name that is none of these, nor anything here, but nearly one.
        """
        if text in kept:
            return kept[text]
        if text not in BUILT_IN and text.isidentifier() and text in self._variables:
            return self._variables[text]
        known = self.models(kept)
        if text.isidentifier() and text not in BUILT_IN and difflib.get_close_matches(text, known, n=1):
            raise ConfigError(unknown("model", text, known))  # a slip, not a hub id: no need to ask the hub
        return named(text)

    def models(self, kept: Mapping[str, Any]) -> list[str]:
        """Names to complete: the session's, the built-in ones, and variables that may be models."""
        here = [name for name, value in self._variables.items() if _may_be_model(name, value)]
        return list(dict.fromkeys([*kept, *BUILT_IN, *here]))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line that names what there is, and what was probably meant."""
    near = difflib.get_close_matches(name, list(known), n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"no {what} is called {name!r}; {guess}there are: {', '.join(known) or 'none'}"


def _is_session(name: str, value: Any) -> bool:
    return not name.startswith("_") and isinstance(value, Recorded) and bool(getattr(value, "running", False))


def _may_be_model(name: str, value: Any) -> bool:
    """A function of the notebook's own, or an object that scores; not the classes and libraries that it imported."""
    if name.startswith("_") or isinstance(value, type):
        return False
    ours = callable(value) and getattr(value, "__module__", None) == "__main__"
    return ours or callable(getattr(value, "score", None))
