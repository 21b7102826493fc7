"""The access log: one JSON object a line, in a file that the user names, with the older ones beside it.

    {"time":"2026-01-31T12:00:00.123Z","id":"…","client":"10.0.0.7","key":"lab","method":"POST",
     "path":"/v1/chat/completions","status":200,"bytes":2210,"seconds":1.205,"first":0.081,"prompt":20,"cached":16,
     "completion":48,"end":"whole"}

``key`` is a name and never the key; the query, the headers and the texts of a request are not in it. A file of
``limit`` bytes becomes FILE.1, that one FILE.2, and so on; the oldest goes. A file that another program moved away
(logrotate) is made anew. What cannot be written is lost and counted; the requests are answered all the same.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from solofile.runtime.visit import Visit

KEPT = 5
"""Older files beside the one that is written."""

SAY_AGAIN = 600.0
"""Seconds between two messages that it cannot be written."""


class AccessLog:
    """Writes a line for each request that has ended."""

    def __init__(
        self, path: Path, limit: int, say: Callable[[str], None], failed: Callable[[], None], kept: int = KEPT
    ) -> None:
        """Open ``path``; `InputError` where that cannot be. ``failed`` counts a line that was lost."""
        self._path, self._limit, self._say, self._failed, self._kept = path, limit, say, failed, kept
        self._lock = threading.Lock()
        self._said = float("-inf")
        try:
            self._file: IO[bytes] | None = self._open()
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}): give --access-log a file in a folder of yours."
            ) from error

    def write(self, visit: Visit) -> None:
        """Add a line."""
        line = json.dumps(entry(visit), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        with self._lock:
            try:
                self._ready(len(line)).write(line)
            except OSError as error:
                self._lost(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        # Not buffered: a line is one write, so nothing is lost with the process. Others on the machine may not read it.
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab", buffering=0)

    def _ready(self, size: int) -> IO[bytes]:
        file = self._file
        if file is not None and self._is_elsewhere(file):
            file.close()
            file = self._file = None
        if file is not None and self._is_full(file, size):
            file.close()
            self._file = None
            self._rotate()
            file = None
        if file is None:
            file = self._file = self._open()
        return file

    def _is_elsewhere(self, file: IO[bytes]) -> bool:
        here = os.fstat(file.fileno())
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def _is_full(self, file: IO[bytes], size: int) -> bool:
        before = os.fstat(file.fileno()).st_size
        return before > 0 and before + size > self._limit

    def _rotate(self) -> None:
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, self._kept + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)

    def _lost(self, error: OSError) -> None:
        self._failed()
        now = time.monotonic()
        if now - self._said > SAY_AGAIN:
            self._said = now
            self._say(f"The access log {self._path} cannot be written ({error.strerror}): lines are lost.")


def entry(visit: Visit) -> dict[str, Any]:
    """The fields of a line; those of an answer only where there was one."""
    seconds = int(visit.wall)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    found: dict[str, Any] = {
        "time": f"{stamp}.{int((visit.wall - seconds) * 1000):03d}Z",
        "id": visit.id,
        "client": visit.client,
        "key": visit.key.name or None,
        "method": visit.method,
        "path": visit.path[:512],
        "status": visit.status,
        "bytes": visit.sent,
        "seconds": round(visit.seconds, 4),
    }
    if visit.refused:
        found["refused"] = visit.refused
    if visit.generates and visit.ticket is not None:
        found["first"] = None if visit.first is None else round(visit.first, 4)
        found |= {"prompt": visit.usage.prompt, "cached": visit.usage.cached, "completion": visit.usage.completion}
    return {**found, "end": visit.end}
