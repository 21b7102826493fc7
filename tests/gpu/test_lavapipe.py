"""The Vulkan backend on Mesa's driver for CPUs: correct, and a failure of what it stands on is seen for what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_loader import StubLoader
from tiny_model import write_tiny_model

PROGRAM = Path(__file__).with_name("vulkan_engine.py")
FORCED = {"GGML_VK_VISIBLE_DEVICES": "0"}
"""ggml passes over devices of the type CPU unless it is told which to take."""
ALONE = ["-c", "256", "-np", "1", "-fit", "off", "--no-warmup", "-fa", "off"]
"""Mesa takes minutes to compile the shaders of flash attention for a CPU."""
ON_THE_GPU = ["-dev", "Vulkan0", "-ngl", "99", *ALONE]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


def start(
    vulkan_library: Path, *words: str | Path, prefix: list[str] | None = None, forced: bool = True
) -> subprocess.Popen[str]:
    """The program in the background."""
    command = [*(prefix or []), sys.executable, PROGRAM, vulkan_library.parent, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(FORCED if forced else {})}
    return subprocess.Popen(
        [str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(vulkan_library: Path, *words: str | Path, prefix: list[str] | None = None, forced: bool = True) -> Any:
    """What the program says: a fact, or a list where it answers."""
    with start(vulkan_library, *words, prefix=prefix, forced=forced) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    return lines[0] if len(lines) == 1 else lines


def devices(vulkan_library: Path, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run(vulkan_library, "devices", **options)["devices"]
    return found


def text(lines: list[dict[str, Any]]) -> str:
    assert lines[0]["phase"] == "ready", lines[0]
    assert lines[-1] == {"stopped": True}
    return "".join(line.get("text", "") for line in lines)


@pytest.mark.usefixtures("lavapipe")
def test_a_device_of_the_type_cpu_is_there_only_when_forced(vulkan_library: Path) -> None:
    names = [device["name"] for device in devices(vulkan_library, forced=False)]
    assert names == ["CPU"]
    forced = devices(vulkan_library)
    assert [device["name"] for device in forced] == ["CPU", "Vulkan0"]
    assert "llvmpipe" in forced[1]["description"]
    assert forced[1]["memory_total"] >= forced[1]["memory_free"] > 0


@pytest.mark.usefixtures("lavapipe")
def test_it_computes_what_the_cpu_computes(vulkan_library: Path, model: Path) -> None:
    on_gpu = text(run(vulkan_library, model, *ON_THE_GPU))
    on_cpu = text(run(vulkan_library, model, "-dev", "none", *ALONE))
    assert len(on_gpu) >= 12
    assert on_gpu == on_cpu


def test_without_a_loader_the_backend_does_not_load(vulkan_library: Path, no_loader: list[str]) -> None:
    assert "libggml-vulkan.so did not load" in run(vulkan_library, "devices", prefix=no_loader)["error"]


@pytest.mark.usefixtures("lavapipe")
def test_without_a_driver_there_is_no_device(vulkan_library: Path, no_drivers: list[str]) -> None:
    assert "libggml-vulkan.so did not load" in run(vulkan_library, "devices", prefix=no_drivers, forced=False)["error"]


def test_the_stand_in_hands_on(vulkan_library: Path, stub_loader: StubLoader) -> None:
    assert [device["name"] for device in devices(vulkan_library, prefix=stub_loader.prefix)] == ["CPU", "Vulkan0"]


def test_a_loader_that_fails(vulkan_library: Path, stub_loader: StubLoader) -> None:
    stub_loader.tell("create", "fail")
    assert "libggml-vulkan.so did not load" in run(vulkan_library, "devices", prefix=stub_loader.prefix)["error"]


@pytest.mark.parametrize(
    ("when", "what", "ends_by"),
    [
        ("load", "crash", signal.SIGSEGV),
        ("load", "abort", signal.SIGABRT),
        ("create", "crash", signal.SIGSEGV),
        ("create", "abort", signal.SIGABRT),
    ],
)
def test_a_loader_that_crashes(
    vulkan_library: Path, stub_loader: StubLoader, when: str, what: str, ends_by: signal.Signals
) -> None:
    stub_loader.tell(when, what)
    with start(vulkan_library, "devices", prefix=stub_loader.prefix) as process:
        process.communicate(timeout=60)
    assert process.returncode == -ends_by


@pytest.mark.parametrize("when", ["load", "create"])
def test_a_loader_that_hangs(vulkan_library: Path, stub_loader: StubLoader, when: str) -> None:
    stub_loader.tell(when, "hang")
    with start(vulkan_library, "devices", prefix=stub_loader.prefix) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1.5)
        process.kill()


@pytest.fixture
def answering(vulkan_library: Path, model: Path, stub_loader: StubLoader) -> Iterator[subprocess.Popen[str]]:
    """A program in the middle of an answer."""
    with start(vulkan_library, model, *ON_THE_GPU, prefix=stub_loader.prefix) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert lines[0]["phase"] == "ready" and "text" in lines[2]
        yield process
        process.kill()


def test_a_driver_that_crashes_in_mid_answer(answering: subprocess.Popen[str], stub_loader: StubLoader) -> None:
    stub_loader.tell("submit", "crash")
    answering.communicate(timeout=60)
    assert answering.returncode == -signal.SIGSEGV


def test_a_driver_that_hangs_in_mid_answer(answering: subprocess.Popen[str], stub_loader: StubLoader) -> None:
    stub_loader.tell("submit", "hang")
    with pytest.raises(subprocess.TimeoutExpired):
        answering.communicate(timeout=2)


def test_submissions_are_counted(vulkan_library: Path, model: Path, stub_loader: StubLoader) -> None:
    stub_loader.tell("submit", "crash", 10)
    with start(vulkan_library, model, *ON_THE_GPU, prefix=stub_loader.prefix) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGSEGV
    assert out.count('"text"') < 10
