"""The Vulkan backend for Windows: its file, and under Wine without Vulkan, without a driver, with Mesa's for CPUs.

Wine's vulkan-1.dll hands on to this system's loader, and does so only where it has a display to draw on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from runners import Runner
from solofile.builder import inputs, native
from solofile.builder.errors import MissingTool
from solofile.builder.pack import find_or_build
from solofile.builder.packfile import Pack
from solofile.builder.pe import read_exported, read_needed, system_has
from tiny_model import write_tiny_model

TARGET = "windows-x86_64"
KERNELS = "x64,haswell"
MEMBER = f"native/{TARGET}/ggml-vulkan.dll"
MEBIBYTE = 1 << 20
ASK = ["-p", "the the", "-n", "8", "--temp", "0", "--ignore-eos"]
FORCED = ["--gpu", "vulkan"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(native_libraries: Path) -> native.Native:
    """The libraries for Windows with the Vulkan backend, built by now."""
    assert native_libraries.is_dir()
    try:
        return native.build(TARGET, kernels=KERNELS, gpus="vulkan")
    except MissingTool as error:
        pytest.skip(f"the Vulkan backend cannot be built here: {error}")


@pytest.fixture(scope="module")
def library(built: native.Native) -> Path:
    return built.folder / "ggml-vulkan.dll"


@pytest.fixture(scope="module")
def packs(built: native.Native) -> tuple[Path, Path]:
    """The pack without a GPU backend, and the one with it."""
    assert built.folder.is_dir()
    with find_or_build(TARGET, kernels=KERNELS) as plain, find_or_build(TARGET, kernels=KERNELS, gpus="vulkan") as pack:
        return plain.path, pack.path


@pytest.fixture(scope="module")
def bundle(packs: tuple[Path, Path], solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a model that even a GPU that is none computes quickly."""
    folder = tmp_path_factory.mktemp("windows")
    output, model = folder / "tiny.exe", write_tiny_model(folder / "tiny.gguf", layers=2, width=256)
    command = [*solofile, "build", str(model), "-o", str(output), "--pack", str(packs[1]), *FORCED]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    return output


@pytest.fixture
def run(wine: Runner, bundle: Path, tmp_path: Path) -> Run:
    """Runs the bundle in ``tmp_path`` on a machine that it does not know yet, with more in the environment."""

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**wine.environment(tmp_path / "cache"), **more}
        return subprocess.run(
            wine.command(bundle, *words), cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=240, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def no_vulkan(wine: Runner, tmp_path: Path) -> Iterator[None]:
    """A Windows without vulkan-1.dll, as where no driver brought one; one lies where bundles must not look."""
    loader = Path(wine.settings["WINEPREFIX"], "drive_c/windows/system32/vulkan-1.dll")
    planted = tmp_path / loader.name
    shutil.move(loader, planted)
    yield
    shutil.move(planted, loader)


@pytest.fixture(scope="module")
def display(wine: Runner, lavapipe: Path) -> Iterator[Mapping[str, str]]:
    """A screen that nobody sees, for as long as this module's tests take."""
    assert lavapipe
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (Debian package xvfb)")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        # What of Wine runs already has no display, and its graphics driver is chosen once.
        subprocess.run(["wineserver", "-k"], env=wine.environment(), check=False, timeout=60)
        yield {"DISPLAY": f":{number}"}
        subprocess.run(["wineserver", "-k"], env=wine.environment(), check=False, timeout=60)
        process.terminate()


def gpu_decision(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    (found,) = (one for one in json.loads(done.stdout)["choice"]["decisions"] if one["part"] == "gpu")
    assert isinstance(found, dict)
    return found


def test_it_needs_vulkan_and_windows_alone(library: Path) -> None:
    needs = {name for name in read_needed(library) if not system_has(name)}
    assert needs == {"vulkan-1.dll", "ggml-base.dll"}


def test_it_exports_what_ggml_asks_for_and_nothing_else(library: Path) -> None:
    assert read_exported(library) == {"ggml_backend_init"}


def test_what_it_needs_is_recorded(built: native.Native) -> None:
    (gpu,) = built.gpus
    assert (gpu.facts.requires, gpu.facts.needs) == ("Windows 10", ("vulkan-1.dll",))
    assert "cooperative matrix" not in gpu.facts.lacks


def test_it_is_stripped_and_names_no_folder_of_this_machine(library: Path) -> None:
    data = library.read_bytes()
    assert 5_000_000 < len(data) < 60_000_000
    assert b".debug_info" not in data
    for folder in (str(Path.home()), str(inputs.llama_source()), str(inputs.tools_folder())):
        assert folder == "/" or folder.encode() not in data, folder


def test_what_it_adds_to_a_pack(packs: tuple[Path, Path], library: Path) -> None:
    plain, pack = packs
    assert plain.stat().st_size < 40 * MEBIBYTE
    assert 0 < pack.stat().st_size - plain.stat().st_size < 16 * MEBIBYTE
    with Pack.open(pack) as opened:
        assert opened.read(MEMBER) == library.read_bytes()
        assert opened.facts.requires == "Windows 10"
        assert b"Khronos" in opened.read("LICENSES/vulkan-headers.txt")


def test_without_vulkan_it_runs_on_the_cpu(run: Run, no_vulkan: None) -> None:
    assert no_vulkan is None
    done = run(*ASK)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout) > 4
    forced = run(*ASK, *FORCED)
    assert forced.returncode == 2
    assert forced.stderr == (
        "The GPU vulkan cannot be used, since vulkan cannot be loaded (there is no vulkan-1.dll here): install or "
        "update its driver, or leave it out.\n"
    )
    said = " ".join(run("--doctor", *FORCED).stdout.split())
    assert "! The GPU vulkan cannot be used, since vulkan cannot be loaded (there is no vulkan-1.dll here)" in said
    assert gpu_decision(run("--doctor", "--json"))["value"] == "none"


def test_a_vulkan_that_does_not_load_is_no_harm(run: Run, wine: Runner) -> None:
    overrides = f"{wine.settings['WINEDLLOVERRIDES']};vulkan-1="
    forced = run(*ASK, *FORCED, WINEDLLOVERRIDES=overrides)
    assert forced.returncode == 2
    assert "(ggml-vulkan.dll, or a library that it needs, does not load)" in forced.stderr
    done = run(*ASK, WINEDLLOVERRIDES=overrides)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout) > 4
    assert gpu_decision(run("--doctor", "--json", WINEDLLOVERRIDES=overrides))["value"] == "none"


def test_a_vulkan_without_a_driver_is_no_harm(run: Run) -> None:
    forced = run(*ASK, *FORCED)
    assert forced.returncode == 2
    assert "vulkan failed when it was tried on" in forced.stderr
    done = run(*ASK)
    assert done.returncode == 0 and len(done.stdout) > 4


def test_it_computes_what_the_cpu_computes(run: Run, display: Mapping[str, str]) -> None:
    on_cpu = run(*ASK, "--gpu", "none", **display)
    on_gpu = run(*ASK, *FORCED, **display)
    assert on_gpu.returncode == 0, on_gpu.stderr
    assert on_gpu.stdout == on_cpu.stdout and len(on_gpu.stdout) > 4
    decision = gpu_decision(run("--doctor", "--json", *FORCED, **display))
    assert decision["value"].startswith("Vulkan0 (llvmpipe") and "all layers" in decision["value"]
