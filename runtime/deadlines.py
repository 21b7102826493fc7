"""Ends what takes too long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType

from solofile.runtime.rounds import Rounds

INTERVAL = 0.2
"""Seconds between two looks."""

log = logging.getLogger("solofile.http")


class Deadline:
    """A time at which ``action`` is called, unless it was closed before."""

    def __init__(self, owner: Deadlines, at: float, action: Callable[[], None]) -> None:
        self._owner, self.at, self._action = owner, at, action
        self.passed = False

    def close(self) -> None:
        """It was in time; may be called again."""
        self._owner.forget(self)

    def strike(self) -> None:
        """It was not."""
        self.passed = True
        try:
            self._action()
        except Exception:
            log.exception("What took too long could not be ended.")

    def __enter__(self) -> Deadline:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class Deadlines:
    """All deadlines of a server."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """Look every ``interval`` seconds."""
        self._rounds: Rounds[Deadline] = Rounds("solofile-deadlines", interval, self._look)

    def within(self, seconds: float, action: Callable[[], None]) -> Deadline:
        """Call ``action`` from the thread in so many seconds."""
        deadline = Deadline(self, time.monotonic() + seconds, action)
        self._rounds.add(deadline)
        return deadline

    def forget(self, deadline: Deadline) -> None:
        """End one."""
        self._rounds.remove(deadline)

    def stop(self) -> None:
        """End the thread; nothing is called any more."""
        self._rounds.stop()

    def _look(self, deadlines: list[Deadline]) -> None:
        now = time.monotonic()
        for deadline in deadlines:
            if deadline.at <= now and self._rounds.remove(deadline):
                deadline.strike()
