"""The fault table of a server where a process ends: what its user sees, and that the next request works."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from asking import HELLO, STORY, message, works
from running import Running, free_port, next_life, wait_healthy

pytestmark = pytest.mark.e2e

EXPLODES = {"prompt": "a", "n_predict": 200, "grammar": "root ::= s\ns ::= . s s s | ."}


@pytest.fixture
def start(smollm2_bundle: Path, environment: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Starts the bundle on a port of its own; nothing of it outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> Running:
        port = free_port()
        command = [str(smollm2_bundle), "--server", "--port", str(port), *words]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes))  # type: ignore[call-overload]
        running = Running(started[-1], port)
        wait_healthy(running)
        return running

    yield start
    for process in started:
        with process:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def reader(running: Running, body: dict[str, Any]) -> tuple[threading.Thread, list[str]]:
    """Reads a stream to its end; how it ended."""
    ends: list[str] = []

    def read() -> None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=90)) as connection:
                connection.request("POST", "/completion", json.dumps(body))
                text = connection.getresponse().read()
            ends.append("whole" if b'"stop":true' in text.rpartition(b"data: ")[2] else "cut")
        except (OSError, http.client.HTTPException) as error:
            ends.append(type(error).__name__)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, ends


def test_kill_9_of_the_runtime(start: Callable[..., Running]) -> None:
    running = start()
    first = running.model_pid()
    time.sleep(11)  # a server that worked for a while is missed
    thread, ends = reader(running, STORY)
    time.sleep(0.5)
    os.kill(first, signal.SIGKILL)
    thread.join(30)
    assert ends == ["IncompleteRead"], "a request in flight gets an error"
    next_life(running, first)
    works(running)
    running.process.terminate()
    _, errors = running.process.communicate(timeout=30)
    assert "the runtime was killed (SIGKILL), noted in " in errors


def test_kill_9_of_the_launcher(start: Callable[..., Running]) -> None:
    """The runtime goes with it, and the port is free for the next start."""
    running = start("--drain-seconds", "0")
    pid = running.model_pid()
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(10)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with socket.create_server(("127.0.0.1", running.port)):
        pass
    works(start())


def test_a_grammar_that_explodes(start: Callable[..., Running]) -> None:
    """It cannot be interrupted: the process ends itself, the launcher starts it again and says why."""
    running = start("-np", "2", "-c", "2048")
    pid = running.model_pid()
    status = None
    with suppress(OSError, http.client.HTTPException):
        status = running.request("POST", "/completion", EXPLODES)[0]
    assert status is None
    next_life(running, pid)
    works(running)
    running.process.terminate()
    _, errors = running.process.communicate(timeout=30)
    assert "An answer with a grammar has kept llama.cpp busy for 20 s without a token" in errors
    assert "SIGABRT" in errors


def test_sigterm_lets_answers_come_to_their_end(start: Callable[..., Running]) -> None:
    running = start("-np", "1", "--drain-seconds", "60")
    thread, ends = reader(running, {**STORY, "n_predict": 300})
    time.sleep(0.5)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert message(running.request("GET", "/ready")) == (503, "The server is stopping.")
    assert running.request("POST", "/completion", HELLO)[0] == 503
    _, errors = running.process.communicate(timeout=90)
    thread.join(10)
    assert (ends, running.process.returncode) == (["whole"], 0)
    assert "Stopping: 1 answer is finished first, for 60 seconds at most; a second signal ends it." in errors


@pytest.mark.parametrize(("words", "second", "limit"), [(("--drain-seconds", "1"), False, 4), ((), True, 4)])
def test_the_end_comes_within_a_set_time(
    start: Callable[..., Running], words: tuple[str, ...], second: bool, limit: float
) -> None:
    running = start(*words)
    thread, ends = reader(running, STORY)
    time.sleep(0.5)
    begun = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    if second:
        time.sleep(0.5)
        running.process.send_signal(signal.SIGTERM)
    _, errors = running.process.communicate(timeout=30)
    assert time.monotonic() - begun < limit
    thread.join(10)
    assert (ends != ["whole"], running.process.returncode) == (True, 0), errors
    assert ("Stopping at once." in errors) is second


def test_no_secret_is_shown(start: Callable[..., Running], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    running = start("--api-key", "hunter2", "--access-log", str(log), "-lv", "4")
    key = {"Authorization": "Bearer hunter2"}
    assert running.request("POST", "/completion", HELLO)[0] == 401
    assert running.request("POST", "/completion", HELLO, **key)[0] == 200
    for pid in (running.process.pid, running.model_pid()):
        assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    running.process.terminate()
    _, errors = running.process.communicate(timeout=30)
    assert "hunter2" not in errors + log.read_text()
    assert [json.loads(line)["status"] for line in log.read_text().splitlines() if '"POST"' in line] == [401, 200]
