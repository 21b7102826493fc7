"""Locks of folders in the cache: a file ``<folder>.lock`` beside each, held by flock (LockFileEx on Windows) and dated
by its last use.

Shared by who uses the folder, exclusive for who writes or removes it. A file system without such locks (some network
ones) is worked on without: every writer renames a finished folder into place, so the worst is work done twice.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl as fcntl  # tests take its place
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_STEP = 0.02


class Lock:
    """The lock of one folder. Held until `close`, or until the process ends."""

    def __init__(self, folder: Path) -> None:
        """Open the lock file of ``folder`` and make it where it is missing; OSError where that cannot be."""
        self.path = folder.with_name(folder.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self.path, flags, 0o600)

    def share(self) -> None:
        """Wait for a writer to finish, then keep others from removing the folder; notes the use."""
        self._lock("LOCK_SH")
        os.utime(self._descriptor if os.utime in os.supports_fd else self.path)

    def seize(self, *, patience: float = 0.0, done: Callable[[], bool] = lambda: False) -> bool:
        """Try to get the folder alone for ``patience`` seconds, or until ``done`` says that there is no need any more.

        False where others kept it (or ``done`` came true).
        """
        self._lock("LOCK_UN")
        end = time.monotonic() + patience
        while not self._lock("LOCK_EX", "LOCK_NB"):
            if done() or time.monotonic() >= end:
                return False
            time.sleep(_STEP)
        return True

    def identity(self) -> tuple[int, int]:
        """Device and inode of the lock file."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def age(self) -> float:
        """Seconds since the folder was last used."""
        return time.time() - os.fstat(self._descriptor).st_mtime

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._descriptor)

    def _lock(self, *names: str) -> bool:
        """Take, change or drop the lock; False where it is held by others. Without locks in the system: True."""
        if sys.platform == "win32":
            return _lock_windows(self._descriptor, names)
        if fcntl is None:
            return True
        operation = 0
        for name in names:
            operation |= int(getattr(fcntl, name))
        try:
            fcntl.flock(self._descriptor, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        return True


def _lock_windows(descriptor: int, names: tuple[str, ...]) -> bool:
    from solofile.runtime import windows_calls

    if "LOCK_UN" in names:
        windows_calls.unlock(descriptor)
        return True
    return windows_calls.lock(descriptor, exclusive="LOCK_EX" in names, wait="LOCK_NB" not in names)


def holders(lock: Lock, proc_locks: str = "/proc/locks") -> set[int] | None:
    """The processes that hold ``lock``; 0 or less stands for one out of sight. None where the system does not say."""
    try:
        lines = Path(proc_locks).read_text().splitlines()
    except OSError:
        return None
    device, inode = lock.identity()
    name = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    found = set()
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY READ 1234 fe:01:5678 0 EOF; a waiting one has -> behind the number
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == name:
            found.add(int(words[4]))
    return found
