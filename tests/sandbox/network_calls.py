"""Programs under strace: which of their system calls reach the network."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SPLIT = re.compile(r"^\d+ +")
_LOOPBACK = re.compile(r'inet_addr\("127\.|"::1"')
_PORT = re.compile(r"http://127\.0\.0\.1:(\d+)/")


class Traced:
    """A program, its network calls written down: of every thread and child."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._log = folder / "network.strace"
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=%network", "-o", str(self._log)]
        self._command = [*strace, *command]
        self._environment = {**os.environ, "SOLOFILE_CACHE": str(folder / "cache")}
        self.port = 0

    def to_the_end(self, typed: str) -> list[str]:
        """Run it with something on standard input; its calls."""
        done = subprocess.run(
            self._command, input=typed, env=self._environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return self.calls()

    def start(self) -> subprocess.Popen[str]:
        """Run it beside the test until it says where it listens."""
        process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        found = _PORT.search(process.stdout.readline())
        assert found
        self.port = int(found[1])
        return process

    def request(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        """Ask it something, once its model is loaded."""
        data, fields = json.dumps(body).encode(), {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, fields, method=method)
        for _ in range(600):
            try:
                with urllib.request.urlopen(asked, timeout=120) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                content = error.read()
                if error.code != 503:
                    return error.code, content
                time.sleep(0.1)
        raise AssertionError("the model does not load")

    def calls(self) -> list[str]:
        """One line a call, a call that was interrupted by another thread's being whole again."""
        waiting: dict[str, str] = {}
        found = []
        for line in self._log.read_text().splitlines():
            process, text = line.split(" ", 1)[0], _SPLIT.sub("", line)
            if text.endswith("<unfinished ...>"):
                waiting[process] = text.removesuffix("<unfinished ...>").rstrip()
            elif text.startswith("<... "):
                found.append(waiting.pop(process, "") + text.partition("resumed>")[2])
            else:
                found.append(text)
        return [call for call in found if re.match(r"[a-z0-9_]+\(", call)]


def outbound(calls: Iterable[str]) -> list[str]:
    """Those that reach beyond this machine, or make a socket that nothing here needs."""
    return [call for call in calls if _is_outbound(call)]


def _is_outbound(call: str) -> bool:
    if call.startswith(("socket(", "socketpair(")):
        return not re.match(r"socket(pair)?\(AF_(INET6?|UNIX), SOCK_(STREAM|SEQPACKET)", call)
    addressed = "sa_family=AF_INET" in call and call.startswith(("connect(", "sendto(", "sendmsg(", "sendmmsg("))
    return addressed and not _LOOPBACK.search(call)


@contextmanager
def serving(program: Traced) -> Iterator[Traced]:
    """The program while it serves."""
    with program.start() as process:
        try:
            yield program
        finally:
            # strace itself waits for what it traces.
            traced = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(traced[0]), signal.SIGTERM)
            process.wait(30)
