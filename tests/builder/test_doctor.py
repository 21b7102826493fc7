"""``solofile doctor``: the choice of a bundle without a bundle, and what a build needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from solofile.builder import cli, doctor, doctor_choice, native
from solofile.builder.doctor import Finding, page
from solofile.builder.doctor_choice import Seen
from solofile.builder.targets import TARGETS
from solofile.runtime import hardware
from solofile.runtime.hardware import Gpu, Hardware, NumaNode

AVX2 = frozenset("sse4_2 avx f16c fma avx2 bmi2".split())  # noqa: SIM905
DESKTOP = Hardware(
    "linux-x86_64", "A CPU", features=AVX2, cores=8, logical=16, performance_cores=8, allowed=16, allowed_cores=8,
    memory_total=32 << 30, memory=28 << 30,
)  # fmt: skip


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build cache with nothing in it."""
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["doctor", *words])
    return code, capsys.readouterr().out


def decisions(machine: Hardware) -> dict[str, Any]:
    return {one["part"]: one for one in doctor_choice.report(machine)["choice"]["decisions"]}


@pytest.mark.usefixtures("nothing_built")
def test_it_works_before_anything_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    if hardware.target() not in TARGETS:
        pytest.skip("no build runs here")
    code, text = run(capsys, "--json")
    report = json.loads(text)
    assert code == int(any(one["remedy"] for one in report["findings"]))
    names = [one["name"] for one in report["findings"]]
    assert {"target", "CPU features", "python", "native libraries"} <= set(names)
    assert report["hardware"]["threads"] == hardware.detect().threads
    assert report["choice"]["path"]["threads"] == hardware.detect().threads
    assert {one["part"] for one in report["choice"]["decisions"]} >= {"kernel", "gpu", "threads"}
    code, text = run(capsys)
    assert "as the system lists them, until native libraries are built that ask the CPU" in " ".join(text.split())
    assert text.startswith("This machine\n  CPU ")


def test_it_is_the_choice_of_a_bundle() -> None:
    found = decisions(DESKTOP)
    assert (found["kernel"]["value"], found["threads"]["value"], found["gpu"]["value"]) == ("haswell", "8", "none")
    assert found["kernel"]["reason"] == "the fastest of the 14 in this bundle for this CPU, using AVX2"
    assert "batch" not in found  # it depends on the model


def test_what_would_make_a_gpu_used() -> None:
    machine = DESKTOP._replace(gpus=(Gpu("NVIDIA GeForce RTX 3060", driver="nvidia"),), quota=2.5)
    text = page([Finding("pip", "23")], doctor_choice.report(machine))
    assert "NVIDIA GeForce RTX 3060 (driver nvidia)" in text
    assert "this bundle holds no GPU library: build it with --gpu vulkan" in text
    assert " 2 this container may use 2.5 CPUs" in " ".join(text.split())
    assert text.endswith("What a build needs\n  pip  23\n\nA build can be done here.\n")


def test_nodes_of_memory() -> None:
    nodes = (NumaNode(0, frozenset(range(8))), NumaNode(1, frozenset(range(8, 16))))
    assert decisions(DESKTOP._replace(numa=nodes))["NUMA"]["value"] == "distribute"


def test_where_no_build_runs_only_the_machine_is_shown() -> None:
    report = doctor_choice.report(DESKTOP._replace(target="plan9-mips"))
    assert report["choice"] is None
    text = page([Finding("target", "plan9-mips", "builds run on linux-x86_64")], report)
    assert "would compute" not in text
    assert "target  ! plan9-mips: builds run on linux-x86_64" in text
    assert text.endswith("1 of these, marked !, must be put right before a build.\n")


def test_what_must_be_put_right_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for findings, code in (([Finding("pip", "23")], 0), ([Finding("pip", "none", "install it")], 1)):
        monkeypatch.setattr(doctor, "examine", lambda _, found=findings: iter(found))
        monkeypatch.setattr(doctor_choice, "look", lambda: Seen(DESKTOP, ""))
        assert run(capsys)[0] == code
        assert run(capsys, "--json")[0] == code


def test_libraries_that_do_not_load_are_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if hardware.target() not in TARGETS:
        pytest.skip("no build runs here")
    (tmp_path / "libggml-base.so").write_bytes(b"no library")
    monkeypatch.setattr(native, "libraries_folder", lambda: tmp_path)
    seen = doctor_choice.look()
    assert "libggml-base.so did not load" in seen.fault
    assert seen.machine.cores == hardware.detect().cores
