"""The Vulkan backend, built by now, lavapipe to run it on, and means to take away or spoil what it needs.

The stand-ins are given as the words that go before a program's command, so they serve frozen bundles as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
sys.path.insert(0, str(Path(__file__).parent))

from namespaces import emptied, without, works
from solofile.builder import native
from solofile.builder.errors import MissingTool
from solofile.builder.pack import find_or_build
from stub_loader import StubLoader, real_loader
from tiny_model import write_tiny_model

KERNELS = "all"
"""As in the pack without a GPU backend, so that the runtime is frozen once for both."""
DRIVERS = Path("/usr/share/vulkan/icd.d")


@pytest.fixture(scope="session")
def vulkan(native_libraries: Path, pytestconfig: pytest.Config) -> native.Native:
    """The native libraries with the Vulkan backend, built by now: minutes the first time, then nothing."""
    assert native_libraries.is_dir()
    with _shown(pytestconfig):
        try:
            return native.build(kernels=KERNELS, gpus="vulkan")
        except MissingTool as error:
            pytest.skip(f"the Vulkan backend cannot be built here: {error}")


@pytest.fixture(scope="session")
def vulkan_library(vulkan: native.Native) -> Path:
    """libggml-vulkan.so, beside the other native libraries."""
    return vulkan.folder / "libggml-vulkan.so"


@pytest.fixture(scope="session")
def vulkan_pack(vulkan: native.Native, pytestconfig: pytest.Config) -> Path:
    """A pack with the Vulkan backend."""
    assert vulkan.folder.is_dir()
    with _shown(pytestconfig), find_or_build(kernels=KERNELS, gpus="vulkan") as pack:
        return pack.path


@pytest.fixture(scope="session")
def vulkan_bundle(vulkan_pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundle with the Vulkan backend, built by the real command line."""
    output = tmp_path_factory.mktemp("vulkan") / "smollm2-vulkan.exe"
    command = [
        *solofile,
        "build",
        "smollm2-135m.toml",
        "-o",
        str(output),
        "--gpu",
        "vulkan",
        "--pack",
        str(vulkan_pack),
    ]
    subprocess.run(command, check=True, timeout=600)
    return output


@pytest.fixture(scope="session")
def tiny_bundle(vulkan_pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the Vulkan backend whose model even a GPU that is none computes quickly."""
    folder = tmp_path_factory.mktemp("tiny")
    output, model = folder / "tiny.exe", write_tiny_model(folder / "tiny.gguf", layers=2, width=256)
    command = [*solofile, "build", str(model), "-o", str(output), "--gpu", "vulkan", "--pack", str(vulkan_pack)]
    subprocess.run(command, check=True, timeout=300)
    return output


@pytest.fixture(scope="session")
def gpu_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of bundles with a GPU backend, which also keeps what its driver compiles."""
    return tmp_path_factory.mktemp("gpu-cache") / "cache"


@pytest.fixture(scope="session")
def lavapipe() -> Path:
    """The description of Mesa's Vulkan driver for CPUs."""
    found = next(DRIVERS.glob("lvp_icd*.json"), None)
    if found is None or real_loader() is None:
        pytest.skip("needs lavapipe: the Debian packages mesa-vulkan-drivers and libvulkan1")
    return found


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where nothing can be put in a program's way."""
    folder = tmp_path_factory.mktemp("namespaces")
    (folder / "file").touch()
    (folder / "work").mkdir()
    if os.name != "posix" or os.geteuid() != 0 or not works(without(folder / "file", folder / "work")):
        pytest.skip("needs root, mount namespaces and overlayfs")


@pytest.fixture
def stub_loader(tmp_path: Path, lavapipe: Path, namespaces: None) -> StubLoader:
    """A Vulkan loader that misbehaves when it is told to."""
    assert namespaces is None and lavapipe
    folder = tmp_path / "loader"
    folder.mkdir()
    return StubLoader(folder)


@pytest.fixture
def no_loader(tmp_path: Path, namespaces: None) -> list[str]:
    """The words before a command that finds no libvulkan.so.1."""
    assert namespaces is None
    found = real_loader()
    work = tmp_path / "no-loader"
    work.mkdir()
    return without(found, work) if found else []


@pytest.fixture
def no_drivers(namespaces: None) -> list[str]:
    """The words before a command that finds the loader and no Vulkan driver."""
    assert namespaces is None
    return emptied(DRIVERS) if DRIVERS.is_dir() else []


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Lets the progress of a build through to the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    shown: AbstractContextManager[None] = capture.global_and_fixture_disabled()
    return shown
