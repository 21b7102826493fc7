"""A GPU that stops answering: noticed, said, remembered, and ended, so that the CPU takes over.

A driver that hangs cannot be interrupted from within. The process aborts, and the launcher starts it once more; that
start knows what was to blame (remembered.py) and goes without the GPU.

Watched is the whole way: the libraries that load, the model that is laid out and loaded (onto the GPU, a projector and
a draft model too), the warm-up, and each batch of an answer. Before the model answers there are no batches to time;
there something must move within the limit: the progress of the load, or pages of the model that come from a disk. A
driver that compiles for the first time shows no progress, but it keeps a CPU busy, and gets more time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol

# All that is needed is loaded at the beginning: a library that hangs while it loads lets no other one load.
from solofile.runtime import findings, locks, remembered

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NamedTuple

    from solofile.runtime.engine_api import State
    from solofile.runtime.kernel_path import KernelPath
else:
    from solofile.runtime.record import NamedTuple

__all__ = ["Busy", "Glance", "Guard", "Watch", "locks", "start"]

INTERVAL = 1.0
STRIKES = 3
"""How often in a row the limit must be found exceeded: a process that was stopped for a while finishes meanwhile."""

PATIENCE = 5
"""How many times the limit may pass before the model answers, while a CPU is busy."""

_BUSY = 0.5
"""The share of one CPU that counts as that."""

Say = Callable[[str], None]


class Busy(Protocol):
    """The engine, as far as the watchdog goes."""

    def busy(self) -> float:
        """For how many seconds the batch under way has been computed, 0 when there is none."""

    def state(self) -> State:
        """Where it stands."""

    def reading(self) -> tuple[int, int] | None:
        """What of the model's file has been read, None when it is not being read."""


class Glance(NamedTuple):
    """What one look found: the ``seconds`` of the batch under way, and before the model answers what is to move.

    ``worked`` are the seconds that this process has had of the CPUs.
    """

    seconds: float
    moves: Hashable = None
    worked: float = 0.0


class Watch(NamedTuple):
    """How often in a row a batch, or ``moves`` being the same ``since`` then, took longer than ``limit`` seconds.

    ``worked`` are the seconds that the process had had of the CPUs by then, ``what`` a predicate for the GPU.
    """

    limit: float
    strikes: int = 0
    moves: Hashable = None
    since: float = 0.0
    worked: float = 0.0
    what: str = ""

    def look(self, glance: Glance, now: float) -> Watch:
        """The next state, after a look at this time (in seconds of any clock)."""
        if glance.moves is None or glance.moves != self.moves:
            since, worked = now, glance.worked
        else:
            since, worked = self.since, self.worked
        compiles = glance.worked - worked > _BUSY * (now - since)
        limit = self.limit * PATIENCE if compiles else self.limit
        if glance.moves is None and glance.seconds > self.limit:
            what = f"did not finish a batch within {self.limit:g} s"
        elif now - since > limit:
            what = f"got no further with loading the model within {limit:g} s"
        else:
            return Watch(self.limit, 0, glance.moves, since, worked)
        return Watch(self.limit, self.strikes + 1, glance.moves, since, worked, what)

    @property
    def hangs(self) -> bool:
        """Is it time to give up?"""
        return self.strikes >= STRIKES


class Guard:
    """Watches from when it is made; ``engine`` is set as soon as there is one."""

    def __init__(
        self, path: KernelPath, limit: float, notebook: Path, launcher: str, say: Say,
        *, interval: float = INTERVAL, end: Callable[[], None] = os.abort,
    ) -> None:  # fmt: skip
        """``notebook`` is the file of remembered.py, ``launcher`` the process that starts us once more; ``end`` ends
        this one."""
        self.engine: Busy | None = None
        self._path, self._limit, self._notebook, self._launcher, self._say = path, limit, notebook, launcher, say
        self._interval, self._end = interval, end
        self._dismissed = threading.Event()
        threading.Thread(target=self._run, name="solofile-watchdog", daemon=True).start()

    def dismiss(self) -> None:
        """Watch no longer: nothing more is asked of the GPU."""
        self._dismissed.set()

    def _run(self) -> None:
        state = Watch(self._limit)
        while not state.hangs:
            if self._dismissed.wait(self._interval):
                return
            state = state.look(glance(self.engine), time.monotonic())
        self._give_up(state.what)

    def _give_up(self, what: str) -> None:
        self._say(f"{self._path.device} {what}: starting once more on the CPU (--gpu-timeout allows more).")
        news = findings.of_crash(self._path.gpu_key, what, self._launcher)
        note = threading.Thread(target=remembered.add, args=(self._notebook, news), daemon=True)
        note.start()
        note.join(2 * self._interval)  # a disk that hangs as well must not keep us
        self._end()


def start(path: KernelPath, limit: float, notebook: Path, launcher: str, say: Say) -> Guard | None:
    """Watch the GPU of this path from now on; None where no GPU is in use or ``limit`` is 0."""
    return Guard(path, limit, notebook, launcher, say) if path.backend and limit > 0 else None


def glance(engine: Busy | None) -> Glance:
    """Look at the engine, or where there is none yet at what prepares it."""
    if engine is None:
        return Glance(0.0, ("preparing", *_disk()), time.process_time())
    if engine.reading() is not None:
        return Glance(0.0)
    state = engine.state()
    if state.phase != "loading":
        return Glance(engine.busy())
    return Glance(engine.busy(), (state.progress, state.message, *_disk()), time.process_time())


def _disk() -> tuple[int, ...]:
    """What this process has read from and written to disks until now: while that grows, these take their time."""
    if resource is None:
        return ()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_majflt, used.ru_inblock, used.ru_oublock
