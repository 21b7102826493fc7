"""Measuring while nobody asks anything, and whether what was measured can be trusted."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.runtime import idle, other_load, trying
from solofile.runtime.engine_api import Phase, State
from solofile.runtime.kernel_path import Offer, Outcome
from solofile.runtime.probe_plan import Probe

FIRST = Probe("haswell", "haswell", measure=0.25)
SECOND = FIRST._replace(key="haswell-norepack", repack=False)
RESULT = Outcome("ok", "", {"seconds": {"1": 0.1, "64": 0.2}})


class Engine:
    """Loads, or is ready and busy, as the test says."""

    def __init__(self, phase: Phase = "ready") -> None:
        self.phase: Phase = phase
        self.seconds = 0.0

    def state(self) -> State:
        return State(self.phase)

    def busy(self) -> float:
        return self.seconds


def eventually(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_probe_after_the_other() -> None:
    kept: dict[str, Outcome] = {}
    tries = []

    def run(probe: Probe, _: object) -> Outcome:
        tries.append(probe.key)
        return RESULT

    idle.start(Engine(), [FIRST, SECOND], run, kept.update, quiet=0.01).join(10)
    assert tries == ["haswell", "haswell-norepack"] * 2
    assert list(kept) == ["haswell", "haswell-norepack"]
    assert kept["haswell"].date


def test_it_waits_until_the_engine_is_ready_and_idle() -> None:
    engine, kept = Engine("loading"), dict[str, Outcome]()
    engine.seconds = 3.0
    thread = idle.start(engine, [FIRST], lambda *_: RESULT, kept.update, quiet=0.01)
    time.sleep(0.1)
    engine.phase = "ready"
    time.sleep(0.1)
    assert kept == {}
    engine.seconds = 0.0
    thread.join(10)
    assert list(kept) == ["haswell"]


def test_it_ends_with_the_engine() -> None:
    thread = idle.start(Engine("stopped"), [FIRST], lambda *_: RESULT, print, quiet=0.01)
    thread.join(10)
    assert not thread.is_alive()


def test_a_request_comes_first() -> None:
    """What is given up for a request is tried again in the next pause."""
    engine, kept, tries = Engine(), dict[str, Outcome](), []
    asked = threading.Event()

    def run(probe: Probe, cancelled: Callable[[], bool]) -> Outcome:
        tries.append(probe.key)
        if len(tries) > 1:
            return RESULT
        engine.seconds = 0.1
        eventually(cancelled)
        asked.set()
        return Outcome("stopped")

    thread = idle.start(engine, [FIRST], run, kept.update, quiet=0.01)
    assert asked.wait(10)
    engine.seconds = 0.0
    thread.join(10)
    assert (tries, list(kept)) == (["haswell"] * 3, ["haswell"])


def outcome(one: float, many: float, *, flash: float = 1.0) -> Outcome:
    result = {"seconds": {"1": one, "64": many}, "attention": {"flash": {"1": flash}, "plain": {}}}
    return Outcome("ok", "", result)


def test_the_best_of_several() -> None:
    assert idle.best([outcome(3, 4, flash=7), outcome(2, 5, flash=8)]) == outcome(2, 4, flash=7)
    disturbed = Outcome("ok")
    assert idle.best([disturbed, outcome(3, 4)]) == outcome(3, 4)
    assert idle.best([disturbed, disturbed]) == disturbed
    crash = Outcome("crashed", "SIGILL")
    assert idle.best([outcome(3, 4), crash]) == crash


def test_what_others_disturb_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    for share, result in ((0.05, {**(RESULT.result or {}), "quick": False}), (0.5, None)):
        monkeypatch.setattr(other_load.Watch, "share", lambda _, share=share: share)
        outcome = trying.attempt(FIRST, Offer(()), lambda _: RESULT, print)
        assert (outcome.status, outcome.result) == ("ok", result)


STAT = """cpu  1000 0 500 9000 100 0 10 40 7 0
cpu0 600 0 200 4000 50 0 10 40 7 0
cpu1 400 0 300 5000 50 0 0 0 0 0
intr 5 5
"""


def test_the_time_that_cpus_worked() -> None:
    assert other_load.parse_stat(STAT, frozenset({0, 1})) == 15.5
    assert other_load.parse_stat(STAT, frozenset({1})) == 7.0
    assert other_load.parse_stat("", frozenset({0})) == 0.0


def test_where_the_system_says_nothing(tmp_path: Path) -> None:
    assert other_load.Watch(str(tmp_path)).share() == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what others do")
def test_the_work_of_others_shows() -> None:
    burn = [sys.executable, "-c", "import time; end = time.time() + 60\nwhile time.time() < end: pass"]
    with subprocess.Popen(burn) as other:
        time.sleep(0.2)
        watch = other_load.Watch()
        time.sleep(0.5)
        shared = watch.share()
        other.kill()
    assert shared > 0.5 / len(watch._cpus)


def test_our_own_work_does_not_count() -> None:
    watch = other_load.Watch()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    seconds, busy, ours = (after - before for after, before in zip(watch._now(), watch._start, strict=True))
    assert ours > 0.05
    assert watch.share() <= max(0.0, busy - ours + 0.1) / seconds
