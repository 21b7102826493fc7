"""The progress line: what it says, and when."""

from __future__ import annotations

import io

import pytest
from solofile.builder import progress
from solofile.builder.progress import Progress, SilentProgress, byte_size, describe, duration


@pytest.mark.parametrize(
    ("done", "total", "unit", "elapsed", "line"),
    [
        (0, 100, "B", 0.0, "x: 0 % of 100 B"),
        (25_000_000, 100_000_000, "B", 2.0, "x: 25 % of 100.0 MB, 12.5 MB/s, 6.0 s left"),
        (5_000_000, None, "B", 2.0, "x: 5.0 MB, 2.5 MB/s"),
        (30, 120, "files", 30.0, "x: 25 % of 120 files, 1 min 30 s left"),
        (120, 120, "files", 75.0, "x: 120 files in 1 min 15 s"),
        (2_000_000_000, 2_000_000_000, "B", 2.0, "x: 2.0 GB in 2.0 s, 1.0 GB/s"),
        (0, 0, "B", 0.0, "x: 0 B in 0.0 s"),
    ],
)
def test_line(done: int, total: int | None, unit: str, elapsed: float, line: str) -> None:
    assert describe("x", done, total, unit, elapsed) == line


def test_amounts() -> None:
    assert [byte_size(n) for n in (0, 999, 1000, 98_362_432, 999_960_000, 2 << 40)] == [
        "0 B", "999 B", "1.0 KB", "98.4 MB", "1.0 GB", "2.2 TB"
    ]  # fmt: skip
    assert [duration(n) for n in (0.04, 9.94, 59.4, 60, 3599, 7800)] == [
        "0.0 s", "9.9 s", "59 s", "1 min 00 s", "59 min 59 s", "2 h 10 min"
    ]  # fmt: skip


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress, "time", self)

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = Clock(monkeypatch), io.StringIO()
    with Progress("x", 100, "files", stream=log) as shown:
        for done in range(100):
            clock.now += 0.13
            shown.update(done)
        shown.note("half way")
        shown.update(100)
    lines = log.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[2] == "half way"
    assert lines[3] == "x: 100 files in 13 s"
    assert "\r" not in log.getvalue()


def test_short_operations_leave_no_line_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = Clock(monkeypatch), io.StringIO()
    with Progress("x", 100, stream=log) as shown:
        clock.now += 1
        shown.update(100)
    assert log.getvalue() == ""


def test_terminal_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), Terminal()
    shown = Progress("x", 100, stream=terminal)
    for done in (10, 20, 30):
        clock.now += 1
        shown.update(done)
    shown.update(31)  # too soon
    shown.note("a note")
    shown.update(40)
    shown.close()
    shown.close()
    text = terminal.getvalue()
    assert text.count("\n") == 2
    assert text.endswith("\n")
    assert "31 %" not in text
    assert "\x1b[Ka note\n" in text


def test_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), Terminal()
    monkeypatch.setenv("COLUMNS", "20")
    with Progress("a label that is long", 100, stream=terminal) as shown:
        clock.now += 1
        shown.update(10)
    assert all(len(part.replace("\x1b[K", "").strip()) < 20 for part in terminal.getvalue().split("\r"))


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with SilentProgress("x", 100) as shown:
        shown.update(50)
        shown.note("x")
    assert capsys.readouterr() == ("", "")
