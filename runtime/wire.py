"""What goes over a connection: bodies in chunks come in, heads and pieces of bodies go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from solofile.runtime import slim  # noqa: F401 - first, it makes the next import cheap

# isort: split
from cheroot import server
from solofile.runtime.http_errors import JSON_TYPE, BadBodyError, RequestTooLargeError, error_body

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from solofile.runtime.deadlines import Deadline

MAX_LINE = 64 * 1024


class KnownBody(server.KnownLengthRFile):
    """A request's body of known length."""

    def __init__(self, rfile: Any, length: int, deadline: Deadline) -> None:
        """Read ``length`` bytes from ``rfile``; when they have come, that was within the ``deadline``."""
        super().__init__(rfile, length)
        self._deadline = deadline
        if not length:
            deadline.close()

    def read(self, size: int | None = None) -> bytes:
        """Up to ``size`` bytes, empty at the end; `BadBodyError` where they end early, TimeoutError if too late."""
        data: bytes = super().read(size)
        if not self.remaining:
            self._deadline.close()
        elif not data and size != 0:
            raise _cut(self._deadline)
        return data


class ChunkedBody:
    """A request's body in the chunked transfer coding, read no further and no faster than the app asks."""

    def __init__(self, rfile: Any, limit: int, room: Callable[[int], bool], deadline: Deadline) -> None:
        """Read from ``rfile``; more than ``limit`` bytes, or than there is ``room`` for, are `RequestTooLargeError`."""
        self._rfile = rfile
        self._limit, self._room, self._deadline = limit, room, deadline
        self._left = 0
        self._seen = 0
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, empty at the end; `BadBodyError` where the coding is broken."""
        parts: list[bytes] = []
        wanted = size if size is not None and size >= 0 else self._limit + 1
        while wanted > 0 and (self._left or self._next_chunk()):
            part = self._rfile.read(min(wanted, self._left))
            if not part:
                raise _cut(self._deadline)
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
            if not self._left and self._rfile.readline(3) != b"\r\n":
                raise BadBodyError("A chunk of the body does not end where it should.")
        return b"".join(parts)

    def _next_chunk(self) -> bool:
        if self.ended:
            return False
        digits = self._rfile.readline(256).split(b";", 1)[0].strip()
        if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
            raise BadBodyError("A chunk of the body has no size.")
        self._left = int(digits, 16)
        self._seen += self._left
        if self._seen > self._limit or not self._room(self._left):
            raise RequestTooLargeError
        if not self._left:
            self.ended = True
            self._deadline.close()
            while self._rfile.readline(MAX_LINE) not in (b"\r\n", b""):
                pass  # trailer fields say nothing to us
        return not self.ended


def _cut(deadline: Deadline) -> Exception:
    return TimeoutError() if deadline.passed else BadBodyError("The body ends early.")


class Sender:
    """The writing side of a connection: a head waits for the body's first piece, so that one send takes both."""

    closed = False
    bytes_written = 0

    def __init__(self, sock: socket.socket) -> None:
        """Write to ``sock``."""
        self._sock = sock
        self._held = b""

    def write(self, data: bytes) -> int:
        """Hold ``data``; what cheroot itself writes are heads."""
        self._held += data
        return len(data)

    def send(self, data: bytes = b"") -> None:
        """Send what is held, and ``data``."""
        if self._held:
            data = self._held + data
            self._held = b""
        if data:
            self._sock.sendall(data)


def bare_answer(status: str, message: str = "") -> bytes:
    """A whole answer with llama.cpp's JSON for ``status``, after which the connection is closed."""
    code, _, reason = status.partition(" ")
    body = error_body(int(code), message or reason)
    fields = [f"HTTP/1.1 {status}", f"Content-Type: {JSON_TYPE}", f"Content-Length: {len(body)}", "Connection: close"]
    if code == "429":
        fields.append("Retry-After: 5")
    return "\r\n".join([*fields, "", ""]).encode("latin-1", "replace") + body
