"""Models by a text: what a command line and another process can say instead of giving an object.

Law: ``module:attribute`` imports, which runs code. So a text comes here only from whoever may do that anyway: the user
at the command line, and the holder of a session's token.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from .errors import ConfigError, NbproxyError


def named(text: str) -> Any:
    """What ``text`` stands for, to be assigned as a model.

    :param text: ``none``, ``module:attribute``, and whatever a string means to :func:`nbproxy.as_reranker`:
        ``original``, ``bm25``, ``words``, ``minilm``, a folder, a hub id, a rerank service's URL
        (``http://localhost:8080/v1/rerank#model``). Folders and modules are looked for in this process's working
        directory; a service's key is this process's environment's.
    :raises ConfigError: the module, or its attribute, is not to be had.
    """
    if text == "none":
        return None
    module, colon, attribute = text.partition(":")
    if colon and not attribute.startswith("//") and not Path(text).exists():
        return _attribute(module, attribute)
    return text


def _attribute(module: str, attribute: str) -> Any:
    """``module:attribute``, the module looked for in the working directory too."""
    here = os.getcwd()  # noqa: PTH109 - an import path is a string
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except NbproxyError:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{module}:{attribute} cannot be imported: {error}") from error
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed it too
            sys.path.remove(here)
    return found
