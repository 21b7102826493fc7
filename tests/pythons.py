"""The Pythons that are here, each version once: this one, those on the path and pyenv's."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)


@functools.cache
def all_pythons() -> dict[tuple[int, int], str]:
    """By version, the lowest first; of those that bundles start in and of older ones."""
    named = [found for minor in range(8, 20) if (found := shutil.which(f"python3.{minor}"))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # A name on the path may be pyenv's own script, which starts the version of its choice.
    candidates = [sys.executable, *map(str, sorted(pyenv.glob("versions/3.*/bin/python"))), *named, "/usr/bin/python3"]
    found: dict[tuple[int, int], str] = {}
    for path in candidates:
        version = version_of(path)
        if version:
            found.setdefault(version, path)
    return dict(sorted(found.items()))


def version_of(path: str) -> tuple[int, int] | None:
    """The version of a Python; None for a file that cannot be started as one."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=False)
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return major, minor


NEW = {version: path for version, path in all_pythons().items() if version >= OLDEST}
OLD = {version: path for version, path in all_pythons().items() if (3, 8) <= version < OLDEST}
