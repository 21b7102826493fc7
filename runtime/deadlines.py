"""Ends what takes too long: one thread looks a few times a second at what has an end, and only while there is any."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

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
    """All deadlines of a server; the thread is made for the first one."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """Look every ``interval`` seconds."""
        self._interval = interval
        self._open: set[Deadline] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def within(self, seconds: float, action: Callable[[], None]) -> Deadline:
        """Call ``action`` from the thread in so many seconds."""
        deadline = Deadline(self, time.monotonic() + seconds, action)
        with self._changed:
            self._open.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="solofile-deadlines", daemon=True)
                self._thread.start()
            elif len(self._open) == 1:
                self._changed.notify()
        return deadline

    def forget(self, deadline: Deadline) -> None:
        """End one."""
        with self._changed:
            self._open.discard(deadline)

    def stop(self) -> None:
        """End the thread; nothing is called any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._open and not self._stopping:
                    self._changed.wait()
                if not self._stopping:
                    self._changed.wait(self._interval)
                if self._stopping:
                    return
                now = time.monotonic()
                passed = [deadline for deadline in self._open if deadline.at <= now]
                self._open.difference_update(passed)
            for deadline in passed:
                deadline.strike()
