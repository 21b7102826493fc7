"""Notices clients that went away while their answer is still being computed.

A write to a closed connection fails, but in the silence of a long prompt, or of an answer that is not streamed, there
is nothing to write. One thread therefore looks at the sockets of all open calls ten times a second, at the raw bytes
(MSG_PEEK), so nothing is taken from a request that follows, and TLS works too. As in llama-server a client that closes
its sending side counts as gone.
"""

from __future__ import annotations

import logging
import select
import socket
import sys
from collections.abc import Callable, Iterable
from types import TracebackType

from solofile.runtime.rounds import Rounds

INTERVAL = 0.1
"""Seconds between two looks: gone clients are noticed within twice this."""

_TLS_ALERT = 21
_TLS_DATA = 23
_TLS13_ALERT_SIZE = 19
"""Bytes of an encrypted TLS 1.3 alert: 2 of alert, 1 of type, 16 of tag. No other message of a client is this short."""

_SELECT_LIMIT = 500
"""Sockets that one select() of Windows takes, with room to spare."""

log = logging.getLogger("solofile.http")


class Watch:
    """One watched call; a context manager that ends the watching."""

    def __init__(self, watcher: Watcher, sock: socket.socket | None, on_gone: Callable[[], None]) -> None:
        """Call ``on_gone`` once, from the watcher's thread, when the peer of ``sock`` is gone."""
        self._watcher = watcher
        self.socket = sock
        self._on_gone = on_gone
        self.told = False
        """Is the client gone, or does the server stop?"""

    def tell(self) -> None:
        """Say that the client is gone, once."""
        if self.told:
            return
        self.told = True
        try:
            self._on_gone()
        except Exception:
            log.exception("An answer whose client is gone could not be cancelled.")

    def close(self) -> None:
        """Watch no longer; may be called again."""
        self._watcher.forget(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class Watcher:
    """Watches the sockets of all open calls."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """Look every ``interval`` seconds."""
        self._rounds: Rounds[Watch] = Rounds("solofile-watch", interval, self._look)

    @property
    def calls(self) -> int:
        """How many calls there have been."""
        return self._rounds.added

    @property
    def open_calls(self) -> int:
        """How many calls are being answered."""
        return len(self._rounds)

    def watch(self, sock: socket.socket | None, on_gone: Callable[[], None]) -> Watch:
        """Begin to watch; without a socket only `cancel_all` tells. When the server stops already, tells at once."""
        watch = Watch(self, sock, on_gone)
        if not self._rounds.add(watch):
            watch.tell()
        return watch

    def forget(self, watch: Watch) -> None:
        """End one watch."""
        self._rounds.remove(watch)

    def cancel_all(self) -> None:
        """The server stops: tell every open call, and those that still come."""
        for watch in self._rounds.stop():
            watch.tell()

    def _look(self, watches: list[Watch]) -> None:
        for watch in _gone(watches):
            watch.tell()
            self.forget(watch)


def _gone(watches: Iterable[Watch]) -> list[Watch]:
    """Those whose peer is gone."""
    by_fd: dict[int, tuple[Watch, socket.socket]] = {}
    for watch in watches:
        if watch.socket is not None and (fd := watch.socket.fileno()) >= 0:
            by_fd[fd] = (watch, watch.socket)
    return [by_fd[fd][0] for fd, closed in _ready(list(by_fd)) if closed or _ended(by_fd[fd][1])]


def _ended(sock: socket.socket) -> bool:
    """Whether the bytes that wait in ``sock`` (which is readable) say that the peer is gone."""
    try:
        # The method of the plain socket: that of a TLS socket refuses to peek.
        waiting = socket.socket.recv(sock, 64, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError, TimeoutError):
        return False
    except OSError:
        return True
    return not waiting or (hasattr(sock, "do_handshake") and says_goodbye(waiting))


def says_goodbye(record: bytes) -> bool:
    """Whether a TLS record that a client sent in the middle of an answer is an alert, in practice close_notify."""
    if len(record) < 5:
        return False
    size = int.from_bytes(record[3:5], "big")
    return record[0] == _TLS_ALERT or (record[0] == _TLS_DATA and size == _TLS13_ALERT_SIZE)


if sys.platform == "win32":

    def _ready(fds: list[int]) -> list[tuple[int, bool]]:
        """The readable ones, without waiting; the second field: whether the peer is known to be gone."""
        found: list[tuple[int, bool]] = []
        for start in range(0, len(fds), _SELECT_LIMIT):
            readable, _, _ = select.select(fds[start : start + _SELECT_LIMIT], [], [], 0)
            found += [(fd, False) for fd in readable]
        return found

else:
    # Linux says that the peer closed even where a pipelined request waits in front of the end.
    _CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)

    def _ready(fds: list[int]) -> list[tuple[int, bool]]:
        """The readable ones, without waiting; the second field: whether the peer is known to be gone."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN | getattr(select, "POLLRDHUP", 0))
        return [(fd, bool(events & _CLOSED)) for fd, events in poll.poll(0)]
