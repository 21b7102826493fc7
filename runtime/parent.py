"""Ends the runtime with its launcher where the system does not: macOS tells no child that its parent has died."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

EVERY = 1.0
"""Seconds between two looks; a dead launcher's child is given to another process at once."""


def follow(environ: Mapping[str, str]) -> None:
    """Let this process be asked to end (SIGTERM) when the launcher that started it is gone."""
    launcher = environ.get("SOLOFILE_LAUNCHER_PID", "")
    if launcher.isdigit():
        watch(int(launcher), lambda: os.kill(os.getpid(), signal.SIGTERM))


def watch(parent: int, end: Callable[[], None]) -> threading.Thread:
    """Call ``end`` once this process is no longer a child of ``parent``."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY)
        end()

    thread = threading.Thread(target=look, name="solofile-parent", daemon=True)
    thread.start()
    return thread
