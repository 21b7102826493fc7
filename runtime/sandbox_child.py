"""The sandbox of child processes: what they read may be of any make, and they need less than a start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.sandbox import Sandbox


def of_pdf() -> Sandbox | None:
    """For a child that reads a file from its standard input: it needs nothing but its own code."""
    return _enter((), "/nonexistent", Path(sys.executable).parent, gpu=False)


def of_probe(model: str, native: Path, backends: Sequence[str], cache: str) -> Sandbox | None:
    """For a child that measures: it reads the model and the libraries, the CPU's and perhaps a GPU's."""
    folders = tuple(str(Path(backend).parent) for backend in backends)
    return _enter((*([model] if model else []), *folders), cache, native, gpu=len(backends) > 1)


def _enter(files: tuple[str, ...], cache: str, native: Path, *, gpu: bool) -> Sandbox | None:
    if sys.platform == "win32":
        return None  # its policies hold for a whole process, and drivers load as they like
    from solofile.runtime import sandbox, sandbox_needs
    from solofile.runtime.confining import program_folders

    place = sandbox_needs.Place(files, program_folders(native), cache)
    return sandbox.enter(sandbox_needs.of_child(place, gpu=gpu))
