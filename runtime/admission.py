"""Who may be answered now: a queue of set length for all, and the limits of each key.

llama.cpp's core queues whatever comes. Here requests that need the model are counted before they get there: as many as
it has slots are being computed, ``queue`` more wait their turn, and the next one is told when to come again (429 and
Retry-After). Nothing is held back here; the core takes those that wait in the order in which they came.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from solofile.runtime.auth import NOBODY, Key

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

MINUTE = 60.0
_USUAL_SECONDS = 5.0
"""What an answer takes, until some have been seen."""


class Refusal(NamedTuple):
    """Why a request is not answered now: ``reason`` for metrics, a sentence, and the seconds to wait."""

    reason: str
    message: str
    retry_after: int
    status: int = 429


class Ticket:
    """One request that was let in; `Admission.leave` takes it back."""

    def __init__(self, key: Key, begin: float) -> None:
        """Of the holder of ``key``, at this time of the clock."""
        self.key, self.begin = key, begin


class _Holder:
    """What the holder of a key did within the last minute."""

    def __init__(self) -> None:
        self.open = 0
        self.asked: deque[float] = deque()
        self.spent: deque[tuple[float, int]] = deque()
        self.tokens = 0

    def forget(self, before: float) -> None:
        while self.asked and self.asked[0] <= before:
            self.asked.popleft()
        while self.spent and self.spent[0][0] <= before:
            self.tokens -= self.spent.popleft()[1]


class Admission:
    """Counts the requests that need the model. Any thread may call it."""

    def __init__(self, queue: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Let ``queue`` requests wait."""
        self.queue = queue
        self.slots = 1
        """How many the model answers at once; known when it is loaded."""
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0
        self._closed = False
        self._usual = _USUAL_SECONDS
        self._holders: dict[str, _Holder] = {}

    @property
    def running(self) -> int:
        """Requests that are computed, or may be."""
        return min(self._open, self.slots)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return max(0, self._open - self.slots)

    @property
    def open(self) -> int:
        """Both."""
        return self._open

    @property
    def full(self) -> bool:
        """Would the next one be refused?"""
        return self._open >= self.slots + self.queue

    @property
    def closed(self) -> bool:
        """Is nobody let in any more?"""
        return self._closed

    def close(self) -> None:
        """The server ends: let nobody in any more."""
        self._closed = True

    def enter(self, key: Key = NOBODY) -> Ticket | Refusal:
        """Let a request in, or say why not."""
        with self._lock:
            now = self._clock()
            holder = self._holders.setdefault(key.name, _Holder())
            holder.forget(now - MINUTE)
            refusal = self._refusal(key, holder, now)
            if refusal is not None:
                return refusal
            self._open += 1
            holder.open += 1
            if key.requests:
                holder.asked.append(now)
            return Ticket(key, now)

    def leave(self, ticket: Ticket, tokens: int) -> None:
        """The request has ended, having taken so many tokens."""
        with self._lock:
            now = self._clock()
            holder = self._holders[ticket.key.name]
            self._open -= 1
            holder.open -= 1
            if ticket.key.tokens and tokens:
                holder.spent.append((now, tokens))
                holder.tokens += tokens
            self._usual += (now - ticket.begin - self._usual) / 8

    def _refusal(self, key: Key, holder: _Holder, now: float) -> Refusal | None:
        if self._closed:
            return Refusal("stopping", "The server is stopping: ask again in a moment.", 5, 503)
        if key.concurrent and holder.open >= key.concurrent:
            what = _count(key.concurrent, "request")
            return Refusal("concurrent", f"This key may have {what} at once: wait for an answer.", 1)
        if key.requests and len(holder.asked) >= key.requests:
            what = _count(key.requests, "request")
            return Refusal("requests", f"This key may make {what} a minute: ask later.", _until(holder.asked[0], now))
        if key.tokens and holder.tokens >= key.tokens:
            until = _until(holder.spent[0][0], now)
            return Refusal("tokens", f"This key may use {_count(key.tokens, 'token')} a minute: ask later.", until)
        if self.full:
            turn = self._usual * (1 + self.waiting) / max(1, self.slots)
            return Refusal(
                "queue", f"{_count(self.waiting, 'request')} wait already (--queue): ask later.",
                min(60, max(1, math.ceil(turn / 4))),
            )  # fmt: skip
        return None


def _until(since: float, now: float) -> int:
    """Whole seconds until what happened at ``since`` is a minute ago."""
    return max(1, math.ceil(since + MINUTE - now))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
