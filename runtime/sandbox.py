"""What a start may still do once it has all that it needs: the sandbox, on by default.

Two steps, each with the means of the system (sandbox_linux.py, sandbox_macos.py, sandbox_windows.py). `enter`, when the
port is taken and the user's files are found, and before anything reads the model: files, connections. `Sandbox.seal`,
when the model is loaded: programs, new code. Where a system lacks something, the other things hold, and what is lacking
is said. What has to be done outside is asked of a process that was there before (errands.py).
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from solofile.runtime import settings

if TYPE_CHECKING:
    from solofile.runtime.sandbox_needs import Needs


class Sandbox:
    """The sandbox of this process; ``lacks`` says what of it this system does not give."""

    def __init__(self, needs: Needs, lacks: str) -> None:
        self._needs = needs
        self._sealed = False
        self._lock = threading.Lock()
        self.lacks = [lacks] if lacks else []

    def seal(self) -> None:
        """The second step, once: call it when the model is loaded, or cannot be."""
        with self._lock:
            if self._sealed:
                return
            self._sealed = True
            lacks = _system().seal(gpu=self._needs.gpu)
        if lacks:
            self.lacks.append(lacks)


def enter(needs: Needs) -> Sandbox:
    """The first step, for this process and whatever it starts."""
    return Sandbox(needs, _system().enter(needs))


def _system() -> ModuleType:
    """The module of this system; all have ``enter``, ``seal``, ``level`` and ``trial``."""
    if sys.platform == "win32":
        from solofile.runtime import sandbox_windows as found
    elif sys.platform == "darwin":
        from solofile.runtime import sandbox_macos as found
    else:
        from solofile.runtime import sandbox_linux as found
    return found


def report(needs: Needs, *, wanted: bool) -> dict[str, Any]:
    """What --doctor says: what a start would reach here, and why not more."""
    if not wanted:
        return {"wanted": False, "files": False, "calls": False, "landlock": 0, "lacks": [settings.NO_SANDBOX]}
    files, calls = _system().trial(needs._replace(make=(), write=()))
    level = _system().level()
    return {
        "wanted": True,
        "files": level > 0 if sys.platform.startswith("linux") else not files,
        "calls": not calls,
        "landlock": level,
        "lacks": [one for one in (files, calls) if one],
    }
