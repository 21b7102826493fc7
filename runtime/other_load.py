"""How much of our CPUs other programs have, or other virtual machines: what is measured meanwhile says little."""

from __future__ import annotations

import os
import time

from solofile.runtime.system_files import Cpus, read_bytes

_SHORT = 0.1
"""Seconds: the system counts in hundredths."""

_IDLE = slice(4, 6)
_ALL = slice(1, 9)
"""The columns of a CPU in ``/proc/stat``: idle and waiting for a disk; all without the guests, who count as users."""


class Watch:
    """Counts from when it is made. Only Linux tells; elsewhere nobody else has anything."""

    def __init__(self, root: str = "/") -> None:
        """``root`` stands for ``/`` in tests."""
        self._root = root
        self._cpus: Cpus = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())
        self._start = self._now()

    def share(self) -> float:
        """What others have had since, in 0 (nothing) to 1 (all)."""
        seconds, busy, ours = (after - before for after, before in zip(self._now(), self._start, strict=True))
        return max(0.0, busy - ours) / (seconds * len(self._cpus)) if seconds > _SHORT and busy else 0.0

    def _now(self) -> tuple[float, float, float]:
        """Seconds of the clock, of work on our CPUs, and of our own work and that of our children that have ended."""
        own = os.times()
        text = read_bytes(self._root, "proc/stat", 1 << 20, whole=True).decode("ascii", "replace")
        busy = parse_stat(text, self._cpus)
        return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system


def parse_stat(text: str, cpus: Cpus) -> float:
    """The seconds that these CPUs have worked, by ``/proc/stat``."""
    ticks = 0
    for line in text.splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0][3:].isdecimal() and int(words[0][3:]) in cpus:
            ticks += sum(map(int, words[_ALL])) - sum(map(int, words[_IDLE]))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0
