"""GPU backends in the cache of the native libraries: the parts that need no compiler."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solofile.builder import gpu, native, native_tree, paths, targets
from solofile.builder.errors import BuildError
from solofile.builder.gpu import GpuLibrary
from solofile.builder.progress import SilentProgress
from solofile.builder.vulkan_kit import Kit
from solofile.runtime.errors import UnknownName
from solofile.runtime.manifest import Gpu

X86 = targets.find_target("linux-x86_64")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for CMake, and notes what was asked for; cache, sources and kit are the test's own."""
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path / "cache"))
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "CMakeLists.txt").write_text("one")
    asked: list[list[str]] = []

    def make(tree: native_tree.NativeTree, cmake_targets: list[str]) -> Path:
        asked.append(cmake_targets)
        native_tree.mirror(sources, tree.sources)
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name in cmake_targets:
            (folder / f"lib{native.CORE.get(name, name)}.so").write_text(f"{name} {len(asked)}")
        return folder

    kit = Kit(tmp_path / "kit", "kit", "a test's kit")
    kit.folder.mkdir()
    (kit.folder / "copyright").write_bytes(b"the terms")
    for module in (gpu, native):
        monkeypatch.setattr(module, "own_sources", lambda: sources)
    monkeypatch.setattr(native_tree.NativeTree, "make", make)
    monkeypatch.setattr(gpu, "find_kit", lambda: kit)
    monkeypatch.setattr(gpu.inputs, "llama_source", lambda: tmp_path)
    monkeypatch.setattr(Kit, "lacks", lambda *_: ("bfloat16",))
    monkeypatch.setattr(gpu, "needs_of", lambda _, lacks: Gpu("glibc 2.17", ("libvulkan.so.1",), lacks))
    return asked


def recorded(built: native.Native) -> dict[str, object]:
    facts: dict[str, object] = json.loads((built.folder.parent / "native.json").read_text())["gpus"]
    return facts


def test_it_is_added_beside_the_others(made: list[list[str]]) -> None:
    plain = native.build("linux-x86_64", kernels="x64")
    assert (plain.gpus, recorded(plain)) == ((), {})
    built = native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    assert built.key == plain.key and made[1:] == [["ggml-vulkan"]]
    assert (built.folder / "libggml-vulkan.so").read_text() == "ggml-vulkan 2"
    (library,) = built.gpus
    assert library.facts == Gpu("glibc 2.17", ("libvulkan.so.1",), ("bfloat16",))
    assert library.terms == b"the terms"
    assert native.build("linux-x86_64", kernels="x64", gpus="vulkan") == built
    more = native.build("linux-x86_64", kernels="haswell", gpus="vulkan")
    assert made[2:] == [["ggml-cpu-haswell"]]
    assert list(recorded(more)) == ["vulkan"]


def test_a_change_of_the_bridge_does_not_build_it_again(made: list[list[str]], tmp_path: Path) -> None:
    native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    (tmp_path / "sources" / "bridge.cpp").write_text("new")
    built = native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    assert [targets for targets in made if "ggml-vulkan" in targets] == [["ggml-vulkan"]]
    assert (built.folder / "libggml-vulkan.so").is_file()


def test_a_changed_or_removed_one_is_put_back(made: list[list[str]]) -> None:
    built = native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    path = built.folder / "libggml-vulkan.so"
    path.write_text("damaged")
    native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    assert path.read_text() == "ggml-vulkan 1"
    built.gpus[0].path.unlink()
    path.unlink()
    native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    assert path.read_text() == f"ggml-vulkan {len(made)}"


def test_another_kit_makes_another(made: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    monkeypatch.setattr(gpu, "find_kit", lambda: Kit(tmp_path / "kit", "newer", "another"))
    built = native.build("linux-x86_64", kernels="x64", gpus="vulkan")
    assert made.count(["ggml-vulkan"]) == 2
    assert (built.folder / "libggml-vulkan.so").read_text() == f"ggml-vulkan {len(made)}"


def test_sources_changed_during_the_build_are_noticed(made: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    make = native_tree.NativeTree.make

    def make_late(tree: native_tree.NativeTree, cmake_targets: list[str]) -> Path:
        (gpu.own_sources() / "CMakeLists.txt").write_text("two")
        return make(tree, cmake_targets)

    monkeypatch.setattr(native_tree.NativeTree, "make", make_late)
    with pytest.raises(BuildError, match="changed during the build"):
        gpu.build_vulkan(X86, SilentProgress)
    assert made and not list((paths.build_cache() / "gpus").glob("*"))


def test_names() -> None:
    assert targets.find_gpus(X86, "none") == targets.find_gpus(X86, "") == ()
    assert targets.find_gpus(X86, " vulkan,none,") == ("vulkan",)
    with pytest.raises(UnknownName, match="did you mean vulkan"):
        targets.find_gpus(X86, "vulkn")


def test_a_library_of_a_gpu_has_its_name() -> None:
    library = GpuLibrary("cuda", Path(gpu.gpu_file("cuda", "linux-x86_64")), "", Gpu("", (), ()))
    assert library.path.name == "libggml-cuda.so"
