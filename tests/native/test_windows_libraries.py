"""The libraries for Windows: what they export and what they need, read from their files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pe_files import SYSTEM, PeFile
from solofile.builder import native
from solofile.builder.elf import read_interface


@pytest.fixture(scope="module")
def windows_dir(native_dir: Path) -> Path:
    """The folder of the libraries for Windows; built beside this machine's own."""
    assert native_dir.is_dir()
    return native.build("windows-x86_64", kernels="x64,haswell").folder


@pytest.mark.parametrize("name", ["ggml-base", "ggml"])
def test_ggml_exports_what_it_does_on_linux(windows_dir: Path, native_dir: Path, name: str) -> None:
    linux = {symbol for symbol in read_interface(native_dir / f"lib{name}.so").defined if not symbol.startswith("_Z")}
    assert len(linux) > 10
    assert PeFile(windows_dir / f"{name}.dll").exports == linux


def test_kernels_export_what_ggml_asks_for(windows_dir: Path) -> None:
    for name in ("x64", "haswell"):
        exports = PeFile(windows_dir / f"ggml-cpu-{name}.dll").exports
        assert exports == {"ggml_backend_init", "ggml_backend_score"}


def test_the_library_for_several_machines_exports_what_the_runtime_calls(windows_dir: Path) -> None:
    from solofile.runtime import rpc_native

    called = set(re.findall(r"_rpc\.(\w+)", Path(rpc_native.__file__).read_text()))
    assert PeFile(windows_dir / "ggml-rpc.dll").exports == called | {"ggml_backend_init"}


def test_the_bridge_exports_its_own_functions_alone(windows_dir: Path) -> None:
    from solofile.runtime.bridge import _FUNCTIONS

    assert PeFile(windows_dir / "llama.dll").exports == set(_FUNCTIONS)


def test_only_the_system_and_one_another_are_needed(windows_dir: Path) -> None:
    own = set(native.core_files("windows-x86_64"))
    for path in (path for path in windows_dir.glob("*.dll") if path.name != "ggml-vulkan.dll"):
        needs = {name.lower() for name in PeFile(path).needs}
        assert not {name for name in needs - own - SYSTEM if not name.startswith("api-ms-win-")}, path.name
