"""An engine in a child: the same answers, errors and ends as beside the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script
from running import is_running
from solofile.runtime import engine_host
from solofile.runtime.conversation import Answer, Message, chat_request, wait_ready
from solofile.runtime.engine_api import Request
from solofile.runtime.errors import EngineError, InputError
from solofile.runtime.remote_engine import RemoteEngine

CHAT = "/v1/chat/completions"
QUESTION = chat_request([Message("user", "Hi")])


def remote(*scripts: tuple[str, Script]) -> RemoteEngine:
    def begin() -> FakeEngine:
        engine = FakeEngine()
        for path, script in scripts:
            engine.on("POST", path, script)
        return engine

    return engine_host.split(begin)


def text(answer: Answer) -> str:
    return "".join(piece.text for piece in answer)


def test_answers_and_states() -> None:
    engine = remote((CHAT, Script.sse(["Hel", "lo"])), ("/tokenize", Script([b'{"tokens": [1, 2]}'])))
    try:
        wait_ready(engine)
        assert engine.state().phase == "ready" and engine.wait(0.1).phase == "ready" and engine.reading() is None
        assert text(Answer(engine, QUESTION)) == "Hello"
        big = Request("POST", "/tokenize", headers={"Content-Type": "application/json"}, body=b"x" * (4 << 20))
        response = engine.call(big).run()
        assert (response.status, b"".join(response)) == (200, b'{"tokens": [1, 2]}')
        assert response.headers
    finally:
        engine.stop()


def test_an_answer_that_is_stopped_ends_soon() -> None:
    engine = remote((CHAT, Script.sse(["again "], delay=0.01, repeat=True)), ("/x", Script(think=30.0)))
    try:
        answer = Answer(engine, QUESTION)
        threading.Timer(0.2, answer.cancel).start()
        begin = time.monotonic()
        assert text(answer).startswith("again again")
        call = engine.call(Request("POST", "/x"))
        threading.Timer(0.2, call.cancel).start()
        assert call.run().status == 499
        assert time.monotonic() - begin < 5
    finally:
        engine.stop()


def test_what_goes_wrong_in_an_answer_is_said_here() -> None:
    engine = remote((CHAT, Script(error=EngineError("The model has ended."))))
    try:
        with pytest.raises(EngineError, match="The model has ended"):
            text(Answer(engine, QUESTION))
    finally:
        engine.stop()


@pytest.mark.parametrize("error", [InputError("No such kernel."), EngineError("No libraries.")])
def test_what_keeps_it_from_beginning_is_said_here(error: Exception) -> None:
    def begin() -> FakeEngine:
        raise error

    with pytest.raises(type(error), match=str(error)):
        engine_host.split(begin)


def test_a_child_that_is_killed_ends_the_conversation() -> None:
    engine = remote()
    os.kill(engine._child, signal.SIGKILL)
    with pytest.raises(EngineError, match="has ended"):
        for _ in range(100):
            engine.state()
            time.sleep(0.01)


def run_split(body: str) -> subprocess.CompletedProcess[str]:
    script = f"import os, signal\nfrom solofile.runtime import engine_host\n\n{body}\n"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)


def test_a_crash_is_the_parents_too() -> None:
    """The launcher watches this process: it is to start it once more on the CPU."""
    done = run_split("engine_host.split(lambda: os.abort())")
    assert done.returncode == -signal.SIGABRT


def test_the_child_ends_with_the_parent(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f"open({str(note)!r}, 'w').write(str(os.getpid()))"
    done = run_split(f"def begin():\n    {script}\n\nengine_host.split(begin)\nos._exit(0)")
    assert done.returncode == 0, done.stderr
    process = int(note.read_text())
    deadline = time.monotonic() + 10
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(process)
