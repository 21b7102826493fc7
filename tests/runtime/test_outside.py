"""The process that stays outside the sandbox of a bundle of several models: a real pair of processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts no process in this way")

PROGRAM = """
import os, signal, sys, time
from solofile.runtime import outside, shutdown
from solofile.runtime.ports import bind_socket
shutdown.install()
listener = bind_socket("127.0.0.1", 0)
ended = outside.split([listener], ["one", "two"])
if ended is not None:
    print("left", ended.code, ended.successor, os.getpid(), flush=True)
    os._exit(ended.code)
def serve():
    print("serving", os.getpid(), os.getppid(), listener.port, flush=True)
def wait():
    while True:  # a signal just before a sleep is seen after it
        time.sleep(0.1)
try:
    exec(sys.argv[1])
except shutdown.Terminated as asked:
    print("asked", asked.exit_code, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
os._exit(0)
"""
WAIT = "serve(); wait()"


@contextlib.contextmanager
def running(words: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """The pair, the child's number and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, words], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            word, child, parent, port = process.stdout.readline().split()
            assert (word, int(parent)) == ("serving", process.pid)
            yield process, int(child), int(port)
        finally:
            process.kill()


def ends(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=20)
    return [line.removesuffix(f" {process.pid}") for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "code", "left"),
    [
        ("serve(); os._exit(3)", 3, "left 3 "),
        ("serve(); outside.ask('two'); os._exit(0)", 0, "left 0 two"),
        ("serve(); outside.ask('three'); os._exit(0)", 0, "left 0 "),
        # Its own keep the pipe.
        ("serve(); os.fork() and (outside.ask('one'), os._exit(0)); time.sleep(5)", 0, "left 0 one"),
    ],
)
def test_what_a_child_leaves(words: str, code: int, left: str) -> None:
    begin = time.monotonic()
    with running(words) as (process, _, _):
        assert process.stdout is not None
        assert process.stdout.readline().removesuffix(f" {process.pid}\n") == left
        assert process.wait(20) == code
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_it_ends_by_what_ended_the_child(number: signal.Signals) -> None:
    with running(WAIT) as (process, child, _):
        os.kill(child, number)
        assert ends(process) == []
        assert process.returncode == -number


def test_a_signal_is_passed_on_and_the_port_closed() -> None:
    with running("\ntry: serve(); wait()\nfinally: time.sleep(0.5)") as (process, child, port):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        os.kill(process.pid, signal.SIGTERM)
        assert ends(process) == ["asked 143", "left 0 "]
        assert not Path(f"/proc/{child}").exists()


def test_who_ends_it_while_it_changes_the_model_means_the_end() -> None:
    with running("outside.ask('two'); serve(); wait()") as (process, _, _):
        os.kill(process.pid, signal.SIGHUP)
        assert ends(process) == ["asked 129", "left 0 "]


def test_ctrl_c_comes_once() -> None:
    """`kill -INT` of the process alone is passed on."""
    with running("\ntry: serve(); wait()\nexcept KeyboardInterrupt: time.sleep(0.5); raise") as (process, _, _):
        os.kill(process.pid, signal.SIGINT)
        assert ends(process) == ["interrupted", "left 0 "]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the launcher sees to it")
def test_the_child_does_not_outlive_it() -> None:
    with running(WAIT) as (process, child, _):
        process.kill()
        process.wait(10)
        end = time.monotonic() + 10
        while Path(f"/proc/{child}").exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert not Path(f"/proc/{child}").exists()
