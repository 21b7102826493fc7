"""Killed at any moment, a build, an upgrade and a change of settings leave the old file whole and no half one."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from solofile.builder.cli import main
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its victims with fork")

MOMENTS = 50


def started(words: Sequence[str]) -> int:
    """A process that runs the command; its number. No interpreter has to start, so that 50 of them take no time."""
    process = os.fork()
    if process:
        return process
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os._exit(main(words))
    finally:
        os._exit(99)


def seconds(words: Sequence[str]) -> float:
    start = time.monotonic()
    _, status = os.waitpid(started(words), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.monotonic() - start


def kill_at_random(words: Sequence[str], check: Callable[[], object], seed: int) -> None:
    """Kill the command at 50 random moments, all over the time that it takes; ``check`` looks after each."""
    chance = random.Random(seed)
    takes = statistics.median(seconds(words) for _ in range(3))
    check()
    killed = 0
    for _ in range(10 * MOMENTS):
        process = started(words)
        time.sleep(chance.uniform(0, takes))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL)
        takes *= 1.02 if code else 0.9  # a machine that others use too is now slow, now fast
        killed += code != 0
        check()
        if killed == MOMENTS:
            return
    pytest.fail(f"only {killed} could be killed before they ended")


def strays(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(".*.part")]


def sound(path: Path) -> None:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []


def test_build(long_model: Path, pack_path: Path, folder: Path, build_cache: Path) -> None:
    """Into a name that is not there: it is there whole, or not at all. The killed ones leave one temporary file."""
    output = folder / "new.exe"
    half: list[int] = []

    def check() -> None:
        if output.exists():
            sound(output)
            output.unlink()
        half.append(len(strays(folder)))
        assert half[-1] <= 1, "the next build removes what the one before left"
        assert long_model.stat().st_size > 12 << 20

    words = ["build", str(long_model), "--pack", str(pack_path), "-o", str(output), "--force"]
    kill_at_random(words, check, 1)
    assert sum(half) >= 3, "too few were killed while they wrote"
    seconds(words)
    sound(output)
    assert strays(folder, build_cache) == []


@pytest.mark.parametrize("command", ["upgrade", "set", "build"])
def test_replacing_a_bundle(
    command: str, old_bundle: Path, long_model: Path, pack_path: Path, folder: Path, build_cache: Path
) -> None:
    """In place: at the name there is always the old file or the new one, byte for byte."""
    words = {
        "upgrade": ["upgrade", "old.exe", "--pack", str(pack_path), "-o", "old.exe"],
        "set": ["set", "old.exe", "--title", "New", "-o", "old.exe"],
        "build": ["build", str(long_model), "--pack", str(pack_path), "--title", "New", "-o", "old.exe", "--force"],
    }[command]
    before = old_bundle.read_bytes()
    seconds(words)
    after = old_bundle.read_bytes()
    old_bundle.write_bytes(before)
    written: list[int] = []

    def check() -> None:
        assert old_bundle.read_bytes() in (before, after)
        written.append(len(strays(folder)))
        assert written[-1] <= 1
        if old_bundle.read_bytes() == after != before:
            old_bundle.unlink()
            old_bundle.write_bytes(before)

    kill_at_random(words, check, 2)
    assert sum(written) >= 3, "too few were killed while they wrote"
    seconds(words)
    assert old_bundle.read_bytes() == after
    sound(old_bundle)
    assert strays(folder, build_cache) == []
