"""A pack and a bundle with the Vulkan backend."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.builder.packfile import Pack
from solofile.runtime.container import Bundle

MEMBER = "native/linux-x86_64/libggml-vulkan.so"


@pytest.fixture(scope="module")
def opened(vulkan_pack: Path) -> Iterator[Pack]:
    with Pack.open(vulkan_pack) as found:
        yield found


def test_the_backend_is_in_the_pack(opened: Pack, vulkan_library: Path) -> None:
    assert opened.read(MEMBER) == vulkan_library.read_bytes()
    assert opened.facts.gpus["vulkan"].needs == ("libvulkan.so.1",)
    assert opened.entry(MEMBER).stored < 15_000_000
    assert b"Khronos" in opened.read("LICENSES/vulkan-headers.txt")


def test_a_pack_without_it_is_another(opened: Pack, pack: Path) -> None:
    with Pack.open(pack) as plain:
        assert plain.facts.gpus == {}
        assert MEMBER not in plain.members
        assert plain.facts.requires == opened.facts.requires


def test_the_bundle_says_what_it_has(vulkan_bundle: Path, opened: Pack, solofile: list[str]) -> None:
    with Bundle.open(vulkan_bundle) as bundle:
        assert bundle.manifest.targets["linux-x86_64"].gpus == opened.facts.gpus
    done = subprocess.run([*solofile, "inspect", str(vulkan_bundle)], capture_output=True, text=True, check=True)
    assert "GPU backend vulkan, needs glibc 2.17, libvulkan.so.1" in done.stdout
    assert "GPU backends, " in done.stdout
