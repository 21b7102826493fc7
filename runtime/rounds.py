"""One thread that looks at some things a few times a second, made for the first of them, asleep while there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Rounds(Generic[Thing]):
    """What is looked at: ``look`` gets all of it every ``interval`` seconds, on the thread called ``name``."""

    def __init__(self, name: str, interval: float, look: Callable[[list[Thing]], None]) -> None:
        self._name, self._interval, self._look = name, interval, look
        self.added = 0
        """How many things there have been."""
        self._things: set[Thing] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: Thing) -> bool:
        """Look at ``thing`` too; False, and nothing done, where all has been stopped."""
        with self._changed:
            if self._stopping:
                return False
            self.added += 1
            self._things.add(thing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            elif len(self._things) == 1:
                self._changed.notify()
            return True

    def remove(self, thing: Thing) -> bool:
        """Look at it no longer; False where it was not there any more."""
        with self._changed:
            there = thing in self._things
            self._things.discard(thing)
            return there

    def stop(self) -> list[Thing]:
        """End the thread and take nothing any more; return what was there."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
            return list(self._things)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._things and not self._stopping:
                    self._changed.wait()
                # Not a plain sleep: the end of the server need not wait for it.
                if not self._stopping:
                    self._changed.wait(self._interval)
                if self._stopping:
                    return
                things = list(self._things)
            self._look(things)
            del things  # the next one may be long in coming: till then nothing here is to hold on to a call
