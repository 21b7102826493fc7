"""The runtime frozen twice, at other paths and on another day, is the same, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from solofile.builder import freezing
from solofile.builder.freezing import freeze
from solofile.builder.hashing import folder_digests
from solofile.builder.progress import SilentProgress


def frozen(work: Path) -> dict[str, tuple[str, int]]:
    """The SHA-256 and the mode of every file."""
    folder = freeze(work, SilentProgress).folder
    return {name: (digest, (folder / name).stat().st_mode) for name, digest in folder_digests(folder).items()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    return frozen(tmp_path_factory.mktemp("a"))


def test_another_day_at_another_path(
    first: dict[str, tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = _another_day()
    code = "import time; print(time.gmtime().tm_year)"
    environment = {**os.environ, **moved}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2031
    real = freezing.tool_environment
    monkeypatch.setattr(freezing, "tool_environment", lambda *places: real(*places) | moved)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    work = tmp_path / "a longer path with spaces"
    work.mkdir()
    second = frozen(work)
    assert second.pop("_internal/libfaketime.so.1", None), "PyInstaller's clock was not moved"
    assert len(first) > 30
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()


def test_what_is_preloaded_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ldd names what LD_PRELOAD loads, as if the program needed it."""
    for name in ("LD_PRELOAD", "LD_AUDIT", "PYTHONPATH"):
        monkeypatch.setenv(name, "/planted/lib.so")
    assert "/planted/lib.so" not in freezing.tool_environment(tmp_path, tmp_path).values()


def _another_day() -> dict[str, str]:
    """What the environment of a program has to hold for it to see another time."""
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    command = ["faketime", "2031-02-03 04:05:06", "sh", "-c", "echo $LD_PRELOAD"]
    preload = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {"LD_PRELOAD": preload, "FAKETIME": "@2031-02-03 04:05:06"}
