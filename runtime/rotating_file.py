"""A file to which lines are added, and which makes way for a new one when it is full: here, or by the process outside
the sandbox, which finds in its own scope what file that is.

To that process lines go through a pipe. A line that is in the pipe gets written even when this process crashes.
"""

from __future__ import annotations

import errno
import json
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.errands import Errands

LONGEST = 4096
"""Bytes of a line that a pipe takes whole or not at all (PIPE_BUF of Linux)."""

_ROOM = 1 << 20
_PATIENCE = 1000
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which fcntl has by name on Linux alone


class RotatingFile:
    """FILE, and FILE.1 to FILE.``kept`` beside it, each of ``limit`` bytes at most."""

    def __init__(self, path: Path, limit: int, kept: int) -> None:
        """Open it: OSError where that cannot be."""
        self._path, self._limit, self._kept = path, limit, kept
        self._file: IO[bytes] | None = self._open()

    def write(self, line: bytes) -> None:
        """Add a line; OSError where it is lost."""
        self._ready(len(line)).write(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> IO[bytes]:
        # Not buffered: a line is one write, so nothing is lost with the process. Others on the machine may not read it.
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab", buffering=0)

    def _ready(self, size: int) -> IO[bytes]:
        if self._file is not None and self._is_elsewhere(self._file):
            self.close()
        if self._file is not None and self._is_full(self._file, size):
            self.close()
            self._rotate()
        if self._file is None:
            self._file = self._open()
        return self._file

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


class OutsideFile:
    """The same, written by the process outside; ``lost`` is told, from a thread, of each line that was not."""

    def __init__(self, errand: Errands, lost: Callable[[OSError], None]) -> None:
        """Have it opened: OSError where that cannot be."""
        from solofile.runtime import errands

        self._sending, receiving = errand.hand_over(errands.LOG)
        self._answers = os.fdopen(receiving, "rb")
        os.set_blocking(self._sending, False)
        with suppress(ImportError, OSError):  # a burst of lines need not wait
            import fcntl

            fcntl.fcntl(self._sending, _SET_PIPE_SIZE, _ROOM)
        self._poll = select.poll()
        self._poll.register(self._sending, select.POLLOUT)
        failure = self._answer()
        if failure is None or failure.errno:
            self._answers.close()
            self.close()
            raise failure or OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        threading.Thread(target=self._follow, args=(lost,), name="solofile-access-log", daemon=True).start()

    def write(self, line: bytes) -> None:
        """Add a line; OSError where it is lost already now."""
        if len(line) > LONGEST:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        try:
            os.write(self._sending, line)
        except BlockingIOError:
            self._poll.poll(_PATIENCE)
            os.write(self._sending, line)

    def close(self) -> None:
        """Let it be closed when all is written; what comes after that is lost."""
        if self._sending >= 0:
            os.close(self._sending)
        self._sending = -1

    def _answer(self) -> OSError | None:
        """What became of the opening, and of each line that was lost: errno, 0 for success. None at the end."""
        with suppress(OSError, ValueError, KeyError):
            code = int(json.loads(self._answers.readline())["errno"])
            return OSError(code, os.strerror(code))
        return None

    def _follow(self, lost: Callable[[OSError], None]) -> None:
        with self._answers:
            while (failure := self._answer()) is not None:
                lost(failure)


def serve(path: Path, limit: int, kept: int, lines: IO[bytes], answers: IO[bytes]) -> None:
    """Be the process outside: write ``lines`` until there are no more."""
    try:
        file = RotatingFile(path, limit, kept)
    except OSError as error:
        _tell(answers, error.errno or errno.EIO)
        return
    _tell(answers, 0)
    for line in lines:
        try:
            file.write(line)
        except OSError as error:
            _tell(answers, error.errno or errno.EIO)
    file.close()


def _tell(answers: IO[bytes], code: int) -> None:
    with suppress(OSError):  # nobody may be there any more who wants to know
        answers.write(json.dumps({"errno": code}).encode() + b"\n")
        answers.flush()
