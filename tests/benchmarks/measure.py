"""What the benchmarks share: servers to measure, streams to read, medians with their spread."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALM = 0.5
"""Seconds between runs of servers that share the CPUs: the threads of the one before look for more work for a while."""


@dataclass(frozen=True)
class Sample:
    """Figures of one thing measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:8.3f}  ({min(self.values):.3f} … {max(self.values):.3f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Sample:
    """Ours over theirs, pair by pair: both were measured one right after the other."""
    return Sample(tuple(a / b for a, b in zip(ours, theirs, strict=True)))


def arguments(description: str | None, *, runs: int, help_runs: str = "runs of each") -> argparse.ArgumentParser:
    """The options of a benchmark that puts a bundle beside llama-server with the plain GGUF."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True, help="llama-server")
    parser.add_argument("-n", type=int, default=runs, help=help_runs)
    return parser


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Server:
    """A server process on a port of its own. ``started``: the clock when it was; ``log`` gets its standard error."""

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.port = free_port()
        self.started = time.perf_counter()
        with Path(log or os.devnull).open("w") as errors:
            self.process = subprocess.Popen(
                [*map(str, command), "--port", str(self.port)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
            )

    def wait_healthy(self, limit: float = 60.0) -> float:
        """Seconds from the start of the process until /health answers ok."""
        while time.perf_counter() - self.started < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                healthy = connection.getresponse().status == 200
                connection.close()
                if healthy:
                    return time.perf_counter() - self.started
            except OSError:
                pass
            time.sleep(0.002)
        raise RuntimeError("the server did not become healthy")

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The server-sent events of one streamed answer, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.read()!r}")
        for line in answer:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])
        connection.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def running(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that is healthy inside the block and gone after it."""
    server = Server(command, environment)
    try:
        server.wait_healthy()
        yield server
    finally:
        server.stop()
