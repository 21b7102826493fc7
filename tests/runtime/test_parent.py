"""The end of a runtime whose launcher was killed, where the system does not see to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from running import is_running
from solofile.runtime import parent

CHILD = """
import os, sys, time
from solofile.runtime import parent
parent.EVERY = 0.05
parent.follow({"SOLOFILE_LAUNCHER_PID": str(os.getppid())})
print(os.getpid(), flush=True)
time.sleep(60)
"""
LAUNCHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_it_ends_with_its_launcher() -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        child = int(launcher.stdout.readline())
        time.sleep(0.3)
        assert is_running(child)
        launcher.kill()
        end = time.monotonic() + 20
        while is_running(child) and time.monotonic() < end:
            time.sleep(0.05)
        assert not is_running(child)


def test_a_strange_number_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(parent, "watch", lambda launcher, _end: started.append(launcher))
    for words in ({}, {"SOLOFILE_LAUNCHER_PID": ""}, {"SOLOFILE_LAUNCHER_PID": "-1"}):
        parent.follow(words)
    assert started == []
    parent.follow({"SOLOFILE_LAUNCHER_PID": "12"})
    assert started == [12]


def test_the_signal_is_one_that_asks() -> None:
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        parent.follow({"SOLOFILE_LAUNCHER_PID": str(os.getppid() + 1)})
        end = time.monotonic() + 5
        while not asked.is_set() and time.monotonic() < end:
            time.sleep(0.01)
        assert asked.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
