"""The clock of the day jumps while a server answers: a battery that was empty, a time server that was wrong."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asking import STORY, reading, wait_until, works
from running import Running, free_port, serve, wait_healthy
from zig_cc import SHARED, zig_cc

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="preloads a library")]

DAY = 86_400


@pytest.fixture
def jump(tmp_path: Path) -> Callable[[int], None]:
    """Moves the clock of the running program by so many seconds from the right one."""
    file = tmp_path / "offset"
    file.write_bytes(bytes(8))

    def jump(seconds: int) -> None:
        with file.open("r+b") as opened:
            opened.write(seconds.to_bytes(8, "little", signed=True))

    return jump


@pytest.fixture
def running(
    smollm2_bundle: Path, environment: dict[str, str], jump: Callable[[int], None], tmp_path: Path
) -> Iterator[Running]:
    """The bundle's runtime as its launcher starts it, and with that clock: a launcher lets no library be preloaded."""
    jump(0)
    with serve([smollm2_bundle, "--server"], environment) as plain:
        pid = plain.model_pid()
        program = Path(f"/proc/{pid}/exe").readlink()
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    given = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    given |= {
        "SOLOFILE_LAUNCHER_PID": str(os.getpid()),
        "LD_PRELOAD": str(zig_cc(tmp_path / "clock.so", *SHARED, Path(__file__).with_name("clock.c"), "-ldl")),
        "CLOCK_OFFSET": str(tmp_path / "offset"),
    }
    port, log = free_port(), tmp_path / "access.log"
    command = [str(smollm2_bundle), "--server", "--port", str(port), "--access-log", str(log), "--slots", "-np", "2"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, executable=program, env=given, text=True, **pipes) as process:  # type: ignore[call-overload]
        found = Running(process, port)
        wait_healthy(found)
        try:
            yield found
        finally:
            process.terminate()
            _, found.errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in found.errors


@pytest.mark.parametrize("seconds", [400 * DAY, -400 * DAY], ids=["forward", "backward"])
def test_answers_go_on(running: Running, jump: Callable[[int], None], seconds: int, tmp_path: Path) -> None:
    """One is read to its end; of another the client goes away, which is noticed in spite of it all."""
    thread, pieces = reading(running, {**STORY, "n_predict": 400})
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as leaving:
        leaving.request("POST", "/completion", json.dumps({**STORY, "stream": False}))
        wait_until(lambda: busy(running) == 2 and len(pieces) > 10)
        jump(seconds)
        time.sleep(0.5)
    wait_until(lambda: busy(running) < 2)
    thread.join(60)
    assert sum(piece.startswith(b"data: ") for piece in pieces) == 401
    works(running)
    shown = last_time(tmp_path / "access.log")
    assert abs(shown - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(minutes=1), "it saw no jump"
    jump(0)
    works(running)


def busy(running: Running) -> int:
    return sum(bool(slot["is_processing"]) for slot in running.json("GET", "/slots"))


def last_time(log: Path) -> datetime:
    """When the last request of three that compute was made, as the access log has it."""
    wait_until(lambda: log.read_text().count('"/completion"') == 3)
    lines = [line for line in log.read_text().splitlines() if '"/completion"' in line]
    return datetime.fromisoformat(json.loads(lines[-1])["time"])
