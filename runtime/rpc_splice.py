"""Passes bytes on between a local socket and an encrypted one, both ways, until one of the two ends.

One thread for both ways: two must not use the same TLS connection at once. Written to be no bottleneck: large pieces,
no copies, and whatever can be sent at once is.
"""

from __future__ import annotations

import select
import socket
import ssl

PIECE = 256 * 1024

_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_EMPTY = memoryview(b"")


class _Way:
    """One direction: what was read from ``source`` and is to go to ``sink``."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self._buffer = memoryview(bytearray(PIECE))
        self.left = _EMPTY
        self.ended = False

    def move(self) -> None:
        """Read and write until one of the two would have to be waited for, or the source ends. Raises OSError."""
        try:
            while True:
                if not self.left:
                    size = self.source.recv_into(self._buffer)
                    if not size:
                        self.ended = True
                        return
                    self.left = self._buffer[:size]
                while self.left:
                    self.left = self.left[self.sink.send(self.left) :]
        except _AGAIN:
            return


def splice(local: socket.socket, remote: ssl.SSLSocket) -> bool:
    """Pass bytes on to the end, and leave it to the caller to close the sockets.

    True where the local side ended it, or the two ended together, False where the remote side did, in whatever way.
    """
    out, back = _Way(local, remote), _Way(remote, local)
    local.setblocking(False)
    remote.setblocking(False)
    try:
        while True:
            if _moved_to_end(out):
                return True
            try:
                back.move()
            except BrokenPipeError:
                return True  # local has gone while the rest of an answer came
            except OSError:
                return _has_ended(local)
            if back.ended:
                return _has_ended(local)
            _wait(out, back)
    except OSError:
        return _has_ended(local)


def _moved_to_end(out: _Way) -> bool:
    out.move()
    return out.ended


def _has_ended(local: socket.socket) -> bool:
    """Whether the local side closed, too."""
    try:
        return not local.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _wait(out: _Way, back: _Way) -> None:
    """Until one of the two ways can go on."""
    readers = [way.source for way in (out, back) if not way.left]
    writers = [way.sink for way in (out, back) if way.left]
    if not hasattr(select, "poll"):
        select.select(readers, writers, [])
        return
    poll, events = select.poll(), {}
    for one in readers:
        events[one.fileno()] = select.POLLIN
    for one in writers:
        events[one.fileno()] = events.get(one.fileno(), 0) | select.POLLOUT
    for number, wanted in events.items():
        poll.register(number, wanted)
    poll.poll()
