"""ruff and mypy, as pyproject.toml sets them up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_ruff_is_clean() -> None:
    assert not run("ruff", "check", "--no-cache", ".")


def test_names_of_tests_are_unique() -> None:
    """pytest imports them by their bare names."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_mypy_is_clean(tmp_path: Path) -> None:
    # mypy does not follow the mapping of folders to packages that an editable install makes.
    package = tmp_path / "solofile"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("builder", "runtime", "webui"):
        (package / name).symlink_to(ROOT / name)
    cache = f"--cache-dir={tmp_path / 'cache'}"
    assert not run("mypy", cache, "-p", "solofile.builder", "-p", "solofile.runtime", MYPYPATH=str(tmp_path))
