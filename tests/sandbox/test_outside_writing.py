"""The access log and the traces of a confined process: written and sent by the one outside, and nothing else is."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from collector import Collector
from solofile.runtime import errand_runner, errands
from solofile.runtime.access_log import AccessLog
from solofile.runtime.errands import Errands
from solofile.runtime.errors import InputError
from solofile.runtime.rotating_file import LONGEST, OutsideFile
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.tracing import Endpoint, Tracer
from solofile.runtime.visit import Visit


@contextmanager
def outside(folder: Path, **settings: Any) -> Iterator[Errands]:
    made = errand_runner.fork(errand_runner.Scope(folder, {}, server=ServerSettings(**settings)))
    assert made is not None
    errands.use(made)
    try:
        yield made
    finally:
        errands.use(None)
        made.close()
        os.waitpid(-1, 0)


def visit(number: int) -> Visit:
    made = Visit(f"id-{number}", "GET", "127.0.0.1")
    made.path = "/x"
    return made


def wait_until(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_lines_are_written_and_the_file_rotates(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with outside(tmp_path, access_log=path, access_log_bytes=400):
        log = AccessLog(Path("/nowhere/it/knows/better"), 1, pytest.fail, lambda: None)
        for number in range(12):
            log.write(visit(number))
        log.close()
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["a.log", "a.log.1", "a.log.2", "a.log.3", "a.log.4", "a.log.5"]
    kept = [one for name in reversed(names) for one in ids(tmp_path / name)]
    assert kept == [f"id-{number}" for number in range(12 - len(kept), 12)]


def test_what_is_in_the_pipe_is_written_when_the_program_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with outside(tmp_path, access_log=path):
        child = os.fork()
        if not child:
            AccessLog(path, 1 << 20, print, lambda: None).write(visit(1))
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert wait_until(lambda: path.exists() and ids(path) == ["id-1"])


def test_what_cannot_be_opened_is_said_at_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "a.log"
    with outside(tmp_path, access_log=missing), pytest.raises(InputError, match="give --access-log"):
        AccessLog(tmp_path / "a.log", 1 << 20, pytest.fail, lambda: None)
    with outside(tmp_path) as made, pytest.raises(BrokenPipeError):  # the user named none
        OutsideFile(made, pytest.fail)


def test_lost_lines_are_counted(tmp_path: Path) -> None:
    said: list[str] = []
    failed: list[int] = []
    with outside(tmp_path, access_log=Path("/dev/full")):
        log = AccessLog(Path("/dev/full"), 1 << 20, said.append, lambda: failed.append(1))
        for number in range(3):
            log.write(visit(number))
        assert wait_until(lambda: len(failed) == 3)
        log.close()
    assert said == ["The access log /dev/full cannot be written (No space left on device): lines are lost."]


def test_a_line_that_is_too_long_and_a_process_that_is_gone(tmp_path: Path) -> None:
    lost: list[OSError] = []
    with outside(tmp_path, access_log=tmp_path / "a.log") as made:
        file = OutsideFile(made, lost.append)
        with pytest.raises(OSError) as caught:
            file.write(b"x" * (LONGEST + 1))
        assert caught.value.errno == errno.EMSGSIZE
        file.write(b"x" * (LONGEST - 1) + b"\n")
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        os.waitid(os.P_PID, int(children[-1]), os.WEXITED | os.WNOWAIT)
        with pytest.raises(BrokenPipeError):
            file.write(b"y\n")
        file.close()


def test_traces_go_to_the_collector_that_the_user_named_and_nowhere_else(tmp_path: Path) -> None:
    with Collector() as collector:
        dropped: list[int] = []
        with outside(tmp_path, otlp_endpoint=collector.url):
            collector.listen()  # after the fork
            tracer = Tracer(Endpoint("http://127.0.0.1:9"), {}, dropped.append)
            tracer.add(visit(1))
            tracer.close(10)
    assert [span["name"] for span in collector.spans] == ["GET "]
    assert dropped == []
    with outside(tmp_path) as made:
        answer = made.run(errands.TRACE, {}, b"{}")
        assert answer is not None and "no collector was named" in answer["failure"]
        tracer = Tracer(Endpoint("http://127.0.0.1:9"), {}, dropped.append)
        tracer.add(visit(1))
        tracer.close(10)
    assert dropped == [1]
