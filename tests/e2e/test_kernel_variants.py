"""Every CPU variant that this machine can run, those that it cannot, and a CPU without AVX."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import QUESTION, serve
from solofile.runtime.hardware import detect, target
from solofile.runtime.kernels import BASE, X86, missing
from zig_cc import SHARED, zig_cc

pytestmark = pytest.mark.e2e

Run = Callable[..., subprocess.CompletedProcess[str]]

ABLE = [name for name in X86 if not missing(name, detect().features)]
UNABLE = [name for name in X86 if missing(name, detect().features)]

BOUND = 0.5
"""How far a log-probability among the first 10 may be from the plainest variant's.

The variants round the activations of quantized weights differently; 0.27 was seen between x64 and sandybridge.
"""


def first_token(bundle: Path, environment: dict[str, str], variant: str) -> dict[int, float]:
    """The log-probabilities of the first token of an answer, the likeliest first."""
    with serve([bundle, "--server", "--kernel", variant, "--no-calibrate"], environment) as running:
        question = {"prompt": "The capital of France is", "n_predict": 1, "n_probs": 10, "temperature": 0}
        [token] = running.json("POST", "/completion", question)["completion_probabilities"]
    return {one["id"]: one["logprob"] for one in token["top_logprobs"]}


@pytest.fixture(scope="session")
def plainest(smollm2_bundle: Path, environment: dict[str, str]) -> dict[int, float]:
    """What the variant for every CPU computes."""
    return first_token(smollm2_bundle, environment, BASE)


@pytest.mark.parametrize("variant", [name for name in ABLE if name != BASE])
def test_variant_computes_what_the_plainest_does(
    variant: str, smollm2_bundle: Path, environment: dict[str, str], plainest: dict[int, float]
) -> None:
    found = first_token(smollm2_bundle, environment, variant)
    assert next(iter(found)) == next(iter(plainest))
    shared = found.keys() & plainest.keys()
    assert len(shared) >= 8
    assert max(abs(found[token] - plainest[token]) for token in shared) <= BOUND


@pytest.mark.parametrize("variant", UNABLE)
def test_variant_that_the_cpu_lacks_is_refused(variant: str, run_bundle: Run) -> None:
    done = run_bundle("-p", QUESTION, "--kernel", variant)
    assert done.returncode == 2
    assert done.stdout == ""
    named = ", ".join(missing(variant, detect().features))
    assert f"The kernel variant {variant} needs {named}, which this CPU lacks" in done.stderr


def test_unknown_variant_is_refused(run_bundle: Run) -> None:
    done = run_bundle("--server", "--kernel", "zen9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Unknown kernel variant zen9 in this bundle")


@pytest.fixture(scope="session")
def without_avx(
    run_bundle: Run, smollm2_bundle: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the unpacked runtime, and what it starts, on an emulated CPU of 2008."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if qemu is None:
        pytest.skip("no qemu-x86_64: apt-get install qemu-user-static")
    assert run_bundle("--version").returncode == 0  # unpacks the runtime
    [runtime] = (cache / "packs").glob("*/solofile-runtime")
    source = Path(__file__).with_name("exec_under_qemu.c")
    wrapper = zig_cc(tmp_path_factory.mktemp("qemu") / "exec_under_qemu.so", *SHARED, source)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SOLOFILE_BUNDLE": str(smollm2_bundle),
            "SOLOFILE_CACHE_DIR": str(cache),
            "WRAP_QEMU": qemu,
            "WRAP_CPU": "Nehalem",
            "LD_PRELOAD": str(wrapper),
        }
        command = [qemu, "-cpu", "Nehalem", str(runtime), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.mark.skipif(target() != "linux-x86_64", reason="emulates x86-64")
def test_without_avx_it_answers(without_avx: Run) -> None:
    done = without_avx("-p", QUESTION, "-n", "8", "-v")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert "sse42" in done.stderr


@pytest.mark.skipif(target() != "linux-x86_64", reason="emulates x86-64")
def test_without_avx_the_doctor_shows_none(without_avx: Run) -> None:
    done = without_avx("--doctor", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    features = report["hardware"]["features"]
    assert "sse4_2" in features
    assert [name for name in features if "avx" in name] == []
