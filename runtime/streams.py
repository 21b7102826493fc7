"""Answers that stay open for as long as a page does, without a thread each.

A worker writes the head of such an answer and hands the connection over (`HttpServer.put_conn`). From then on one
thread holds all of them: it sleeps in a selector until a page is closed, until there is news, or until it is time for
the comment that shows proxies and browsers that the connection lives. Without an open page it sleeps for good. Nothing
is ever waited for: a client that does not read what it is sent is let go and connects again by itself.
"""

from __future__ import annotations

import logging
import selectors
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

PING_SECONDS = 15.0
LOOK_SECONDS = 0.25
"""Between two looks for news while they come often: while the model loads."""

MOST_STREAMS = 256
"""Streams at once; each takes a file descriptor, and select() of Windows takes 500 of them."""

PING = b": here\n\n"

log = logging.getLogger("solofile.http")


class News(Protocol):
    """What streams tell."""

    def now(self) -> bytes:
        """What somebody is told who comes now, as events."""

    def changes(self) -> tuple[bytes, bool]:
        """What is new since the last call, as events, and whether news come seldom from now on."""


class Connection(Protocol):
    """The part of a connection that is used here."""

    socket: socket.socket

    def close(self) -> None:
        """Close it."""


class Streams:
    """All open streams of a server; the thread is made for the first one."""

    def __init__(self, ping: float = PING_SECONDS, look: float = LOOK_SECONDS, most: int = MOST_STREAMS) -> None:
        """Send a comment every ``ping`` seconds."""
        self._ping, self._look, self._most = ping, look, most
        self._lock = threading.Lock()
        self._count = 0
        self.ever = 0
        """How many there have been."""
        self._arrived: deque[Connection] = deque()
        self._open: dict[int, Connection] = {}
        self._news: News | None = None
        self._bell: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def count(self) -> int:
        """Streams that are open, so far as is known."""
        return self._count

    @property
    def full(self) -> bool:
        """Is there no room for another one?"""
        return self._count >= self._most

    def follow(self, news: News) -> None:
        """What all streams tell from now on."""
        self._news = news

    def take(self, conn: Connection) -> None:
        """Keep ``conn``, whose head was sent, until its client goes or the server stops."""
        with self._lock:
            if not self._stopping and not self.full:
                self._count += 1
                self.ever += 1
                self._arrived.append(conn)
                if self._thread is None:
                    self._begin()
                self._ring()
                return
        _close(conn)

    def wake(self) -> None:
        """There is news."""
        with self._lock:
            self._ring()

    def stop(self, timeout: float = 1.0) -> None:
        """Tell the last news and close every stream."""
        with self._lock:
            self._stopping = True
            thread = self._thread
            self._ring()
        if thread is not None:
            thread.join(timeout)

    def _begin(self) -> None:
        self._bell, heard = socket.socketpair()
        self._bell.setblocking(False)
        heard.setblocking(False)
        self._thread = threading.Thread(target=self._run, args=(heard,), name="solofile-streams", daemon=True)
        self._thread.start()

    def _ring(self) -> None:
        if self._bell is not None:
            with suppress(OSError):
                self._bell.send(b"!")

    def _run(self, heard: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, heard:
            selector.register(heard, selectors.EVENT_READ)
            due, settled = time.monotonic() + self._ping, False
            while not self._stopping:
                wait = None if not self._open else due - time.monotonic() if settled else self._look
                ready = [key for key, _ in selector.select(None if wait is None else max(0.0, wait))]
                for key in ready:
                    if key.data is None:
                        _drain(heard)
                    elif _is_gone(key.data.socket):
                        self._forget(selector, key.data)
                text, settled = self._news.changes() if self._news else (b"", True)
                if time.monotonic() >= due:
                    due = time.monotonic() + self._ping
                    text += PING
                self._tell(selector, text)
                self._welcome(selector)
            for conn in list(self._open.values()):
                with suppress(OSError):
                    conn.socket.send(b"0\r\n\r\n")  # the end of a body in chunks
                self._forget(selector, conn)
        self._quiet()

    def _quiet(self) -> None:
        with self._lock:
            if self._bell is not None:
                self._bell.close()
            self._bell = None

    def _welcome(self, selector: selectors.BaseSelector) -> None:
        while self._arrived:
            conn = self._arrived.popleft()
            try:
                conn.socket.setblocking(False)
                selector.register(conn.socket, selectors.EVENT_READ, conn)
            except (OSError, ValueError):
                self._gone(conn)
                continue
            self._open[id(conn)] = conn
            if self._news is not None and not _send(conn, self._news.now()):
                self._forget(selector, conn)

    def _tell(self, selector: selectors.BaseSelector, text: bytes) -> None:
        for conn in list(self._open.values()) if text else ():
            if not _send(conn, text):
                self._forget(selector, conn)

    def _forget(self, selector: selectors.BaseSelector, conn: Connection) -> None:
        with suppress(KeyError, ValueError, OSError):
            selector.unregister(conn.socket)
        self._open.pop(id(conn), None)
        self._gone(conn)

    def _gone(self, conn: Connection) -> None:
        with self._lock:
            self._count -= 1
        _close(conn)


def _is_gone(sock: socket.socket) -> bool:
    """Has the client of a readable ``sock`` closed it? What it sends on a stream is thrown away."""
    try:
        return not sock.recv(4096)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError as error:
        return not _wants_more(error)


def _wants_more(error: OSError) -> bool:
    """Is it TLS's way to say that there is nothing to read yet?"""
    ssl = sys.modules.get("ssl")  # imported where there is TLS
    return ssl is not None and isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError))


def _send(conn: Connection, text: bytes) -> bool:
    """Send a chunk. One of which a part was sent cannot be taken back, so who has no room for it is gone."""
    chunk = b"%x\r\n%b\r\n" % (len(text), text)
    try:
        return conn.socket.send(chunk) == len(chunk)
    except OSError:
        return False


def _close(conn: Connection) -> None:
    with suppress(OSError):
        conn.close()


def _drain(heard: socket.socket) -> None:
    with suppress(OSError):
        while heard.recv(4096):
            pass
