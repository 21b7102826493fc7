"""Machines that are none: network namespaces, joined by cables of which the test holds both ends."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NEWNET = 0x40000000
PORT = 8080


def why_not() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces with cables between them need root"
    if not shutil.which("ip"):
        return "ip (iproute2) is missing"
    name = f"sf{os.getpid()}t"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"the system gives no network namespaces ({done.stderr.strip()})"
    subprocess.run(["ip", "netns", "delete", name], check=False)
    return ""


@dataclass
class Machine:
    """One namespace; ``address`` is the one by which the first machine knows it."""

    name: str
    address: str = "127.0.0.1"
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str | Path, env: dict[str, str], log: Path) -> subprocess.Popen[str]:
        """Start a program there; what it says goes to ``log``."""
        with log.open("a") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *map(str, words)], env=env, stdin=subprocess.DEVNULL, stdout=file,
                stderr=file, text=True, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words: str | Path, env: dict[str, str], timeout: float = 200) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end."""
        command = ["ip", "netns", "exec", self.name, *map(str, words)]
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )

    def inside(self, work: Callable[[], Any]) -> Any:
        """Call a function on a thread that is there."""
        found: list[Any] = []

        def go() -> None:
            with open(f"/var/run/netns/{self.name}") as file:  # noqa: PTH123
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            try:
                found.append((True, work()))
            except Exception as error:
                found.append((False, error))

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        good, value = found[0]
        if not good:
            raise value
        return value

    def ask(self, body: dict[str, Any], path: str = "/v1/chat/completions", timeout: float = 100) -> Any:
        """A request to the server there, whole."""

        def work() -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer.status, json.loads(content)

        return self.inside(work)

    def wait_healthy(self, seconds: float = 120) -> None:
        """Until the server there is ready."""

        def healthy() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()

        until(lambda: self.inside(healthy), seconds)

    def sent(self) -> int:
        """Bytes that have left it."""
        done = subprocess.run(["ip", "-n", self.name, "-s", "link"], capture_output=True, text=True, check=True)
        return sum(int(found) for found in re.findall(r"TX: .*\n +(\d+)", done.stdout))

    def clear(self) -> None:
        """End what was started there."""
        for process in self.started:
            with process, suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.started.clear()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


@contextmanager
def lan(count: int) -> Iterator[list[Machine]]:
    """So many machines, the first with a cable to each of the others."""
    machines = [Machine(f"sf{os.getpid()}m{number}") for number in range(count)]
    try:
        for one in machines:
            _ip("netns", "add", one.name)
            _ip("-n", one.name, "link", "set", "lo", "up")
        first = machines[0].name
        for number, one in enumerate(machines[1:], 1):
            _ip("link", "add", f"c{number}", "netns", first, "type", "veth", "peer", "name", "c0", "netns", one.name)
            one.address = f"10.231.{number}.2"
            _ip("-n", first, "address", "add", f"10.231.{number}.1/24", "dev", f"c{number}")
            _ip("-n", one.name, "address", "add", f"{one.address}/24", "dev", "c0")
            _ip("-n", first, "link", "set", f"c{number}", "up")
            _ip("-n", one.name, "link", "set", "c0", "up")
        yield machines
    finally:
        for one in machines:
            one.clear()
            subprocess.run(["ip", "netns", "delete", one.name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
