"""A runtime that dies of a crash is started once more, and what ran is noted."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from synthetic_bundle import Synthetic, run

CRASHES = [signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE]
SECRETS = ["--api-key=hunter2", "--api-key", "hunter3", "-p", "my secret diary", "-ngl=4", "--chat", "-1", "- no"]


def notes(cache: Path) -> list[Path]:
    """The crash notes."""
    return sorted((cache / "state").glob("crash-*.txt"))


@pytest.mark.parametrize("number", CRASHES)
def test_started_once_more(bundle: Synthetic, cache: Path, number: signal.Signals) -> None:
    ended = run([bundle.path, "die-once", str(int(number)), *SECRETS], {"SOLOFILE_CACHE": cache})
    assert ended.code == 0
    assert ended.environment["SOLOFILE_CRASH"] == number.name
    assert ended.arguments == [str(bundle.path), "die-once", str(int(number)), *SECRETS]
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
