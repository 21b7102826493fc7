"""Two bundles behind a load balancer."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from running import Running, free_port, wait_healthy

NAMES = ("one", "two")
PORTS = {"front": 8000, "one": 8081, "two": 8082}
"""As the configuration files have them."""


class Answer(NamedTuple):
    """Who answered, of how many tokens of the prompt it still had the state, and what."""

    who: str
    cached: int
    text: str


class Fleet:
    """The bundles, and the balancer, which is started with its example's configuration on free ports."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self._bundle, self._folder = bundle, folder
        self.ports = {name: free_port() for name in PORTS}
        self.bundles: dict[str, Running] = {}
        self._balancer: subprocess.Popen[bytes] | None = None

    def start(self, name: str) -> None:
        """Start one bundle, which calls itself by ``name``."""
        command = [self._bundle, "--server", "--port", str(self.ports[name]), "-a", name]
        command += ["-np", "2", "-c", "4096", "--drain-seconds", "60"]  # of the answers on a busy machine too
        command += ["-t", "1", "-tb", "1"]  # each as on a machine of its own: llama.cpp's threads wait by spinning
        environment = {**os.environ, "SOLOFILE_CACHE": str(self._folder / "cache")}
        process = subprocess.Popen(
            list(map(str, command)), env=environment, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.bundles[name] = Running(process, self.ports[name])
        wait_healthy(self.bundles[name])

    def balance(self, program: str, config: Path) -> None:
        """Start ``program`` before the bundles; one without /ready is asked for its /health."""
        text = config.read_text()
        for name, port in PORTS.items():
            assert f"127.0.0.1:{port}" in text
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[name]}")
        if self.bundles["one"].request("GET", "/ready")[0] == 404:
            text = text.replace("/ready", "/health")
        made = self._folder / config.name
        made.write_text(text)
        commands = {
            "haproxy": ["-db", "-f", str(made)],
            "nginx": ["-c", str(made), "-e", "stderr", "-g", f"daemon off; pid {self._folder}/nginx.pid;"],
        }
        with (self._folder / "balancer.log").open("wb") as log:
            where = shutil.which(program) or program
            self._balancer = subprocess.Popen([where, *commands[program]], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if self.front.request("GET", "/health")[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError((self._folder / "balancer.log").read_text())

    @property
    def front(self) -> Running:
        """What clients see."""
        assert self._balancer is not None
        return Running(self._balancer, self.ports["front"])  # type: ignore[arg-type]

    def ask(self, messages: list[dict[str, str]], headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """A chat through the balancer."""
        body = {"messages": messages, "temperature": 0, "max_tokens": 4, **more}
        found = self.front.json("POST", "/v1/chat/completions", body, **(headers or {}))
        cached = found["usage"]["prompt_tokens_details"]["cached_tokens"]
        return Answer(found["model"], cached, found["choices"][0]["message"]["content"])

    def kill(self, name: str) -> None:
        """As if the machine had lost its power."""
        os.killpg(self.bundles[name].process.pid, signal.SIGKILL)
        self.bundles[name].process.wait(10)

    def stop(self) -> None:
        """End all."""
        if self._balancer is not None:
            self._balancer.terminate()
            self._balancer.wait(20)
        for running in self.bundles.values():
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait(10)
