"""A GPU that stops answering in mid-answer: noticed, said, remembered, and ended, so that the CPU takes over.

A driver that hangs cannot be interrupted from within. The process aborts, and the launcher starts it once more; that
start knows what was to blame (remembered.py) and goes without the GPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from solofile.runtime import findings, remembered

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NamedTuple

    from solofile.runtime.kernel_path import KernelPath
else:
    from solofile.runtime.record import NamedTuple

INTERVAL = 1.0
STRIKES = 3
"""How often in a row the limit must be found exceeded: a process that was stopped for a while finishes meanwhile."""

Say = Callable[[str], None]


class Busy(Protocol):
    """The engine, as far as the watchdog goes."""

    def busy(self) -> float:
        """For how many seconds the batch under way has been computed, 0 when there is none."""


class Watch(NamedTuple):
    """How often in a row the same batch was found to take longer than ``limit`` seconds."""

    limit: float
    strikes: int = 0

    def look(self, seconds: float) -> Watch:
        """The next state, when the batch under way has taken so many seconds."""
        return Watch(self.limit, self.strikes + 1 if seconds > self.limit else 0)

    @property
    def hangs(self) -> bool:
        """Is it time to give up?"""
        return self.strikes >= STRIKES


def start(
    engine: Busy, path: KernelPath, limit: float, notebook: Path, launcher: str, say: Say,
    *, interval: float = INTERVAL, end: Callable[[], None] = os.abort,
) -> threading.Thread | None:  # fmt: skip
    """Watch a GPU on a thread of its own; none where no GPU is in use or ``limit`` is 0.

    ``notebook`` is the file of remembered.py, ``launcher`` the process that starts us once more; ``end`` ends this one.
    """
    if not path.backend or limit <= 0:
        return None

    def give_up() -> None:
        what = f"did not finish a batch within {limit:g} s"
        say(f"{path.device} {what}: starting once more on the CPU (--gpu-timeout allows more).")
        note = threading.Thread(
            target=remembered.add, args=(notebook, findings.of_crash(path.gpu_key, what, launcher)), daemon=True
        )
        note.start()
        note.join(2 * interval)  # a disk that hangs as well must not keep us
        end()

    def watch() -> None:
        state = Watch(limit)
        pause = threading.Event()
        while not state.hangs:
            pause.wait(interval)
            state = state.look(engine.busy())
        give_up()

    thread = threading.Thread(target=watch, name="solofile-watchdog", daemon=True)
    thread.start()
    return thread
