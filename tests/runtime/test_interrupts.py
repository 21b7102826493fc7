"""Ctrl-C and SIGTERM to a whole process, at every stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = [sys.executable, str(Path(__file__).with_name("fake_bundle.py"))]


@contextmanager
def running(
    scene: str, *words: str, environ: dict[str, str], stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    world = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
    world.pop("DISPLAY", None)
    with subprocess.Popen(
        [*PROGRAM, scene, *words], env=world, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes], number: signal.Signals, within: float = 5.0) -> tuple[int, bytes, float]:
    """Send a signal; the exit code, what is on standard error, and how long it took."""
    begin = time.monotonic()
    process.send_signal(number)
    code = process.wait(within)
    assert process.stderr is not None
    return code, process.stderr.read(), time.monotonic() - begin


def wait_for(process: subprocess.Popen[bytes], stream: str, word: bytes) -> bytes:
    pipe = getattr(process, stream)
    seen = b""
    while word not in seen:
        byte = pipe.read(1)
        assert byte, seen
        seen += byte
    return seen


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("scene", ["loading", "thinking", "endless"])
def test_one_answer_at_every_stage(scene: str, number: signal.Signals, code: int, environ: dict[str, str]) -> None:
    with running(scene, "-p", "x", "-v", environ=environ) as process:
        if scene == "endless":
            wait_for(process, "stdout", b"bla bla")
        else:
            wait_for(process, "stderr", b"Kernels:")
            time.sleep(0.3)
        found, said, took = end(process, number)
        assert (found, b"Traceback" in said) == (code, False)
        assert took < 1.5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_server_while_loading(number: signal.Signals, code: int, environ: dict[str, str]) -> None:
    with running("loading", "--server", "--port", "0", environ=environ) as process:
        wait_for(process, "stdout", b" is at http://127.0.0.1:")
        found, said, took = end(process, number)
        assert (found, b"Traceback" in said) == (code, False)
        assert took < 1.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_stops_in_order(number: signal.Signals, environ: dict[str, str]) -> None:
    with running("plain", "--server", "--port", "0", environ=environ) as process:
        wait_for(process, "stderr", b"The model is loaded")
        code, said, took = end(process, number)
        assert (code, b"Stopping." in said, b"Traceback" in said) == (0, True, False)
        assert took < 4


def test_chat_stops_an_answer_and_then_leaves(environ: dict[str, str]) -> None:
    with running("endless", "--chat", environ=environ, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"Count\n")
        process.stdin.flush()
        wait_for(process, "stdout", b"bla bla")
        process.send_signal(signal.SIGINT)
        wait_for(process, "stdout", b"\n")
        time.sleep(0.2)
        code, said, _ = end(process, signal.SIGINT)
        assert (code, said) == (0, b"")


def test_chat_ends_with_its_input(environ: dict[str, str]) -> None:
    with running("plain", "--chat", environ=environ, stdin=subprocess.PIPE) as process:
        out, said = process.communicate(b"Hallo\n", timeout=20)
        assert (process.returncode, out.decode(), said) == (0, "Grüße aus Paris 🗼\n\n", b"")


def test_chat_survives_a_closed_pipe(environ: dict[str, str]) -> None:
    with running("endless", "--chat", environ=environ, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Count\n")
        process.stdin.flush()
        wait_for(process, "stdout", b"bla")
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_nohup_is_respected(environ: dict[str, str]) -> None:
    program = "import signal; from solofile.runtime import shutdown; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program += "shutdown.install(); print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    world = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
    done = subprocess.run([sys.executable, "-c", program], env=world, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
