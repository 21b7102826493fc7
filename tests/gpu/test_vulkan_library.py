"""The Vulkan backend as a file: what it needs of a system, and what was recorded of it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from solofile.builder import inputs, native
from solofile.builder.elf import read_interface, read_needs
from solofile.builder.gpu import SYSTEM
from solofile.builder.vulkan_kit import FEATURES

OLDEST_GLIBC = (2, 17)


def test_it_needs_the_vulkan_loader_and_nothing_newer_than_glibc_2_17(vulkan_library: Path) -> None:
    needs = read_needs(vulkan_library)
    assert set(needs.libraries) <= SYSTEM | {"libggml-base.so", "libvulkan.so.1"}
    assert {"libggml-base.so", "libvulkan.so.1"} <= set(needs.libraries)
    assert (2, 2) < needs.glibc <= OLDEST_GLIBC


def test_only_what_ggml_asks_for_leaves_it(vulkan_library: Path) -> None:
    interface = read_interface(vulkan_library)
    exported = {name for name in interface.defined if not name.startswith("_")}
    assert "ggml_backend_init" in exported
    assert all(name.startswith("ggml_backend_") for name in exported)


def test_it_is_stripped_and_names_no_folder_of_this_machine(vulkan_library: Path) -> None:
    data = vulkan_library.read_bytes()
    assert b".symtab" not in data and b".debug_info" not in data
    for folder in (str(Path.home()), str(inputs.llama_source()), str(inputs.tools_folder())):
        assert folder == "/" or folder.encode() not in data, folder


def test_it_is_of_a_size(vulkan_library: Path) -> None:
    assert 5_000_000 < vulkan_library.stat().st_size < 60_000_000


def test_what_its_compiler_lacked_is_recorded(vulkan: native.Native) -> None:
    (gpu,) = vulkan.gpus
    assert set(gpu.facts.lacks) < {name for _, name in FEATURES.values()}
    assert (gpu.facts.requires, gpu.facts.needs) == ("glibc 2.17", ("libvulkan.so.1",))
    recorded = json.loads((vulkan.folder.parent / "native.json").read_text())["gpus"]["vulkan"]
    assert tuple(recorded["lacks"]) == gpu.facts.lacks


def test_a_second_build_is_a_look(vulkan: native.Native, solofile: list[str]) -> None:
    command = [*solofile, "native", "build", "--kernels", "x64", "--gpu", "vulkan"]
    durations = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        durations.append(time.monotonic() - started)
        assert (done.stdout.strip(), done.stderr) == (str(vulkan.folder), "")
    assert min(durations) < 1.0
