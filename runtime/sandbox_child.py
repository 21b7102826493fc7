"""The sandbox of child processes: what they read may be of any make, and they need less than a start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.sandbox import Sandbox


def of_pdf() -> Sandbox | None:
    """For a child that reads a file from its standard input: it needs nothing but its own code."""
    return _enter((), "/nonexistent", Path(sys.executable).parent, gpu=False)


def of_probe(model: str, native: Path, cache: str, *, gpu: bool) -> Sandbox | None:
    """For a child that measures: it reads the model and the libraries."""
    return _enter((model,) if model else (), cache, native, gpu=gpu)


def _enter(files: tuple[str, ...], cache: str, native: Path, *, gpu: bool) -> Sandbox | None:
    if sys.platform == "win32":
        return None  # its policies hold for a whole process, and drivers load as they like
    from solofile.runtime import sandbox, sandbox_needs
    from solofile.runtime.confining import program_folders

    place = sandbox_needs.Place(files, program_folders(native), cache)
    return sandbox.enter(sandbox_needs.of_child(place, gpu=gpu))
