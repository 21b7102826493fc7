"""When a program that was started by a double-click ends by itself: nobody has its page open, and nobody asks it.

Pure of threads: the main loop of serving.py asks `Presence.due` while it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILED_SECONDS = 60.0
"""Without a model there is nothing to come back for."""


class Presence:
    """Counts the time without a page, from the last one's close on; before the first one was opened none counts."""

    def __init__(
        self, seconds: float | None, pages: Callable[[], tuple[int, int]], calls: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic, *, seen: bool = False,
    ) -> None:  # fmt: skip
        """End after ``seconds``, None for never. ``pages`` and ``calls``: how many are open, and how many ever were.

        ``seen``: a page was open before this began to count.
        """
        self._seconds, self._pages, self._calls, self._clock = seconds, pages, calls, clock
        self._since = clock()
        self._seen = seen
        self._ever = (0, 0)

    def fail(self) -> None:
        """There is no model: wait for less long, and also for a page that never was opened."""
        self._seconds = FAILED_SECONDS if self._seconds is None else min(self._seconds, FAILED_SECONDS)
        self._seen = True
        self._since = self._clock()

    @property
    def due(self) -> bool:
        """Is it time to end?"""
        (pages, pages_ever), (calls, calls_ever) = self._pages(), self._calls()
        ever = (pages_ever, calls_ever)
        if pages or calls or ever != self._ever:
            self._seen |= bool(pages_ever)
            self._since, self._ever = self._clock(), ever
            return False
        return self._seen and self._seconds is not None and self._clock() - self._since >= self._seconds
