"""What there is for Windows on ARM, which nothing here can run: programs and libraries, read from their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pe_files import SYSTEM, PeFile
from solofile.builder import native
from solofile.builder.launcher import build_launcher
from solofile.builder.machine import made_for
from solofile.builder.starter import Starter, build_starter
from solofile.builder.targets import TARGETS

TARGET = "windows-aarch64"


def check_needs(path: Path, own: frozenset[str] = frozenset()) -> None:
    """It is for this machine, and asks for libraries of the system and for ``own`` ones alone."""
    assert made_for(path) == (TARGET,)
    for name in (name.lower() for name in PeFile(path).needs):
        assert name in SYSTEM | own or name.startswith("api-ms-win-"), f"{path.name} needs {name}"


def test_the_launcher() -> None:
    check_needs(build_launcher(TARGET))


def test_what_starts_the_runtime() -> None:
    check_needs(build_starter(Starter(TARGET, TARGETS[TARGET].triple, "python311.dll")))


@pytest.fixture(scope="module")
def libraries() -> Path:
    """The native libraries, if they were built: a quarter of an hour for what no pack can be made of here."""
    folder = native.libraries_folder(TARGET)
    if folder is None:
        pytest.skip(f"needs “solofile native build --target {TARGET}”")
    return folder


def test_the_libraries(libraries: Path) -> None:
    own = frozenset(native.core_files(TARGET))
    kernels = native.built_kernels(TARGET)
    assert kernels
    for path in [libraries / name for name in (*own, *(native.kernel_file(name, TARGET) for name in kernels))]:
        check_needs(path, own)
        exports = PeFile(path).exports
        if path.name not in own:
            assert exports == {"ggml_backend_init", "ggml_backend_score"}, path.name
        assert "atexit" not in exports and exports, path.name
