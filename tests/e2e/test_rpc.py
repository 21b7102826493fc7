"""One model on several machines: two workers in network namespaces, a main machine in a third."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import children
from machines import PORT, Machine, lan, until, why_not

QUESTION = "Tell me about the sea."
ASK = ("-p", QUESTION, "-n", "40", "--temp", "0", "-t", "1")
WORKER_PORT = 50052

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(why_not()), reason=why_not())]


class Lan:
    """The machines, and how the bundle is started on them."""

    def __init__(self, machines: list[Machine], bundle: Path, environment: dict[str, str], folder: Path) -> None:
        self.main, *self.workers = machines
        self.bundle, self.environment, self.folder = bundle, environment, folder
        self.secret = folder / "secret"
        self.secret.write_text("a secret that nobody would guess\n")

    @property
    def rpc(self) -> tuple[str, ...]:
        """The options of the main machine."""
        names = ",".join(f"{one.address}:{WORKER_PORT}" for one in self.workers)
        return ("--rpc", names, "--rpc-secret-file", str(self.secret))

    def log(self, machine: Machine) -> Path:
        return self.folder / f"{machine.name}.log"

    def work(self, worker: Machine, *words: str, prefix: tuple[str, ...] = ()) -> None:
        """Start a worker and wait until it listens."""
        before = self.log(worker).read_text().count("computes for other") if self.log(worker).exists() else 0
        worker.start(
            *prefix, self.bundle, "--rpc-worker", "--host", worker.address, "--rpc-secret-file", self.secret, "-t", "1",
            *words, env=self.environment, log=self.log(worker),
        )  # fmt: skip
        until(lambda: self.log(worker).read_text().count("computes for other") > before, 120)

    def serve(self, *words: str) -> None:
        """Start the server of the main machine and wait until it answers."""
        self.main.start(
            self.bundle, "--server", "--port", str(PORT), "-t", "1", "--no-calibrate", *words, env=self.environment,
            log=self.log(self.main),
        )  # fmt: skip
        self.main.wait_healthy()

    def said(self) -> str:
        return self.log(self.main).read_text()


@pytest.fixture
def net(smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Lan]:
    with lan(3) as machines:
        found = Lan(machines, smollm2_bundle, environment, tmp_path)
        yield found
        for one in machines:
            print(one.name, found.log(one).read_text() if found.log(one).exists() else "")


def chat(tokens: int, *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": QUESTION}]
    return {"messages": messages, "max_tokens": tokens, "temperature": 0, "stream": stream}


def test_two_workers_answer_as_one_machine_does(net: Lan) -> None:
    alone = net.main.run(net.bundle, *ASK, env=net.environment)
    assert alone.returncode == 0, alone.stderr
    for one in net.workers:
        net.work(one)
    together = net.main.run(net.bundle, *ASK, *net.rpc, env=net.environment)
    assert together.returncode == 0, together.stderr
    assert together.stdout == alone.stdout
    assert len(alone.stdout) > 60
    assert "Shared: " in together.stderr
    for one in net.workers:
        assert f" at {one.address}:{WORKER_PORT}" in together.stderr
        assert "Computing for 10.231." in net.log(one).read_text()
        assert one.sent() > 20_000, "what its layers computed went over the cable"


def test_a_worker_that_dies_ends_the_answer_and_the_next_one_comes(net: Lan) -> None:
    for one in net.workers:
        net.work(one)
    net.serve(*net.rpc)
    status, before = net.main.ask(chat(12))
    assert status == 200
    dead = net.workers[0]

    def broken() -> str:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(chat(4000, stream=True)))
            with connection.getresponse() as answer:
                assert answer.status == 200
                for _ in range(6):
                    assert answer.readline()
                dead.clear()
                with pytest.raises(http.client.HTTPException):
                    answer.read()
        return "error"

    assert net.main.inside(broken) == "error"
    net.main.wait_healthy()
    status, after = net.main.ask(chat(12))
    assert status == 200
    assert after["choices"][0]["message"] == before["choices"][0]["message"]
    assert f"The worker {dead.address}:{WORKER_PORT} is gone. Going on without it" in net.said()
    assert "crashed" not in net.said()
    assert net.said().count("Shared: ") == 2


def test_a_worker_that_hangs_is_given_up(net: Lan) -> None:
    net.work(net.workers[0])
    net.serve("--rpc", f"{net.workers[0].address}:{WORKER_PORT}", "--rpc-secret-file", str(net.secret))
    (launcher,) = net.workers[0].started
    (runtime,) = children(launcher.pid)
    os.kill(runtime, signal.SIGSTOP)
    assert net.main.inside(lambda: _broken_off(chat(4))) < 40
    net.main.wait_healthy()
    assert net.main.ask(chat(4))[0] == 200
    assert "has given no sign of life for 20 seconds. Going on without it" in net.said()


def _broken_off(request: dict[str, Any]) -> float:
    """How many seconds it takes until a request ends without an answer."""
    begun = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(request))
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()
    return time.monotonic() - begun


def test_the_last_worker_may_die_too_and_while_nobody_asks(net: Lan) -> None:
    net.work(net.workers[0])
    net.serve("--rpc", f"{net.workers[0].address}:{WORKER_PORT}", "--rpc-secret-file", str(net.secret))
    net.workers[0].clear()
    until(lambda: "Going on without it" in net.said())
    until(lambda: net.said().count("Kernels: ") == 2)
    net.main.wait_healthy()
    assert net.main.ask(chat(4))[0] == 200
    assert net.said().count("Shared: ") == 1


def test_where_nothing_listens_the_launcher_starts_it_once_more(net: Lan) -> None:
    net.work(net.workers[0])
    rpc = ("--rpc", f"{net.workers[0].address}:{WORKER_PORT}", "--rpc-secret-file", str(net.secret))
    process = net.main.start(
        net.bundle, "-p", QUESTION, "-n", "400", "--ignore-eos", "--temp", "0", "-t", "1", *rpc, env=net.environment,
        log=net.log(net.main),
    )  # fmt: skip
    until(lambda: "Shared: " in net.said() and len(net.said()) > 400)
    net.workers[0].clear()
    assert process.wait(150) == 0
    assert "is gone. Starting once more without it." in net.said()
    assert "was lost in the run before this one: going on without it." in net.said()
    assert net.said().count("it is started once more") == 1


def test_a_worker_that_does_not_answer_or_is_none_ends_the_start_in_one_sentence(net: Lan) -> None:
    worker = net.workers[0]
    net.work(worker)
    other = net.folder / "other"
    other.write_text("another secret that nobody would guess")

    def refused(address: str, secret: Path) -> str:
        words = ("--rpc", address, "--rpc-secret-file", secret)
        done = net.main.run(net.bundle, "-p", "Hi", *words, env=net.environment)
        assert done.returncode == 2
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    assert "has another secret: give both the same" in refused(f"{worker.address}:{WORKER_PORT}", other)
    assert "cannot be reached (Connection refused)" in refused(f"{worker.address}:{WORKER_PORT + 1}", net.secret)
    assert "cannot be reached" in refused("10.231.1.77:50052", net.secret)
    worker.start("python3", "-m", "http.server", "8000", env=net.environment, log=net.folder / "web.log")
    until(lambda: net.main.run("bash", "-c", f"</dev/tcp/{worker.address}/8000", env=net.environment).returncode == 0)
    assert "is no worker of a bundle" in refused(f"{worker.address}:8000", net.secret)


def test_weights_are_sent_once_and_a_cut_one_is_sent_again(net: Lan, cache: Path) -> None:
    net.environment = {**net.environment}
    for one in net.workers:
        net.work(one)
    kept = cache / "rpc"

    def once() -> tuple[str, int]:
        before = net.main.sent()
        done = net.main.run(net.bundle, *ASK, *net.rpc, env=net.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout, net.main.sent() - before

    for file in kept.iterdir():
        file.unlink()
    first, much = once()
    files = list(kept.iterdir())
    assert files, "tensors above 10 MiB are kept"
    size = sum(file.stat().st_size for file in files)
    second, less = once()
    assert second == first
    assert much - less > 0.9 * size
    os.truncate(files[0], 1000)
    third, again = once()
    assert third == first
    assert again - less > 0.9 * size
    assert files[0].stat().st_size > 1000


def test_a_worker_opens_no_connection_of_its_own(net: Lan) -> None:
    if net.main.run("which", "strace", env=net.environment).returncode:
        pytest.skip("strace is missing")
    trace = net.folder / "trace"
    worker = net.workers[0]
    net.work(worker, prefix=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=connect,sendto,sendmsg"))
    rpc = ("--rpc", f"{worker.address}:{WORKER_PORT}", "--rpc-secret-file", str(net.secret))
    done = net.main.run(net.bundle, "-p", "Hi", "-n", "4", "-t", "1", *rpc, env=net.environment)
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "connect(" in line or "sin_addr" in line]
    assert calls == []


def test_the_secret_is_in_no_log_and_no_list_of_processes(net: Lan) -> None:
    net.work(net.workers[0])
    net.serve("--rpc", f"{net.workers[0].address}:{WORKER_PORT}", "--rpc-secret-file", str(net.secret), "-v")
    secret = net.secret.read_text().strip()
    words = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words.append(path.read_text(errors="replace"))
    assert any("--rpc-worker" in one for one in words)
    assert not any(secret in one for one in words)
    assert all(secret not in path.read_text(errors="replace") for path in net.folder.glob("*.log"))


def test_a_signal_ends_a_worker_at_once(net: Lan) -> None:
    net.work(net.workers[0])
    process = net.workers[0].started[0]
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - begin < 10
