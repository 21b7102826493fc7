"""Interrupted at any moment, by Ctrl-C or SIGTERM, a command leaves nothing behind, and says so in one sentence."""

from __future__ import annotations

import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from solofile.builder import interrupts, output
from solofile.builder.__main__ import run
from solofile.builder.cli import main
from solofile.builder.interrupts import Stopped

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its victims with fork")

MOMENTS = 40


def started(words: Sequence[str], errors: Path) -> int:
    """A process that runs the command, its standard error in a file."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return process
    hear = interrupts.hear

    def hear_and_unblock() -> dict[int, Any]:
        before = hear()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return before

    try:
        interrupts.hear = hear_and_unblock  # from where on the program is responsible
        with errors.open("w", buffering=1) as sys.stderr, Path(os.devnull).open("w") as sys.stdout:
            os._exit(run(words))
    finally:
        os._exit(99)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def interrupt_at_random(words: Sequence[str], errors: Path, check: Callable[[int], object]) -> None:
    """Interrupt the command at random moments, now by one signal, now by another, now twice in a row."""
    chance = random.Random(5)
    times = []
    for _ in range(3):
        begin = time.monotonic()
        assert ended(started(words, errors)) == 0
        times.append(time.monotonic() - begin)
        check(0)
    takes, stopped = statistics.median(times), 0
    for turn in range(10 * MOMENTS):
        number = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        process = started(words, errors)
        time.sleep(chance.uniform(0, takes))
        for _ in range(1 + turn % 3):
            os.kill(process, number)
        code = ended(process)
        assert code in (0, 128 + number), errors.read_text()
        if code:
            notes, stop = errors.read_text().splitlines()[:-1], errors.read_text().splitlines()[-1]
            assert stop == "solofile: stopped; nothing half done is left."
            assert all("llama.cpp has not tried" in note or "chat template" in note for note in notes)
        takes *= 1.02 if code else 0.9
        stopped += code != 0
        check(code)
        if stopped == MOMENTS:
            return
    pytest.fail(f"only {stopped} could be interrupted before they ended")


def test_build(long_model: Path, pack_path: Path, folder: Path, tmp_path: Path, build_cache: Path) -> None:
    def check(code: int) -> None:
        left = [path.name for path in folder.iterdir()]
        assert left in ([], ["new.exe"])
        assert code or left
        (folder / "new.exe").unlink(missing_ok=True)
        assert not list(build_cache.rglob(".*.part"))

    interrupt_at_random(
        ["build", str(long_model), "--pack", str(pack_path), "-o", "new.exe"], tmp_path / "errors", check
    )


@pytest.mark.parametrize("command", ["set", "upgrade"])
def test_change(command: str, old_bundle: Path, pack_path: Path, folder: Path, tmp_path: Path) -> None:
    before = old_bundle.read_bytes()
    words = ["set", "old.exe", "--title", "N"] if command == "set" else ["upgrade", "old.exe", "--pack", str(pack_path)]

    def check(code: int) -> None:
        left = sorted(path.name for path in folder.iterdir())
        assert left in (["old.exe"], ["new.exe", "old.exe"])
        assert code or len(left) == 2
        (folder / "new.exe").unlink(missing_ok=True)

    interrupt_at_random([*words, "-o", "new.exe"], tmp_path / "errors", check)
    assert old_bundle.read_bytes() == before


@pytest.mark.usefixtures("old_bundle")
def test_extract(folder: Path, tmp_path: Path) -> None:
    """All of it, or nothing: neither single files nor the folders that were made for them."""

    def check(code: int) -> None:
        made = folder / "parts"
        assert code or (made / "to" / "solofile.json").is_file()
        if made.exists():
            assert (made / "to" / "solofile.json").is_file(), sorted(made.rglob("*"))
            made.rename(tmp_path / f"done-{time.monotonic_ns()}")

    interrupt_at_random(["extract", "old.exe", "parts/to"], tmp_path / "errors", check)


def test_extract_leaves_what_was_there(old_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "parts").mkdir()
    real = os.open

    def interrupted(path: str, *rest: int) -> int:
        if Path(path).name == "model.gguf":
            (folder / "parts" / "mine.txt").write_text("mine")
            raise Stopped(signal.SIGINT)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", interrupted)
    assert main(["extract", str(old_bundle), "parts"]) == 130
    assert [path.name for path in (folder / "parts").rglob("*")] == ["mine.txt"]


def test_what_a_stop_between_two_lines_leaves_is_tidied(folder: Path) -> None:
    """As if the signal came right behind the making of the file, before anybody could be responsible for it."""
    output._folders.add(folder)
    stray, of_others = folder / ".x.exe.1.solofile.part", folder / ".x.exe.1.part"
    stray.touch()
    of_others.touch()
    assert main(["inspect", "none.exe"]) == 2
    assert list(folder.iterdir()) == [of_others]


def test_signed_output_is_said_to_be_whole(
    long_model: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise Stopped(signal.SIGTERM)

    assert main(["keygen", "-o", "k.key", "--unencrypted"]) == 0
    monkeypatch.setattr("solofile.builder.minisign.write_signature", interrupted)
    words = ["build", str(long_model), "--pack", str(pack_path), "-o", "x.exe", "--sign", "k.key"]
    assert main(words) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "solofile: stopped; x.exe is whole, but not signed."
    assert sorted(path.name for path in folder.iterdir()) == ["k.key", "k.pub", "x.exe"]


def test_signals_are_heard_once_and_handlers_come_back() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(Stopped) as stop, interrupts.heard():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # while it tidies
    assert stop.value.exit_code == 128 + signal.SIGHUP
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_stop_while_the_program_loads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(_: object) -> int:
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr("solofile.builder.cli.main", stopped)
    with interrupts.heard():
        assert run() == 130
    assert capsys.readouterr().err == "solofile: stopped; nothing half done is left.\n"
