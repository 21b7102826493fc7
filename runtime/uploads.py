"""How much of bodies is held at once: a body lies in memory until its request is answered."""

from __future__ import annotations

import threading
from types import TracebackType

SMALL = 1024 * 1024
"""Bytes of a request that are not counted."""

MOST = 512 * 1024 * 1024
"""Bytes of all others together."""


class Uploads:
    """The bodies of a server. Any thread may call it."""

    def __init__(self, most: int = MOST) -> None:
        """Hold ``most`` bytes."""
        self._most = most
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self._held

    def room(self) -> Room:
        """For one request."""
        return Room(self)

    def change(self, size: int) -> bool:
        """Take, or with a negative ``size`` give back; whether there was room."""
        with self._lock:
            if size > 0 and self._held + size > self._most:
                return False
            self._held += size
            return True


class Room:
    """What one request holds, given back at the end of the block."""

    def __init__(self, owner: Uploads) -> None:
        """Nothing yet."""
        self._owner = owner
        self._seen = self._taken = 0

    def take(self, size: int) -> bool:
        """Hold ``size`` more bytes; whether there is room for them."""
        more = max(0, self._seen + size - SMALL) - self._taken
        if more and not self._owner.change(more):
            return False
        self._seen += size
        self._taken += more
        return True

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._owner.change(-self._taken)
