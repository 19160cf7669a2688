"""Watching for what takes too long, without a look at the clock for each byte.

Whoever gets bytes says only that something came (``quiet_since = None``); a sweep that looks now and then notes when it
first saw nothing. So a limit is kept to within two sweeps, and never broken early.
"""

from __future__ import annotations


class Watched:
    """Something whose other side is waited for, or not.

    :ivar awaited: whether something must come.
    :ivar quiet_since: when a sweep first saw that nothing had come; None: something has, since the last one.
    """

    awaited = False
    quiet_since: float | None = None
    _left = 0  # for the other side to take: at the last sweep that looked

    def moved(self, left: int) -> bool:
        """The sweep's look at what the other side has still to take: whether it has taken some, so that it is not
        quiet."""
        before, self._left = self._left, left
        if left != before:
            self.quiet_since = None
        return left != before

    def overdue(self, now: float, limit: float | None) -> bool:
        """The sweep's look: whether nothing has come for ``limit`` seconds (None: however long)."""
        if limit is None:
            return False
        if self.quiet_since is None:
            self.quiet_since = now
        return now - self.quiet_since > limit
