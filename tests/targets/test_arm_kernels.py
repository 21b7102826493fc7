"""A bundle for 64-bit ARM on emulated CPUs: it answers, and takes the kernel that each of them is best served by."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import binfmt
import pytest

pytestmark = pytest.mark.e2e

TARGET = "linux-aarch64"
CHOSEN = {
    "cortex-a53": "armv8.0_1",
    "cortex-a72": "armv8.0_1",
    "neoverse-n1": "armv8.2_2",
    "a64fx": "armv8.0_1",  # has SVE, and lacks the dot products that each of ggml's kernels for SVE wants
    "max": "armv9.2_2",
}
OVERHEAD = 40_000_000

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def bundle(solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundle with every kernel for ARM; they are compiled when the build cache is empty."""
    lack = binfmt.register()
    if lack:
        pytest.skip(lack)
    if os.environ.get("SOLOFILE_SKIP_NATIVE"):
        pytest.skip("SOLOFILE_SKIP_NATIVE is set")
    output = tmp_path_factory.mktemp("arm") / "smollm2.exe"
    command = [*solofile, "build", "smollm2-135m.toml", "--target", TARGET, "-o", str(output)]
    subprocess.run(command, check=True, timeout=3600)
    return output


@pytest.fixture(scope="module")
def run_on(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the bundle on a CPU of that name."""
    cache = tmp_path_factory.mktemp("cache") / "solofile"

    def run(cpu: str, *words: str) -> subprocess.CompletedProcess[str]:
        settings = {"QEMU_LD_PREFIX": str(binfmt.SYSTEM), "QEMU_CPU": cpu, "SOLOFILE_CACHE": str(cache)}
        environment = {**os.environ, **settings}
        return subprocess.run(
            [str(bundle), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=280, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("cpu", CHOSEN)
def test_the_kernel_fits_the_cpu(cpu: str, run_on: Run) -> None:
    done = run_on(cpu, "--doctor", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["choice"]["path"]["variant"] == CHOSEN[cpu]
    assert report["hardware"]["target"] == TARGET
    assert not [name for name in report["hardware"]["features"] if name.startswith(("avx", "sse"))]


def test_it_answers(run_on: Run) -> None:
    done = run_on("cortex-a72", "-p", "What is the capital of France?", "-n", "8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "The capital of France is Paris."


def test_a_kernel_that_the_cpu_lacks_is_refused(run_on: Run) -> None:
    done = run_on("cortex-a72", "-p", "x", "--kernel", "armv8.2_2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The kernel variant armv8.2_2 needs DOTPROD, FP16_VECTOR_ARITHMETIC, which this CPU lacks" in done.stderr


def test_what_it_needs_and_weighs(bundle: Path, solofile: list[str]) -> None:
    done = subprocess.run([*solofile, "inspect", "--json", str(bundle)], capture_output=True, text=True, check=True)
    manifest = json.loads(done.stdout)["manifest"]
    assert manifest["targets"][TARGET]["requires"] == "glibc 2.17"
    (model,) = [part for part in manifest["parts"] if part["path"].endswith(".gguf")]
    assert bundle.stat().st_size - model["size"] < OVERHEAD
