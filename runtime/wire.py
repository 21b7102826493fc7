"""What goes over a connection: bodies in chunks come in, heads and pieces of bodies go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from solofile.runtime.http_errors import JSON_TYPE, BadBodyError, RequestTooLargeError, error_body

if TYPE_CHECKING:
    import socket

MAX_LINE = 64 * 1024


class ChunkedBody:
    """A request's body in the chunked transfer coding, read no further and no faster than the app asks."""

    def __init__(self, rfile: Any, limit: int) -> None:
        """Read from ``rfile``; more than ``limit`` bytes are `RequestTooLargeError`."""
        self._rfile = rfile
        self._limit = limit
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
                raise BadBodyError("The body ends early.")
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
        if self._seen > self._limit:
            raise RequestTooLargeError
        if not self._left:
            self.ended = True
            while self._rfile.readline(MAX_LINE) not in (b"\r\n", b""):
                pass  # trailer fields say nothing to us
        return not self.ended


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
    return "\r\n".join([*fields, "", ""]).encode("latin-1", "replace") + body
