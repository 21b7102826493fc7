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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from solofile.runtime.rotating_file import OutsideFile, RotatingFile
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
        self._path, self._say, self._failed = path, say, failed
        self._lock = threading.Lock()
        self._said = float("-inf")
        try:
            self._file = _open(path, limit, kept, self._lost)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}): give --access-log a file in a folder of yours."
            ) from error

    def write(self, visit: Visit) -> None:
        """Add a line."""
        line = json.dumps(entry(visit), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        with self._lock:
            try:
                self._file.write(line)
            except OSError as error:
                self._lost(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _lost(self, error: OSError) -> None:
        self._failed()
        now = time.monotonic()
        if now - self._said > SAY_AGAIN:
            self._said = now
            self._say(f"The access log {self._path} cannot be written ({error.strerror}): lines are lost.")


def _open(path: Path, limit: int, kept: int, lost: Callable[[OSError], None]) -> RotatingFile | OutsideFile:
    """Within the sandbox no file of the user's can be made or renamed: then the process outside writes it."""
    from solofile.runtime import errands, rotating_file

    errand = errands.running()
    return rotating_file.RotatingFile(path, limit, kept) if errand is None else rotating_file.OutsideFile(errand, lost)


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
