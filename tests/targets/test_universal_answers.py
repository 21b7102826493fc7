"""One file for several systems: the same bytes start under Wine, and under sh here and for an emulated ARM machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from runners import Runner, all_runners
from solofile.runtime.container import Bundle

pytestmark = pytest.mark.e2e

QUESTION = "What is the capital of France? Answer in one sentence."
TARGETS = ("linux-aarch64", "linux-x86_64", "windows-x86_64")
OVERHEAD = 120_000_000
"""Bytes that the packs of all targets may add to the model."""


@pytest.fixture(scope="module")
def universal(native_libraries: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model with every pack that can be made here, all kernels in them."""
    assert native_libraries.is_dir()
    output = tmp_path_factory.mktemp("universal") / "smollm2.exe"
    command = [*solofile, "build", "smollm2-135m.toml", "--target", ",".join(TARGETS), "-o", str(output)]
    subprocess.run(command, check=True, timeout=5400)
    return output


def unpacked_by_sh(universal: Path, runner: Runner, folder: Path) -> str:
    """What the file answers as a script, where ``uname`` says that this is a machine of the runner's target."""
    tools = folder / "tools"
    tools.mkdir()
    uname = tools / "uname"
    uname.write_text(f"#!/bin/sh\ncase $1 in -s) echo Linux ;; -m) echo {runner.target.partition('-')[2]} ;; esac\n")
    uname.chmod(0o755)
    environment = runner.environment(folder / "cache")
    environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["sh", str(universal), "-p", QUESTION], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=120 * runner.patience,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_systems_answer_the_same_out_of_the_same_bytes(universal: Path, wine: Runner, tmp_path: Path) -> None:
    before = hashlib.sha256(universal.read_bytes()).hexdigest()
    runners = [runner for runner in all_runners() if runner.target in TARGETS]
    if lacks := [runner.lack for runner in runners if runner.lack]:
        pytest.skip("; ".join(lacks))
    answers = {}
    for runner in runners:
        folder = tmp_path / runner.name
        folder.mkdir()
        if runner.is_windows:
            done = wine.run(universal, "-p", QUESTION, cache=folder / "cache")
            assert (done.returncode, done.stderr) == (0, "")
            answers[runner.target] = done.stdout
        else:
            answers[runner.target] = unpacked_by_sh(universal, runner, folder)
    assert sorted(answers) == sorted(TARGETS)
    assert set(answers.values()) == {"The capital of France is Paris.\n"}
    assert hashlib.sha256(universal.read_bytes()).hexdigest() == before


def test_what_the_packs_add_is_bounded(universal: Path) -> None:
    with Bundle.open(universal) as bundle:
        manifest = bundle.manifest
    assert tuple(sorted(manifest.targets)) == TARGETS
    assert universal.stat().st_size - manifest.models[0].size < OVERHEAD * len(TARGETS) / 4
