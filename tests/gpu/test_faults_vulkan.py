"""A Vulkan loader that crashes or hangs, while it is tried, loaded and in mid-answer: the bundle answers, and says why.

The bundle is a real one, started by its launcher; the loader that it finds in the system's place is the stub.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faults import left_behind
from namespaces import instead_of
from running import Running, serve, wait_healthy
from solofile.runtime.findings import today
from stub_loader import StubLoader

pytestmark = pytest.mark.e2e

ASK = ["-p", "the the", "-n", "8", "--temp", "0", "--ignore-eos"]
FORCED = ["--gpu", "vulkan"]
SHOWN = {"GGML_VK_VISIBLE_DEVICES": "0"}
"""With this a user lets ggml show lavapipe, as if it were a GPU."""

TRYING = "Trying vulkan on this machine, which takes up to 20 s and is done once."
LIMIT = 6
"""Seconds that the GPU may take for a batch: lavapipe, which has compiled everything, takes far less than one."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def compiled(tiny_bundle: Path, gpu_cache: Path, lavapipe: Path, namespaces: None) -> None:
    """Lets lavapipe compile what it will need: that takes longer than LIMIT."""
    assert lavapipe and namespaces is None
    environment = {**os.environ, "SOLOFILE_CACHE": str(gpu_cache)}
    subprocess.run([tiny_bundle, *ASK, *FORCED], env=environment, check=True, timeout=300, stdin=subprocess.DEVNULL)


@pytest.fixture
def cache(gpu_cache: Path) -> Iterator[Path]:
    """A cache that remembers nothing, and in which nothing is left behind."""
    shutil.rmtree(gpu_cache / "state", ignore_errors=True)
    yield gpu_cache
    assert [one for one in left_behind(gpu_cache) if "/state/crash-" not in one] == []


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "SOLOFILE_CACHE": str(cache)}


@pytest.fixture
def with_gpu(tmp_path: Path, stub_loader: StubLoader) -> list[str]:
    """The words before a command that finds the stub, on a machine that lists a GPU."""
    bus = Path("/sys/bus/pci/devices")
    if not bus.is_dir():
        pytest.skip("this machine has no PCI bus")
    device = tmp_path / "devices/0000:01:00.0"
    device.mkdir(parents=True)
    for name, value in {"class": "0x030000", "vendor": "0x10de", "device": "0x2504"}.items():
        (device / name).write_text(f"{value}\n")
    return [*stub_loader.prefix, *instead_of(bus, tmp_path / "devices")]


@pytest.fixture
def run(tiny_bundle: Path, environment: dict[str, str]) -> Run:
    """Runs the bundle to its end."""

    def run(prefix: list[str], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, str(tiny_bundle), *arguments], env={**environment, **more}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=120,
        )  # fmt: skip

    return run


def remembered(cache: Path) -> dict[str, Any]:
    """What the one file of the state says."""
    [path] = (cache / "state").glob("choice-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    ("when", "what", "fault"),
    [
        ("load", "crash", "crashed when it was tried on {today} (SIGSEGV)"),
        ("load", "hang", "gave no answer within 20 s when it was tried on {today}"),
        ("create", "crash", "crashed when it was tried on {today} (SIGSEGV)"),
        ("create", "abort", "crashed when it was tried on {today} (SIGABRT)"),
        ("create", "hang", "gave no answer within 20 s when it was tried on {today}"),
        ("submit", "crash", "crashed when it was tried on {today} (SIGSEGV)"),
        ("submit", "hang", "gave no answer within 20 s when it was tried on {today}"),
    ],
)
def test_while_it_is_tried(
    run: Run, with_gpu: list[str], stub_loader: StubLoader, cache: Path, environment: dict[str, str],
    tiny_bundle: Path, when: str, what: str, fault: str,
) -> None:  # fmt: skip
    stub_loader.tell(when, what)
    shown = SHOWN if when == "submit" else {}
    first = run(with_gpu, *ASK, **shown)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout) > 4
    *begin, last = first.stderr.splitlines()
    assert begin[0] == TRYING
    fault = fault.format(today=today())
    name = "Vulkan0 (vulkan)" if when == "submit" else "vulkan"
    assert last.startswith(f"{name} {fault.removesuffix(')')}")
    assert last.endswith(": --gpu vulkan tries it again.")

    key = "vulkan:Vulkan0" if when == "submit" else "vulkan"
    assert remembered(cache)["probes"][key]["status"] == ("hung" if what == "hang" else "crashed")
    begin_second = time.monotonic()
    second = run(with_gpu, *ASK, **shown)
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert time.monotonic() - begin_second < 15
    with serve([*with_gpu, tiny_bundle, "--server"], {**environment, **shown}) as running:
        assert running.json("POST", "/completion", {"prompt": "the", "n_predict": 2})["content"]
    assert f"; no GPU: {'Vulkan0 (llvmpipe' if when == 'submit' else 'vulkan'}" in running.errors
    assert fault.removesuffix(")") in running.errors
    assert TRYING not in running.errors


def ask_and_then(running: Running, act: Callable[[], None]) -> bytes:
    """Begin a long answer, ``act`` when it has begun, and read on until it ends; returns what came."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=90)
    body = {"prompt": "the the", "n_predict": 1500, "ignore_eos": True, "stream": True}
    connection.request("POST", "/completion", json.dumps(body))
    answer = connection.getresponse()
    received = answer.readline()
    act()
    with suppress(OSError, http.client.HTTPException):
        while line := answer.readline():
            received += line
    connection.close()
    return received


def runtime_of(running: Running) -> str:
    """The process below the launcher, which may change."""
    return Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()


@pytest.mark.parametrize(
    ("what", "signal", "fault"),
    [
        ("crash", "SIGSEGV", "crashed (SIGSEGV)"),
        ("abort", "SIGABRT", "crashed (SIGABRT)"),
        ("hang", "SIGABRT", f"did not finish a batch within {LIMIT} s"),
    ],
)
def test_in_mid_answer(
    run: Run, stub_loader: StubLoader, cache: Path, environment: dict[str, str], tiny_bundle: Path,
    what: str, signal: str, fault: str,
) -> None:  # fmt: skip
    command = [*stub_loader.prefix, tiny_bundle, "--server", *FORCED, "--gpu-timeout", str(LIMIT)]
    with serve(command, environment, limit=120) as running:
        first = runtime_of(running)
        received = ask_and_then(running, lambda: stub_loader.tell("submit", what))
        assert received.startswith(b"data: {") and b'"stop":true' not in received
        end = time.monotonic() + 30
        while runtime_of(running) in (first, "") and time.monotonic() < end:
            time.sleep(0.05)
        wait_healthy(running)
        assert running.json("POST", "/completion", {"prompt": "the", "n_predict": 4})["content"]
        assert "libvulkan" not in Path(f"/proc/{running.model_pid()}/maps").read_text()
    told = running.errors
    assert "Kernels: Vulkan0 (llvmpipe" in told and " (vulkan was asked for" in told
    assert f"the runtime crashed ({signal}), noted in {cache}/state/crash-" in told
    assert f"; no GPU: the run before ended with {signal} on Vulkan0.\n" in told
    if what == "hang":
        assert f"Vulkan0 {fault}: starting once more on the CPU (--gpu-timeout allows more)." in told
    assert remembered(cache)["crashes"]["vulkan:Vulkan0"]["what"] == fault

    with serve([*stub_loader.prefix, tiny_bundle, "--server"], environment) as running:  # as a user would the next day
        assert running.json("POST", "/completion", {"prompt": "the", "n_predict": 4})["content"]
        assert "libvulkan" not in Path(f"/proc/{running.model_pid()}/maps").read_text()
    assert f") {fault} on {today()}: --gpu vulkan tries it again" in running.errors
    stub_loader.calm()
    again = run(stub_loader.prefix, *ASK, *FORCED, "-v")
    assert (again.returncode, "Kernels: Vulkan0 (llvmpipe" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("when", "what"),
    [("load", "hang"), ("create", "hang"), ("submit", "hang"), ("load", "crash"), ("create", "crash"),
     ("submit", "crash")],
)  # fmt: skip
def test_after_it_was_tried_and_before_it_answers(
    run: Run, stub_loader: StubLoader, cache: Path, when: str, what: str
) -> None:
    """It worked when it was tried; now it is loaded, or gets the model, or is warmed up."""
    first = run(stub_loader.prefix, *ASK, *FORCED)
    assert first.returncode == 0, first.stderr
    stub_loader.tell(when, what)
    done = run(stub_loader.prefix, *ASK, *FORCED, "--gpu-timeout", str(LIMIT))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 4
    fault = "crashed (SIGSEGV)"
    if what == "hang":
        fault = remembered(cache)["crashes"]["vulkan:Vulkan0"]["what"]
        assert fault in (
            f"got no further with loading the model within {LIMIT} s", f"did not finish a batch within {LIMIT} s"
        )  # fmt: skip
        assert f"Vulkan0 {fault}: starting once more on the CPU" in done.stderr
    assert remembered(cache)["crashes"]["vulkan:Vulkan0"]["what"] == fault
    assert f"the runtime crashed ({'SIGABRT' if what == 'hang' else 'SIGSEGV'})" in done.stderr
    plain = run(stub_loader.prefix, *ASK, "-v")
    assert plain.returncode == 0
    assert f") {fault} on {today()}: --gpu vulkan tries it again" in plain.stderr


def test_the_doctor_is_watched_too(run: Run, stub_loader: StubLoader, cache: Path) -> None:
    assert run(stub_loader.prefix, *ASK, *FORCED).returncode == 0
    stub_loader.tell("create", "hang")
    done = run(stub_loader.prefix, "--doctor", "--json", *FORCED, "--gpu-timeout", str(LIMIT))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "the run before ended with SIGABRT on Vulkan0" in report["choice"]["sentence"]
    assert "vulkan:Vulkan0" in remembered(cache)["crashes"]


def test_a_forced_one_that_cannot_be_used_is_an_error(run: Run, stub_loader: StubLoader, cache: Path) -> None:
    stub_loader.tell("create", "crash")
    done = run(stub_loader.prefix, *ASK, *FORCED)
    assert (done.returncode, done.stdout) == (2, "")
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"The GPU vulkan cannot be used, since vulkan crashed when it was tried on {today()}")
    assert remembered(cache)["probes"]["vulkan"]["status"] == "crashed"
