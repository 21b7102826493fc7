"""A runtime that dies of a crash is started once more, and what ran is noted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from synthetic_bundle import Synthetic, run

CRASHES = [signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE]
SECRETS = ["--api-key=hunter2", "--api-key", "hunter3", "-p", "my secret diary", "-ngl=4", "--chat", "-1", "- no"]

HIDDEN = ["--api-key=*", "--api-key", "*", *SECRETS[3:]]


def notes(cache: Path) -> list[Path]:
    """The crash notes."""
    return sorted((cache / "state").glob("crash-*.txt"))


@pytest.mark.parametrize("number", CRASHES)
def test_started_once_more(bundle: Synthetic, cache: Path, number: signal.Signals) -> None:
    ended = run([bundle.path, "die-once", str(int(number)), *SECRETS], {"SOLOFILE_CACHE": cache})
    assert ended.code == 0
    assert ended.environment["SOLOFILE_CRASH"] == number.name
    assert ended.arguments == [str(bundle.path), "die-once", str(int(number)), *HIDDEN]
    (note,) = notes(cache)
    assert ended.err == f"solofile: the runtime crashed ({number.name}), noted in {note}; it is started once more.\n"


def test_the_note_keeps_no_secret(bundle: Synthetic, cache: Path) -> None:
    run([bundle.path, "die-once", "11", *SECRETS], {"SOLOFILE_CACHE": cache})
    (note,) = notes(cache)
    assert re.fullmatch(r"crash-\d{8}T\d{6}Z\.txt", note.name)
    assert note.stat().st_mode & 0o777 == 0o600
    assert note.read_text().splitlines() == [
        f"time: {note.stem.removeprefix('crash-')}",
        "signal: SIGSEGV",
        f"bundle: {bundle.path}",
        "options: --api-key --api-key -p -ngl --chat",
    ]


def test_a_second_crash_ends_it(bundle: Synthetic, cache: Path) -> None:
    ended = run([bundle.path, "die", "6"], {"SOLOFILE_CACHE": cache})
    assert ended.code == 1
    first, second = ended.err.splitlines()
    assert first.endswith("it is started once more.")
    assert second.startswith("solofile: The runtime crashed again (SIGABRT), noted in ")
    assert second.endswith("; start it with --doctor to see what it runs on.")
    assert len(notes(cache)) == 2


def test_a_note_that_cannot_be_written_is_no_obstacle(bundle: Synthetic, cache: Path) -> None:
    run([bundle.path], {"SOLOFILE_CACHE": cache})
    (cache / "state").chmod(0o500)
    for path in ("crash", "other"):
        (cache / path).write_text("")
    ended = run([bundle.path, "die-once", "11"], {"SOLOFILE_CACHE": cache})
    assert ended.code == 0
    assert "the runtime crashed (SIGSEGV), " in ended.err
    assert ended.environment["SOLOFILE_CRASH"] == "SIGSEGV"


def test_a_crash_on_the_way_out_starts_nothing(bundle: Synthetic, cache: Path) -> None:
    command = [str(bundle.path), "die-at-end"]
    env = {"SOLOFILE_CACHE": str(cache)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, **options) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + signal.SIGABRT, "", "")
    assert len(notes(cache)) == 1


def living(bundle: Synthetic, cache: Path, *words: str) -> subprocess.Popen[str]:
    """A start whose probe waits for signals."""
    command = [str(bundle.path), "signals", *words]
    return subprocess.Popen(command, env={"SOLOFILE_CACHE": str(cache)}, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


def child_of(process: subprocess.Popen[str]) -> int:
    """The probe, as soon as it waits."""
    assert process.stdout is not None
    return int(process.stdout.readline().removeprefix("ready "))


STEADY = 10.5
"""Seconds after which a start counts as one that works (supervise.zig)."""


def test_one_that_works_for_a_while_earns_another_start(bundle: Synthetic, cache: Path) -> None:
    with living(bundle, cache) as process:
        os.kill(child_of(process), signal.SIGSEGV)
        second = child_of(process)
        time.sleep(STEADY)
        os.kill(second, signal.SIGABRT)
        os.kill(child_of(process), signal.SIGSEGV)  # at once: that is a loop
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert [line.rpartition(";")[2] for line in err.splitlines()] == [
        " it is started once more.", " it is started once more.", " start it with --doctor to see what it runs on.",
    ]  # fmt: skip
    assert len(notes(cache)) == 3


@pytest.mark.parametrize(("words", "again"), [(("--server",), True), ((), False)])
def test_a_server_that_was_killed_is_started_once_more(
    bundle: Synthetic, cache: Path, words: tuple[str, ...], again: bool
) -> None:
    with living(bundle, cache, *words) as process:
        first = child_of(process)
        time.sleep(STEADY)
        os.kill(first, signal.SIGKILL)
        if again:
            os.kill(child_of(process), signal.SIGKILL)  # so soon, that is what somebody wants
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert ("the runtime was killed (SIGKILL), noted in " in err) is again


@pytest.mark.parametrize("words", [("--api-key", "hunter2"), ("--api-key=hunter2",), ("--api_key", "hunter2")])
def test_keys_are_not_in_the_list_of_processes(bundle: Synthetic, cache: Path, words: tuple[str, ...]) -> None:
    with living(bundle, cache, *words, "-n", "1") as process:
        child = child_of(process)
        for pid in (process.pid, child):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"hunter2" not in line
            assert line.endswith(b"\0-n\x001\0")
        assert b"SOLOFILE_GIVEN_KEYS=hunter2" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        process.terminate()
        process.communicate(timeout=30)


def test_nobody_else_names_the_keys(bundle: Synthetic, cache: Path) -> None:
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache, "SOLOFILE_GIVEN_KEYS": "planted"})
    assert "SOLOFILE_GIVEN_KEYS" not in ended.environment
    ended = run([bundle.path, "show", "--api-key", "a", "--api-key=b,c"], {"SOLOFILE_CACHE": cache})
    assert ended.environment["SOLOFILE_GIVEN_KEYS"] == "a\x1fb,c"
