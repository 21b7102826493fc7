"""The fault table of a server: what its user sees, and that the next request works."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from asking import STORY, message, reading, works
from running import Running, serve

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bounded(smollm2_bundle: Path, environment: dict[str, str]) -> Iterator[Running]:
    """A server for the faults that it survives."""
    with serve([smollm2_bundle, "--server", "-np", "2", "-c", "2048", "--slots"], environment) as running:
        yield running


def raw(running: Running, *parts: bytes) -> bytes:
    """What is answered to these bytes; sending ends where the server has heard enough."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as sock:
        try:
            for part in parts:
                sock.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return sock.recv(65536)
        except ConnectionResetError:
            return b""


def head(length: int) -> bytes:
    return f"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_hundred_megabytes_of_headers(bounded: Running) -> None:
    fields = (b"X-%d: " % number + b"x" * 100_000 + b"\r\n" for number in range(1000))
    answer = raw(bounded, b"GET / HTTP/1.1\r\nHost: localhost\r\n", *fields)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    works(bounded)


def test_clients_of_one_byte_a_second(bounded: Running) -> None:
    """Hundreds of them hold nobody up, and are let go after 30 seconds, in the head of a request or in its body."""
    request = head(1000) + b"x" * 1000
    begun = [0] * 150 + [len(head(1000))] * 150
    clients = [socket.create_connection(("127.0.0.1", bounded.port), timeout=30) for _ in begun]
    for client, sent in zip(clients, begun, strict=True):
        client.sendall(request[:sent])
    start = time.monotonic()
    for second in range(25):
        for client, sent in zip(clients, begun, strict=True):
            client.sendall(request[sent + second : sent + second + 1])
        if second % 8 == 0:
            asked = time.monotonic()
            works(bounded)
            assert time.monotonic() - asked < 5
        time.sleep(max(0.0, start + second + 1 - time.monotonic()))
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 408")
        client.close()
    assert 25 < time.monotonic() - start < 40
    works(bounded)


def test_a_body_that_is_cut(bounded: Running) -> None:
    with socket.create_connection(("127.0.0.1", bounded.port), timeout=30) as sock:
        sock.sendall(head(1000) + b'{"prompt":')
        sock.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 400" in sock.recv(65536)
    works(bounded)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"prompt":"\xff\xfe"}', "The body is no UTF-8 text (byte 11)."),
        (b'{"prompt":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "The JSON has more than 100 brackets within brackets"),
        (b'{"grammar":"root ::= ' + b"(" * 60_000 + b'"}', "The grammar has more than 64 parentheses"),
        (b'{"prompt":"x","n_predict":3', "The body is no JSON"),
    ],
    ids=["invalid UTF-8", "deeply nested", "parentheses", "cut JSON"],
)
def test_a_body_that_would_hurt(bounded: Running, body: bytes, said: str) -> None:
    answer = raw(bounded, head(len(body)), body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert said.encode() in answer
    works(bounded)


def test_a_prompt_of_the_whole_context(bounded: Running) -> None:
    slot = bounded.json("GET", "/props")["default_generation_settings"]["n_ctx"]
    tokens = bounded.json("POST", "/tokenize", {"content": "word " * 3000})["tokens"]
    status, said = message(bounded.request("POST", "/completion", {"prompt": tokens[:slot], "n_predict": 3}))
    assert status == 400
    assert "exceeds the available context size" in said
    almost = bounded.json("POST", "/completion", {"prompt": tokens[: slot - 4], "n_predict": 50})
    assert almost["tokens_evaluated"] == slot - 4
    works(bounded)


def test_a_client_that_goes_frees_its_slot(bounded: Running) -> None:
    """While it decodes within 200 ms and a token, the look at the slots included: at best, since others may use this
    machine."""

    def busy() -> int:
        return sum(bool(slot["is_processing"]) for slot in bounded.json("GET", "/slots"))

    late = []
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", bounded.port, timeout=30)
        connection.request("POST", "/completion", json.dumps(STORY))
        answer = connection.getresponse()
        assert answer.readline()
        begun = time.monotonic()
        for _ in range(4):  # two pieces, with the empty lines between
            assert answer.readline()
        token = (time.monotonic() - begun) / 2
        assert busy() == 1
        begun = time.monotonic()
        answer.close()
        connection.close()
        while busy():
            assert time.monotonic() - begun < 30
            time.sleep(0.005)
        late.append(time.monotonic() - begun - token)
    assert min(late) < 0.2, late
    works(bounded)


def test_who_waits_for_a_whole_answer_and_goes_frees_its_slot(bounded: Running) -> None:
    """Within 200 ms too, while others are answered: they keep the core busy, and do not hide that it is not wanted."""

    def busy() -> int:
        return sum(bool(slot["is_processing"]) for slot in bounded.json("GET", "/slots"))

    def wait(count: int) -> float:
        begun = time.monotonic()
        while busy() != count:
            assert time.monotonic() - begun < 30
            time.sleep(0.005)
        return time.monotonic() - begun

    late = []
    for _ in range(5):
        with closing(http.client.HTTPConnection("127.0.0.1", bounded.port, timeout=30)) as other:
            other.request("POST", "/completion", json.dumps(STORY))
            with other.getresponse() as stream:
                assert stream.readline()
                reading = threading.Thread(target=lambda stream=stream: list(lines_of(stream)), daemon=True)
                reading.start()
                connection = http.client.HTTPConnection("127.0.0.1", bounded.port, timeout=30)
                connection.request("POST", "/completion", json.dumps({**STORY, "stream": False}))
                wait(2)
                time.sleep(0.3)
                connection.close()
                late.append(wait(1))
                other.sock.shutdown(socket.SHUT_RDWR)
                reading.join(10)
        wait(0)
    assert min(late) < 0.2, late
    works(bounded)


def lines_of(stream: http.client.HTTPResponse) -> Iterator[bytes]:
    """Until it is cut."""
    with suppress(OSError, http.client.HTTPException, ValueError):
        yield from stream


def test_stop_and_go(bounded: Running) -> None:
    """SIGSTOP and SIGCONT: the answer under way goes on."""
    thread, pieces = reading(bounded, {**STORY, "n_predict": 40})
    time.sleep(0.3)
    os.kill(bounded.model_pid(), signal.SIGSTOP)
    time.sleep(2)
    os.kill(bounded.model_pid(), signal.SIGCONT)
    thread.join(120)
    assert sum(piece.startswith(b"data: ") for piece in pieces) == 41
    works(bounded)


def test_the_files_go_while_it_runs(smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """The bundle and its cache deleted: what runs goes on, and the page is still there."""
    copy, cache = tmp_path / "copy.exe", tmp_path / "cache"
    shutil.copy2(smollm2_bundle, copy)
    with serve([copy, "--server"], {**environment, "SOLOFILE_CACHE": str(cache)}) as running:
        works(running)
        copy.unlink()
        subprocess.run(["chmod", "-R", "u+w", cache], check=True)
        shutil.rmtree(cache)
        works(running)
        assert b"<html" in running.request("GET", "/")[1]
        assert running.request("GET", "/openapi.json")[0] == 200
        assert running.request("GET", "/app.js")[0] == 200
        assert b"solofile_slots" in running.request("GET", "/metrics")[1]


def test_a_disk_that_is_full_keeps_the_server(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    with serve([smollm2_bundle, "--server", "--access-log", "/dev/full"], environment) as running:
        works(running)
        works(running)
        assert b"solofile_access_log_failures_total 0\n" not in running.request("GET", "/metrics")[1]
    assert "The access log /dev/full cannot be written (No space left on device): lines are lost." in running.errors


def test_beyond_loopback_without_a_key(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    command = [str(smollm2_bundle), "--server", "--host", "0.0.0.0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("--no-auth where everybody may use it.\n")


def test_thousands_of_idle_connections_are_held(bounded: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", bounded.port), timeout=30) for _ in range(2000)]
    begun = time.monotonic()
    works(bounded)
    assert time.monotonic() - begun < 5
    for sock in idle:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
    for sock in idle:
        sock.close()
    works(bounded)


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_small_crowd(smollm2_bundle: Path, smollm2_gguf: Path, environment: dict[str, str]) -> None:
    """The short form of tests/benchmarks/crowd.py: no error but 429s, every answer whole, idle connections held."""
    load = ["--clients", "40", "--seconds", "9", "--turn", "3", "--tokens", "4", "--idle", "500", "--queue", "8"]
    files = ["--bundle", smollm2_bundle, "--model", smollm2_gguf, "--reference", "none", "--alone"]
    command = [sys.executable, BENCHMARKS / "crowd.py", *files, *load]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert " 0 wrong []" in done.stdout, done.stdout + done.stderr
    assert "500 idle connections were held" in done.stdout


def test_memory_stays(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    """The short form of tests/benchmarks/soak.py."""
    command = [sys.executable, BENCHMARKS / "soak.py", "--bundle", smollm2_bundle, "--requests", "300"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
