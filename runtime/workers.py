"""The threads that answer requests: as many as there are open requests, up to a limit.

cheroot's own pool has a fixed number of threads and joins them without a limit of time when it stops. A language model
answers slowly, so many requests wait at once: like llama-server this pool adds threads for as long as they are needed.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

EXTRA_THREADS = 1024
"""Threads above the kept ones, as in llama-server."""

IDLE_SECONDS = 10.0
"""An extra thread that had nothing to do for so long ends."""

log = logging.getLogger("solofile.http")


class Connection(Protocol):
    """The part of cheroot's HTTPConnection that a worker uses."""

    socket: socket.socket

    def communicate(self) -> bool:
        """Answer one request; whether the connection stays open."""

    def close(self) -> None:
        """Close it."""


class Keeper(Protocol):
    """Where a connection waits for its next request."""

    def put_conn(self, conn: Connection) -> None:
        """Take an idle connection back."""


class Workers:
    """A pool with the methods that a cheroot server expects of one: ``min``, ``idle``, ``put``, ``start``, ``stop``."""

    def __init__(self, keeper: Keeper, kept: int, extra: int = EXTRA_THREADS) -> None:
        """Keep up to ``kept`` threads once they were needed, and add up to ``extra`` for a while."""
        self.min = kept
        self.idle = 0
        self._max = kept + extra
        self._keeper = keeper
        self._changed = threading.Condition()
        self._waiting: deque[Connection] = deque()
        self._threads: dict[threading.Thread, Connection | None] = {}
        self._stopping = False

    def start(self) -> None:
        """Threads are made when requests come."""

    def put(self, conn: Connection) -> None:
        """Have the next request of ``conn`` answered."""
        with self._changed:
            if not self._stopping:
                self._waiting.append(conn)
                # Idle threads that were woken and did not run yet still count, and so do the connections they wait for.
                if len(self._waiting) <= self.idle or len(self._threads) >= self._max:
                    self._changed.notify()
                else:
                    self._add_thread()
                return
        conn.close()

    def stop(self, timeout: float | None = 5) -> None:
        """Let the open requests end within ``timeout`` seconds, then cut their connections."""
        with self._changed:
            self._stopping = True
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
            unanswered = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for conn in unanswered:
            conn.close()
        end = time.monotonic() + (timeout or 0)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            stuck = [conn for conn in self._threads.values() if conn is not None]
        for conn in stuck:
            # Wakes a thread that hangs in a read or a write; the threads are daemons, so none keeps the process.
            with suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="solofile-http", daemon=True)
        self._threads[thread] = None
        thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        try:
            while (conn := self._next(me)) is not None:
                self._answer(conn)
        finally:
            with self._changed:
                del self._threads[me]

    def _next(self, me: threading.Thread) -> Connection | None:
        """The next connection; None to end this thread."""
        with self._changed:
            self._threads[me] = None
            while not self._waiting:
                if self._stopping:
                    return None
                extra = len(self._threads) > self.min
                self.idle += 1
                woken = self._changed.wait(IDLE_SECONDS if extra else None)
                self.idle -= 1
                if not woken and not self._waiting and len(self._threads) > self.min:
                    return None
            conn = self._threads[me] = self._waiting.popleft()
            return conn

    def _answer(self, conn: Connection) -> None:
        keep = False
        try:
            keep = conn.communicate()
        except OSError:
            log.debug("The connection broke.", exc_info=True)
        except Exception:
            log.exception("A request could not be answered.")
        if keep:
            self._keeper.put_conn(conn)
            return
        with suppress(OSError):
            conn.close()
