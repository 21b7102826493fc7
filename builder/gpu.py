"""Builds ggml's GPU backends from the pinned sources, each into a cache entry keyed by all that goes in.

    <build cache>/gpus/<key>/
        libggml-<gpu>.so     (ggml-<gpu>.dll for Windows)
        gpu.json             its SHA-256, what it needs of a system, what its shader compiler lacked

A backend has a build tree of its own: what it is built with may be missing or fail, which must not touch the rest, and
a change of the bridge is no reason to build it again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.elf import read_needs
from solofile.builder.errors import BuildError
from solofile.builder.hashing import file_sha256, folder_digests
from solofile.builder.native_tree import FLAGS, NativeTree, own_sources
from solofile.builder.paths import build_cache, keep_newest, locked, made_at, mark_used
from solofile.builder.pe import read_needed, system_has
from solofile.builder.progress import Progress
from solofile.builder.shared_shaders import sharing
from solofile.builder.targets import Target
from solofile.builder.tools import ProgressMaker
from solofile.builder.vulkan_kit import Kit, find_kit
from solofile.runtime.library_names import library_file
from solofile.runtime.manifest import Gpu

SOURCES = {
    "Linux": ("CMakeLists.txt", "toolchain.cmake", "vulkan/"),
    "Windows": ("CMakeLists.txt", "toolchain.cmake", "vulkan/", "vulkan-windows/", "windows.cmake"),
}
"""What of runtime/native goes into a GPU backend, by the system that it is for."""

SYSTEM = frozenset(
    {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
    | {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
)
"""glibc's libraries, which every system has that a bundle runs on."""


OLDEST_GLIBC = (2, 17)
OLDEST_WINDOWS = "Windows 10"
"""What a bundle needs in any case."""


@dataclass(frozen=True)
class GpuLibrary:
    """A finished GPU backend; ``path`` ends in its file name, ``terms`` is the license of what it takes in."""

    name: str
    path: Path
    sha256: str
    facts: Gpu
    terms: bytes = b""


def gpu_file(name: str, target: str) -> str:
    """The file name of a GPU backend's library."""
    return library_file(f"ggml-{name}", target)


def build_vulkan(target: Target, progress: ProgressMaker) -> GpuLibrary:
    """The Vulkan backend, built unless the cache holds it. Raises MissingTool, ToolError, BuildError."""
    kit = find_kit()
    folder = build_cache() / "gpus" / gpu_key(target, folder_digests(own_sources()), kit)
    if not _is_whole(folder):
        tree = _tree(target, progress, kit)
        with locked(tree.lock, waiting=_say_waiting):
            if not _is_whole(folder):
                _make(folder, tree, target, kit)
    mark_used(folder)
    return _read(folder, kit)


def _tree(target: Target, progress: ProgressMaker, kit: Kit) -> NativeTree:
    options: dict[str, object] = {"SOLOFILE_GPU": "vulkan", "SOLOFILE_VULKAN_KIT": sharing(kit).folder}
    if target.system_name == "Windows":
        options["CMAKE_PROJECT_solofile_native_INCLUDE"] = "vulkan-windows/loader.cmake"
    return NativeTree(target, progress, suffix=f"-vulkan-{kit.key}", label="Vulkan backend", options=options)


def gpu_key(target: Target, sources: dict[str, str], kit: Kit) -> str:
    """The hash of everything that goes into the Vulkan backend, as 16 hex digits."""
    facts = {
        "sdist": inputs.LLAMA.sha256,
        "tools": {name: pin.version for name, pin in inputs.pins("tools").items()},
        "target": [target.triple, target.system_name, target.processor],
        "flags": FLAGS,
        "sources": {path: digest for path, digest in sources.items() if path.startswith(SOURCES[target.system_name])},
        "kit": kit.key,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def needs_of(path: Path, lacks: tuple[str, ...] = ()) -> Gpu:
    """What the manifest says of a GPU backend. Raises ElfError, PeError."""
    if path.suffix == ".dll":
        foreign = sorted(name for name in read_needed(path) if not system_has(name) and not name.startswith("ggml"))
        return Gpu(OLDEST_WINDOWS, tuple(foreign), lacks)
    needs = read_needs(path)
    foreign = sorted(name for name in needs.libraries if name not in SYSTEM and not name.startswith("libggml"))
    glibc = max(needs.glibc, OLDEST_GLIBC)
    return Gpu("glibc " + ".".join(map(str, glibc)), tuple(foreign), lacks)


def _make(folder: Path, tree: NativeTree, target: Target, kit: Kit) -> None:
    tests = inputs.llama_source() / "vendor/llama.cpp/ggml/src/ggml-vulkan/vulkan-shaders/feature-tests"
    lacks = kit.lacks(tests)
    made = tree.make(["ggml-vulkan"]) / gpu_file("vulkan", target.name)
    if gpu_key(target, folder_digests(tree.sources), kit) != folder.name:
        raise BuildError("The sources in runtime/native were changed during the build: run it again.")
    with made_at(folder) as temporary:
        shutil.copy2(made, temporary / made.name)
        facts = {
            "name": "vulkan",
            "file": made.name,
            "size": made.stat().st_size,
            "sha256": file_sha256(made),
            "kit": kit.origin,
            "facts": dataclasses.asdict(needs_of(made, lacks)),
        }
        (temporary / "gpu.json").write_text(json.dumps(facts, indent=1) + "\n")
    keep_newest(folder.parent)


def _is_whole(folder: Path) -> bool:
    try:
        known = json.loads((folder / "gpu.json").read_text())
        return bool((folder / known["file"]).stat().st_size == int(known["size"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read(folder: Path, kit: Kit) -> GpuLibrary:
    known = json.loads((folder / "gpu.json").read_text())
    facts = known["facts"]
    gpu = Gpu(facts["requires"], tuple(facts["needs"]), tuple(facts["lacks"]))
    return GpuLibrary(known["name"], folder / known["file"], known["sha256"], gpu, kit.terms)


def _say_waiting() -> None:
    Progress("Vulkan backend", None).note("Waiting for another build of the Vulkan backend to end.")
