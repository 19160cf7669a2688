"""What a user sets by the panel: each done on a thread that may take minutes for it, and what is said meanwhile.

Law: what was looked at shows in a control only if it is newer than the user's last choice (:meth:`Changes.settled`),
so that nothing springs back under a hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ..background import Worker
from ..errors import NbproxyError
from ..models import stages

WHAT = ("model", "depth", "shadows")


class Changes:
    """The changes that wait or are being made.

    :param prompt: called when one has ended, or goes on to another stage.
    """

    def __init__(self, prompt: Callable[[], None]) -> None:
        self._prompt = prompt
        self._loads, self._sets = Worker("nbproxy-panel-loads"), Worker("nbproxy-panel-sets")
        self._lock = threading.Lock()
        self._pending = dict.fromkeys(WHAT, 0)
        self._settled: set[str] = set()  # what nobody has set since the look that is shown began …
        self._settling: set[str] = set()  # … and since the one that is going on did
        self._said, self._since = "", 0.0  # since when it is being done; 0: it is

    def load(self, what: str, name: str, does: Callable[[], None]) -> None:
        """Do what loads a model; whatever that raises is said, and the old one serves on."""
        self._later(what, self._loads, f"loading {name}", name, does)

    def set(self, what: str, name: str, does: Callable[[], None]) -> None:
        """Do what takes no time here, but may be far away."""
        self._later(what, self._sets, "", name, does)

    def _later(self, what: str, worker: Worker, said: str, name: str, does: Callable[[], None]) -> None:
        def work() -> None:
            failed = ""
            token = stages.set(lambda stage: self._say(f"{stage} {name}"))
            if said:
                self._say(said)
            try:
                does()
            except Exception as error:
                failed = f"{name} cannot be set: {type(error).__name__}: {error}"
            finally:
                stages.reset(token)
            self._done(what, failed)

        with self._lock:
            self._pending[what] += 1
            self._settled.discard(what)
            self._settling.discard(what)
            self._said, self._since = said, time.monotonic() if said else 0.0
        try:
            worker.submit(work)
        except NbproxyError as error:
            self._done(what, str(error))

    def _say(self, said: str) -> None:
        with self._lock:
            begun = self._since if said == self._said and self._since else time.monotonic()
            self._said, self._since = said, begun
        self._prompt()

    def _done(self, what: str, failed: str) -> None:
        with self._lock:
            self._pending[what] -= 1
            if failed or not any(self._pending.values()):
                self._said, self._since = failed, 0.0
        self._prompt()

    @property
    def notice(self) -> str:
        """What is being done, for how long; or what went wrong."""
        with self._lock:
            said, since = self._said, self._since
        took = int(time.monotonic() - since) if since else 0
        return f"{said} …{f' {took} s' if took else ''}" if since else said

    def pending(self, *what: str) -> bool:
        """Whether some of these are not done yet."""
        with self._lock:
            return any(self._pending[name] for name in what)

    # -- looks

    def look_begins(self) -> None:
        """What is looked at from now on is newer than all that was done."""
        with self._lock:
            self._settling = {what for what, waiting in self._pending.items() if not waiting}

    def look_ends(self) -> None:
        """What was looked at is there to be shown."""
        with self._lock:
            self._settled = self._settling.copy()

    def settled(self, what: str) -> bool:
        """Whether what was looked at last is newer than the user's last choice."""
        with self._lock:
            return what in self._settled

    # -- the end

    def close(self) -> None:
        """Begin no more; nobody waits for what is being done."""
        with suppress(Exception):
            for worker in (self._loads, self._sets):
                worker.close()

    def end(self, said: str) -> None:
        """Nothing is waited for any longer."""
        with self._lock:
            self._pending, self._settled = dict.fromkeys(WHAT, 0), set(WHAT)
            self._said, self._since = said, 0.0
