"""Control groups for benchmarks and tests, of either version: a share of a CPU, memory, a device that gives so many
bytes a second.

They need root. A group is removed when the block ends, with whatever still runs in it ended before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds


@dataclass(frozen=True)
class Group:
    """One control group."""

    folder: Path

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """``command``, started inside the group."""
        return ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(self.folder), *map(str, command)]


@contextmanager
def cpu_quota(cpus: float) -> Iterator[Group]:
    """A group whose processes get ``cpus`` CPUs of time together."""
    with _made("cpu") as (folder, first):
        if first:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(str(int(cpus * PERIOD)))
        else:
            (folder / "cpu.max").write_text(f"{int(cpus * PERIOD)} {PERIOD}")
        yield Group(folder)


@contextmanager
def read_limit(device: int, speed: int) -> Iterator[Group]:
    """A group whose processes get ``speed`` bytes a second from the block device with the number ``device``."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with _made("blkio", "io") as (folder, first):
        if first:
            (folder / "blkio.throttle.read_bps_device").write_text(f"{number} {speed}")
        else:
            (folder / "io.max").write_text(f"{number} rbps={speed}")
        yield Group(folder)


@contextmanager
def memory_limit(size: int) -> Iterator[Group]:
    """A group whose processes get ``size`` bytes of memory together."""
    with _made("memory") as (folder, first):
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(size))
        yield Group(folder)


@contextmanager
def _made(first: str, second: str = "") -> Iterator[tuple[Path, bool]]:
    """A new group of the controller ``first`` (version 1) or ``second`` (version 2, by default called the same)."""
    is_first = (ROOT / first).is_dir()
    parent = ROOT / first if is_first else ROOT
    if not is_first:
        (parent / "cgroup.subtree_control").write_text(f"+{second or first}")
    folder = parent / f"solofile-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    try:
        yield folder, is_first
    finally:
        _end(folder)


def _end(folder: Path) -> None:
    for _ in range(100):
        for process in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.05)
