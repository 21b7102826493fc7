"""--doctor of a real bundle, and what memory forbids: said before it is loaded, and remembered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import QUESTION
from solofile.runtime import remembered

pytestmark = pytest.mark.e2e

Run = Callable[..., subprocess.CompletedProcess[str]]

HUGE = "51200000"
"""Tokens of context that no machine holds: a terabyte."""


def report(run_bundle: Run, *words: str, **changes: Any) -> dict[str, Any]:
    done = run_bundle("--doctor", "--json", *words, **changes)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_one_screen(run_bundle: Run, smollm2_bundle: Path) -> None:
    """Where nothing has gone wrong yet: crashes of this user's other bundles are told of as well. A long path takes a
    line more."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "s.exe")
        shutil.copy2(smollm2_bundle, bundle)
        done = run_bundle("--doctor", bundle=bundle, env={**os.environ, "SOLOFILE_CACHE": f"{folder}/c"})
    assert (done.returncode, done.stderr) == (0, "")
    for title in ("This machine", "What computes", "Memory, with", "Not used", "Bundle and cache"):
        assert f"\n{title}" in done.stdout
    assert len(done.stdout.splitlines()) <= 45
    assert "CPU kernels" in done.stdout
    assert "KV cache" in done.stdout


def test_it_says_what_a_start_does(run_bundle: Run) -> None:
    found = report(run_bundle, "-c", "2048")
    choice = found["choice"]
    assert found["format"] == 1
    assert choice["path"]["context"] == 2048
    assert choice["memory"]["context"] == 2048
    assert choice["memory"]["needed"] > choice["memory"]["weights_mapped"] > 90_000_000
    started = run_bundle("-p", QUESTION, "-n", "1", "-lv", "1", "-c", "2048")
    assert choice["sentence"] in started.stderr


@pytest.mark.parametrize("mode", [["-p", QUESTION], ["--server", "--port", "0"], ["--chat"], ["--bench"],
                                  ["--bench", "--compare"]])  # fmt: skip
def test_a_context_that_cannot_fit_is_refused_before_it_is_loaded(run_bundle: Run, mode: list[str]) -> None:
    done = run_bundle(*mode, "-c", HUGE)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "GB of memory with a context of 51,200,000 tokens (weights " in done.stderr
    assert "-c 8192 fits and is what it was trained for" in done.stderr


def test_the_doctor_says_so_first(run_bundle: Run) -> None:
    found = report(run_bundle, "-c", HUGE)
    assert found["choice"]["memory"]["fits"] is False
    assert found["problems"][0] == found["choice"]["refused"]  # crashes of other tests may follow
    assert "with a context of 51,200,000 tokens" in run_bundle("--doctor", "-c", HUGE).stdout.split("This machine")[0]


def test_a_model_is_laid_out_once(run_bundle: Run, environment: dict[str, str], tmp_path: Path) -> None:
    here = {**environment, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    total = report(run_bundle, env=here)["hardware"]["memory_available"]
    # By the rule of thumb half of the memory and more, so that it is looked up; really far less.
    words = ("-c", str(total // 2 // 240_000 // 256 * 256))
    first = report(run_bundle, *words, env=here)["choice"]["memory"]
    [book] = (tmp_path / "cache/state").glob("choice-*.json")
    document, _ = remembered.read(book)
    [estimate] = [one for model in document["models"].values() for one in model["estimates"].values()]
    assert estimate["weights"] == first["weights_mapped"] + first["weights_repacked"]
    estimate["compute"] += 12_345
    assert not remembered.add(book, {"models": document["models"]})
    again = report(run_bundle, *words, "-t", "1", env=here)["choice"]["memory"]
    assert again["compute"] == first["compute"] + 12_345, "it was laid out again"
    other = report(run_bundle, *words, "-ub", "128", env=here)["choice"]["memory"]
    assert other["compute"] < first["compute"], "what was remembered of another start was used"
