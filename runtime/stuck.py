"""A core that got stuck in a grammar: noticed and ended, so that the launcher starts it once more.

While an answer is held to a grammar, llama.cpp compares each token with all ways in which the grammar could go on.
There are grammars with so many ways that this never ends, it cannot be interrupted, and all other answers wait. Whoever
writes such a grammar need not mean it. So while there are answers with one, and the model is seen computing at none of
several looks, the core is asked something small. A core that does not answer that in `SECONDS` will not answer at all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from solofile.runtime.engine_api import Request
from solofile.runtime.errors import SolofileError

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Call

SECONDS = 20.0
INTERVAL = 0.5
SUSPICIOUS = 3.0
"""Seconds without computing after which the core is asked."""


@runtime_checkable
class Busy(Protocol):
    """The engine, as far as this goes."""

    def busy(self) -> float:
        """For how many seconds the batch under way has been computed, 0 when there is none."""

    def call(self, request: Request) -> Call:
        """Prepare an answer."""


class StuckWatch:
    """Watches while there are answers with a grammar."""

    def __init__(
        self, engine: Busy, say: Callable[[str], None], *, seconds: float = SECONDS, interval: float = INTERVAL,
        suspicious: float = SUSPICIOUS, end: Callable[[], None] = os.abort,
    ) -> None:  # fmt: skip
        """``end`` ends this process in a way that the launcher takes for a crash."""
        self._engine, self._say, self._end = engine, say, end
        self._seconds, self._interval, self._suspicious = seconds, interval, suspicious
        self._changed = threading.Condition()
        self._open = 0
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """An answer with a grammar begins."""
        with self._changed:
            self._open += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="solofile-stuck", daemon=True)
                self._thread.start()
            self._changed.notify()

    def finish(self) -> None:
        """It has ended."""
        with self._changed:
            self._open -= 1

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._open:
                    self._changed.wait()
            if self._look():
                self._say(
                    f"An answer with a grammar has kept llama.cpp busy for {self._seconds:g} s without a token: the "
                    "program ends and is started again. Simplify the grammar."
                )
                self._end()
                return

    def _look(self) -> bool:
        """Watch until there are no such answers or the core computes; whether it is stuck."""
        since = time.monotonic()
        question: threading.Thread | None = None
        while self._open:
            time.sleep(self._interval)
            if self._engine.busy() > 0 or (question is not None and not question.is_alive()):
                return False
            idle = time.monotonic() - since
            if question is None and idle >= self._suspicious:
                question = threading.Thread(target=self._ask, name="solofile-question", daemon=True)
                question.start()
            if idle >= self._seconds:
                return question is not None
        return False

    def _ask(self) -> None:
        try:
            for _ in self._engine.call(Request("GET", "/metrics")).run():
                pass
        except SolofileError:
            return  # the engine has ended: it is not stuck
