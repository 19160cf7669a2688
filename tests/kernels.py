"""A real IPython kernel in a process of its own, for tests of what a notebook's user sees."""

from __future__ import annotations

import re
import sys
from types import TracebackType
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

WAIT_S = 60
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Here(KernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="here", language="python")


class Kernel:
    """Runs cells and asks for completions."""

    def __enter__(self) -> Self:
        self._manager = _Here()
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def run(self, code: str) -> dict[str, str]:
        """What a cell showed: ``stdout``, ``stderr``, the kinds of its displays, and ``error``, its traceback."""
        seen: dict[str, str] = {}

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                seen[content["name"]] = seen.get(content["name"], "") + content["text"]
            elif message["msg_type"] == "error":
                seen["error"] = _COLOURS.sub("", "\n".join(content["traceback"]))
            else:
                seen.update(content.get("data", {}))

        reply = self._client.execute_interactive(code, timeout=WAIT_S, output_hook=note, allow_stdin=False)
        return {**seen, "status": reply["content"]["status"]}

    def complete(self, code: str) -> list[str]:
        """What may replace the word at the end."""
        content = self._client.complete(code, reply=True, timeout=WAIT_S)["content"]
        return [code[: content["cursor_start"]] + match for match in content["matches"]]
