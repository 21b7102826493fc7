"""Running the real bundle, and llama-server beside it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTION = "What is the capital of France?"


@dataclass
class Running:
    """A server that is up, and how to talk to it; ``errors`` is what it said by its end."""

    process: subprocess.Popen[str]
    port: int
    errors: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def json(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        status, content = self.request(method, path, body, **headers)
        assert status == 200, (status, content)
        return json.loads(content)

    def model_pid(self) -> int:
        """The process that holds the model: the runtime below the launcher, or the server itself."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid


def is_running(process: int) -> bool:
    """Is there such a process, and has it not ended?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Desktop:
    """Where a bundle is double-clicked: the browser writes down what it is to show, and the cache is its own."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self._opened, self._bundle = folder / "opened", bundle
        tools = folder / "bin"
        tools.mkdir()
        tool = tools / "xdg-open"
        tool.write_text(f'#!/bin/sh\necho "$1" >> {self._opened}\n')
        tool.chmod(0o755)
        self.environment = {**os.environ, "SOLOFILE_CACHE": str(folder / "cache"), "DISPLAY": ":99"}
        self.environment |= {"PATH": f"{tools}:{os.environ['PATH']}"}
        self.environment.pop("SSH_CONNECTION", None)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, bundle: Path | None = None) -> Running:
        """Start the bundle, or another one, and wait until it prints where its page is."""
        process = subprocess.Popen(
            [str(bundle or self._bundle), *words], env=self.environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        return Running(process, int(found[1]))

    @property
    def opened(self) -> list[str]:
        """The addresses that the browser was given."""
        return self._opened.read_text().splitlines()

    def clear(self) -> None:
        """End what was started."""
        for process in self._started:
            with process, suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._started.clear()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def serve(
    command: list[str | Path], environment: dict[str, str], cwd: Path | None = None, limit: float = 60.0
) -> Iterator[Running]:
    """Start a server on a free port, wait ``limit`` seconds for /health, stop it after the block."""
    port = free_port()
    process = subprocess.Popen(
        [*map(str, command), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=cwd,
    )
    running = Running(process, port)
    try:
        wait_healthy(running, limit)
        yield running
    finally:
        process.terminate()
        _, running.errors = process.communicate(timeout=30)
        print(running.errors)


def wait_healthy(running: Running, limit: float = 60.0) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if running.process.poll() is not None:
            assert running.process.stderr is not None
            raise AssertionError(f"ended with {running.process.returncode}: {running.process.stderr.read()}")
        try:
            if running.request("GET", "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("the server did not become healthy")


def next_life(running: Running, before: int) -> None:
    """Wait until another process than ``before`` has taken over, and answers."""
    end = time.monotonic() + 60
    while running.model_pid() in (before, running.process.pid):
        assert time.monotonic() < end, "nothing was started again"
        time.sleep(0.05)
    wait_healthy(running)


def mapped_regions(pid: int, file: Path) -> list[dict[str, int]]:
    """The regions of ``file`` in a process: offset, size and the figures of smaps, in bytes."""
    regions: list[dict[str, int]] = []
    here: dict[str, int] | None = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ *(.*)", line)
        if head:
            here = None
            if head[4] == str(file):
                begin, end, offset = (int(head[i], 16) for i in (1, 2, 3))
                here = {"offset": offset, "size": end - begin}
                regions.append(here)
        elif here is not None and (figure := re.match(r"(\w+): +(\d+) kB", line)):
            here[figure[1]] = int(figure[2]) * 1024
    return regions
