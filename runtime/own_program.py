"""How this program is started once more: frozen, in the user's Python out of the cache, or from a source tree."""

from __future__ import annotations

import sys


def command() -> list[str]:
    """The words that start it, without its arguments.

    The runtime itself and not the bundle: its launcher would start what crashes once more in another way.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable]
    start: list[str] | None = getattr(sys, "solofile_start", None)  # set by the script that the launcher starts
    return [sys.executable, *(start or ("-m", "solofile.runtime"))]
