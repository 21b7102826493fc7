"""How the bundle behaves: signals, ports, keys, damage, crashes, and what it never does."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damaging import flip
from running import QUESTION, Running, free_port, serve, wait_healthy

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.e2e

STORY = ["-p", "Write a very long story about a lighthouse.", "-n", "2000", "--ignore-eos"]
OVERHEAD = 40 * 1000 * 1000  # bytes that a bundle may have on top of its model


@pytest.fixture
def start(smollm2_bundle: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Starts the bundle in a process group of its own, as a shell would; nothing of it outlives the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command = [str(smollm2_bundle), *arguments]
        processes.append(subprocess.Popen(command, env=environment, start_new_session=True, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        with process, contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def interrupted(process: subprocess.Popen[bytes]) -> tuple[int, float, str]:
    """Ctrl-C, as the terminal sends it: exit code, seconds until it had ended, what it said on standard error."""
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    return process.returncode, time.monotonic() - begin, errors.decode()


def test_the_bundle_is_small(smollm2_bundle: Path, smollm2_gguf: Path) -> None:
    assert smollm2_bundle.stat().st_size - smollm2_gguf.stat().st_size < OVERHEAD


def test_ctrl_c_in_an_answer(start: Start) -> None:
    process = start(*STORY)
    assert process.stdout is not None
    assert process.stdout.read(5)
    code, seconds, errors = interrupted(process)
    assert (code, errors) == (130, "")
    assert seconds < 2


def test_ctrl_c_in_a_prompt(start: Start) -> None:
    process = start("-p", "word " * 7000, "--kernel", "x64", "-t", "1")
    time.sleep(2)
    assert process.poll() is None
    code, seconds, errors = interrupted(process)
    assert (code, errors) == (130, "")
    assert seconds < 2


def test_ctrl_c_while_loading(start: Start) -> None:
    process = start("-p", QUESTION)
    time.sleep(0.12)
    assert process.poll() is None
    code, seconds, errors = interrupted(process)
    assert (code, errors) == (130, "")
    assert seconds < 2


def test_sigterm_ends_a_server_with_answers_under_way(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    with serve([smollm2_bundle, "--server", "--drain-seconds", "0"], environment) as running:

        def ask() -> None:
            body = json.dumps({"prompt": "word " * 4000, "n_predict": 500, "stream": True})
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
            connection.request("POST", "/completion", body)
            connection.getresponse().read()
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        begin = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert time.monotonic() - begin < 5
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (Debian package strace)")
def test_an_answer_opens_no_port_and_calls_nobody(
    smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=%net", "-o", trace, smollm2_bundle, "-p", QUESTION, "-n", "4"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "listen(" not in trace.read_text()
    assert "AF_INET" not in trace.read_text()
    assert "socket(" in trace.read_text(), "not even the C library's look for a name service cache was traced"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (Debian package strace)")
def test_a_server_talks_to_loopback_alone(smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command: list[str | Path] = ["strace", "-f", "-qq", "-e", "trace=bind,connect,sendto", "-o", trace]
    with serve([*command, smollm2_bundle, "--server"], environment) as running:
        content = [{"type": "image_url", "image_url": {"url": "http://192.0.2.1/cat.png"}}]
        messages = [{"role": "user", "content": content}]
        assert running.request("POST", "/v1/chat/completions", {"messages": messages})[0] >= 400
        running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 3})
        os.kill(running.model_pid(), signal.SIGTERM)  # the launcher; strace, which got no signal, ends after it
        running.process.wait(30)
    addresses = set(re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', trace.read_text()))
    assert addresses
    assert {v4 or v6 for v4, v6 in addresses} <= {"127.0.0.1", "::1"}


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_that_was_asked_for_and_is_taken(run_bundle: Run, taken_port: int) -> None:
    done = run_bundle("--server", "--port", str(taken_port))
    assert done.returncode == 2
    assert str(taken_port) in done.stderr
    assert done.stdout == ""


def test_a_taken_default_port_moves_to_the_next(start: Start) -> None:
    try:
        other = socket.create_server(("127.0.0.1", 8080))
    except OSError:
        other = socket.socket()  # taken by somebody else: as good
    with other:
        process = start("--no-browser")
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])  # type: ignore[index]
            assert port > 8080
            running = Running(process, port)  # type: ignore[arg-type]
            wait_healthy(running)
            assert b"<html" in running.request("GET", "/")[1]
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=30)
    assert "8080" in errors.decode()
    assert process.returncode == 0


def test_only_loopback_is_bound_and_a_key_is_asked_for(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    with serve([smollm2_bundle, "--server", "--api-key", "sesame"], environment) as running:
        body = {"prompt": "Hello", "n_predict": 2}
        assert running.request("POST", "/completion", body)[0] == 401
        assert running.request("POST", "/completion", body, Authorization="Bearer wrong")[0] == 401
        assert running.request("POST", "/completion", body, Authorization="Bearer sesame")[0] == 200
        assert running.request("GET", "/health")[0] == 200
        assert running.request("GET", "/", Host="evil.example")[0] == 403
        for entry in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            address, port = entry.split()[1].split(":")
            if int(port, 16) == running.port:
                assert address == "0100007F"  # 127.0.0.1, the bytes backwards


def test_an_unknown_option_names_the_nearest(run_bundle: Run) -> None:
    done = run_bundle("--sever")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Unknown option --sever: did you mean --server?\n"


def flipped(bundle: Path, folder: Path, offset: int) -> Path:
    """A copy of the bundle with one bit changed."""
    copy = folder / "damaged.exe"
    shutil.copy2(bundle, copy)
    flip(copy, offset, 1)
    return copy


def parts(bundle: Path) -> dict[str, dict[str, int]]:
    with zipfile.ZipFile(bundle) as archive:
        return {part["path"]: part for part in json.loads(archive.read("solofile.json"))["parts"]}


def test_damaged_weights_are_named_by_verify(run_bundle: Run, smollm2_bundle: Path, tmp_path: Path) -> None:
    assert run_bundle("--verify").returncode == 0
    name, part = next((name, part) for name, part in parts(smollm2_bundle).items() if name.endswith(".gguf"))
    done = run_bundle("--verify", bundle=flipped(smollm2_bundle, tmp_path, part["offset"] + part["size"] // 2))
    assert done.returncode == 2
    assert name in done.stdout + done.stderr


@pytest.mark.parametrize("what", ["manifest", "directory", "cut", "pack"])
def test_a_damaged_bundle_is_refused(smollm2_bundle: Path, tmp_path: Path, what: str) -> None:
    size = smollm2_bundle.stat().st_size
    with zipfile.ZipFile(smollm2_bundle) as archive:
        directory = archive.start_dir
        manifest = archive.getinfo("solofile.json").header_offset + 200
    pack = next(part for name, part in parts(smollm2_bundle).items() if name.endswith("libllama.so"))
    offsets = {"manifest": manifest, "directory": directory + 60, "pack": pack["offset"] + 1000, "cut": 0}
    damaged = flipped(smollm2_bundle, tmp_path, offsets[what])
    if what == "cut":  # shorter, and otherwise as it was
        shutil.copy2(smollm2_bundle, damaged)
        with damaged.open("r+b") as file:
            file.truncate(size - 5000)
    environment = {**os.environ, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [damaged, "-p", "Hello"], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert str(damaged) in done.stderr
    assert "damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    packs = tmp_path / "cache" / "packs"
    assert not packs.exists() or not [entry for entry in packs.iterdir() if entry.is_dir()]


def test_a_damaged_cache_is_made_again(run_bundle: Run, environment: dict[str, str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"  # not that of the other tests: a server runs from it
    here = {**environment, "SOLOFILE_CACHE": str(cache)}
    assert run_bundle("-p", QUESTION, env=here).returncode == 0
    for library in [*cache.glob("packs/*/native/libllama.so"), *cache.glob("kernels/*/*.so")]:
        library.chmod(0o600)
        library.write_bytes(b"damaged")
    done = run_bundle("-p", QUESTION, env=here)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert "again" in done.stderr
    assert run_bundle("-p", QUESTION, env=here).stderr == ""


def test_a_cache_that_cannot_be_used_is_named(run_bundle: Run, environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = run_bundle("-p", QUESTION, env={**environment, "SOLOFILE_CACHE": str(file)})
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "SOLOFILE_CACHE" in done.stderr


def test_a_crash_is_followed_by_one_more_start(start: Start) -> None:
    port = free_port()
    process = start("--server", "--port", str(port))
    running = Running(process, port)  # type: ignore[arg-type]
    try:
        wait_healthy(running)
        first = running.model_pid()
        os.kill(first, signal.SIGSEGV)
        deadline = time.monotonic() + 30
        while running.model_pid() in (first, process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        wait_healthy(running)
        assert running.model_pid() != first
        running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 3})
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert "SIGSEGV" in errors.decode()
    assert "Kernels: x64" in errors.decode()


def test_extract_gives_the_model_back(run_bundle: Run, smollm2_gguf: Path, tmp_path: Path) -> None:
    done = run_bundle("--extract", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (model,) = (tmp_path / "out").rglob("*.gguf")

    def digest(file: Path) -> str:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    assert digest(model) == digest(smollm2_gguf)


def test_the_words_about_itself(run_bundle: Run) -> None:
    assert "llama.cpp" in run_bundle("--version").stdout
    assert "--server" in run_bundle("--help").stdout
    licenses = run_bundle("--licenses").stdout
    for name in ("llama.cpp", "Flask", "Apache"):
        assert name.lower() in licenses.lower()
    facts = json.loads(run_bundle("--doctor", "--json").stdout)
    assert facts
