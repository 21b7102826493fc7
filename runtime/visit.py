"""One request from its first byte to its last, as metrics, log, traces and limits see it."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

from solofile.runtime import usage
from solofile.runtime.auth import NOBODY, Key
from solofile.runtime.usage import Usage

if TYPE_CHECKING:
    from solofile.runtime.admission import Ticket

ID_HEADER = "X-Request-Id"
_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")

WHOLE, GONE, TIME, BROKEN = "whole", "gone", "time", "broken"
"""How an answer ended: as it should, because its client went or the server stopped, at --max-seconds, by an error."""

_GAPS = 4096
"""Gaps between tokens that are kept of one answer until its end."""


class Visit:
    """What is known of a request. ``wall`` is the clock of the log, ``begin`` one that never jumps."""

    def __init__(self, request_id: str, method: str, client: str, trace_parent: str = "") -> None:
        """It begins now."""
        self.id = request_id
        self.method, self.client, self.trace_parent = method, client, trace_parent
        self.wall, self.begin = time.time(), time.monotonic()
        self.route = ""
        """The pattern of its path; empty for a path that does not exist."""
        self.path = ""
        self.key: Key = NOBODY
        self.status = 0
        self.end = WHOLE
        self.refused = ""
        self.sent = 0
        self.ticket: Ticket | None = None
        self.generates = False
        self.streamed = False
        self.first: float | None = None
        """Seconds until the first piece of the answer."""
        self.seconds = 0.0
        self.gaps: list[float] = []
        self.usage = Usage()
        self._pieces = 0
        self._last = 0.0
        self._read: Usage | None = None
        self.released = False
        self.over = False

    def piece(self, chunk: bytes) -> None:
        """A piece of the answer came."""
        now = time.monotonic()
        self.sent += len(chunk)
        if chunk.startswith(b":"):
            return  # a comment, to keep the connection open
        if self.first is None:
            self.first = now - self.begin
        elif len(self.gaps) < _GAPS:
            self.gaps.append(now - self._last)
        self._last = now
        self._pieces += 1
        found = usage.read(chunk)
        if found is not None:
            self._read = found

    def read(self, whole: bytes) -> None:
        """An answer in one piece came."""
        found = usage.read(whole)
        if found is not None:
            self._read = found

    def close(self) -> None:
        """It has ended."""
        self.seconds = time.monotonic() - self.begin

    def count(self) -> None:
        """Count what it took. An answer that was cut says nothing of its tokens; each piece is one."""
        if self._read is not None:
            self.usage = self._read
        elif self.generates and self.end != WHOLE:
            self.usage = Usage(completion=self._pieces)


def request_id(given: str | None) -> str:
    """The client's own, where it is fit for a log; else a new one."""
    return given if given is not None and _ID.fullmatch(given) else secrets.token_hex(16)
