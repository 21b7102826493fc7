"""Builds the native libraries of a target from the pinned sources, into a cache keyed by all that goes in.

    <build cache>/native/<key>/
        lib/            libggml-base.so  libggml.so  libllama.so  libggml-rpc.so  libggml-cpu-<kernel>.so …
                        libggml-<gpu>.so …
                        (ggml-base.dll and so on for Windows)
        reference/      llama-server and llama-quantize, unchanged, with what they load: for tests and benchmarks
        native.json     what is there, with sizes, times and SHA-256, and what the GPU backends' compilers lacked

The kernels are no part of the key: those asked for later are added to the entry. So are GPU backends (gpu.py builds
them), and what goes into those besides the sources stands in their own keys.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from solofile.builder import inputs
from solofile.builder.errors import BuildError
from solofile.builder.gpu import GpuLibrary, build_vulkan
from solofile.builder.hashing import file_sha256, folder_digests
from solofile.builder.native_tree import FLAGS, GPU_ALONE, LABEL, OWN_FOLDERS, NativeTree, own_sources
from solofile.builder.paths import build_cache, keep_newest, locked, mark_used
from solofile.builder.progress import Progress
from solofile.builder.targets import Target, find_gpus, find_kernels, find_target
from solofile.builder.tools import ProgressMaker
from solofile.runtime.library_names import library_file, library_name

CORE = {"ggml-base": "ggml-base", "ggml": "ggml", "solofile": "llama"}
"""CMake's targets for what every bundle needs, and the libraries that they make."""

RPC = "ggml-rpc"
"""The library with which several machines run one model: in every bundle, loaded where it is asked for."""

_GPU_BUILDERS = {"vulkan": build_vulkan}

REFERENCE = "llama-server"
REFERENCE_PROGRAMS = (REFERENCE, "llama-quantize")


@dataclass(frozen=True)
class Native:
    """Finished libraries. ``kernels`` are those asked for; the folder may hold more."""

    key: str
    target: str
    kernels: tuple[str, ...]
    folder: Path
    """Holds the libraries."""
    reference: Path | None
    """llama-server, if asked for."""
    gpus: tuple[GpuLibrary, ...] = ()
    """Those asked for; each lies in the folder too."""

    @property
    def core(self) -> list[Path]:
        """The libraries that every bundle needs."""
        return [self.folder / name for name in core_files(self.target)]

    @property
    def rpc(self) -> Path:
        """The library for several machines."""
        return self.folder / library_file(RPC, self.target)

    def kernel(self, name: str) -> Path:
        """The library of one kernel."""
        return self.folder / kernel_file(name, self.target)


def core_files(target: str) -> list[str]:
    """The file names of the libraries that every bundle needs, sorted."""
    return sorted(library_file(name, target) for name in CORE.values())


def kernel_file(name: str, target: str) -> str:
    """The file name of a kernel's library."""
    return library_file(f"ggml-cpu-{name}", target)


def build(
    target: str | None = None,
    *,
    kernels: str = "all",
    gpus: str = "none",
    reference: bool = False,
    progress: ProgressMaker = Progress,
) -> Native:
    """Build what is missing of a target's libraries and return them; at once if nothing is.

    ``kernels`` is ``all``, ``host`` or names with commas, ``gpus`` is ``none`` or names with commas. Raises
    UnknownName, MissingTool, ToolError, BuildError.
    """
    wanted = find_target(target)
    names = find_kernels(wanted, kernels)
    backends = tuple(_GPU_BUILDERS[name](wanted, progress) for name in find_gpus(wanted, gpus))
    entry = _Entry(wanted)
    result = entry.result(names, reference)
    if entry.missing(names, reference):
        tree = NativeTree(wanted, progress)
        with locked(tree.lock, waiting=_say_waiting):
            missing = entry.missing(names, reference)
            if missing:
                made = tree.make(sorted({_cmake_target(file) for file in missing}))
                if native_key(wanted) != entry.key:
                    raise BuildError("The sources in runtime/native were changed during the build: run it again.")
                entry.install(made, missing)
                keep_newest(entry.folder.parent)
    if not entry.has(backends):
        with locked(NativeTree(wanted, progress).lock, waiting=_say_waiting):
            entry.add(backends)
    mark_used(entry.folder)
    return replace(result, gpus=backends)


def built_kernels(target: str | None = None) -> tuple[str, ...]:
    """The kernels of a target that are built from the present sources; none if the other libraries are not there."""
    wanted = find_target(target)
    entry = _Entry(wanted)
    return tuple(name for name in sorted(wanted.kernels) if not entry.missing((name,), reference=False))


def libraries_folder(target: str | None = None) -> Path | None:
    """Where the libraries of a target are, if those that every bundle needs are built from the present sources."""
    entry = _Entry(find_target(target))
    return None if entry.missing((), reference=False) else entry.folder / "lib"


def native_key(target: Target) -> str:
    """The hash of everything that goes into a target's libraries, as 16 hex digits."""
    pins = inputs.pins("tools")
    facts = {
        "sdist": inputs.LLAMA.sha256,
        "tools": {name: pin.version for name, pin in pins.items()},
        "target": [target.triple, target.system_name, target.processor],
        "flags": FLAGS,
        "sources": _sources(target),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _sources(target: Target) -> dict[str, str]:
    others = (set(OWN_FOLDERS.values()) | GPU_ALONE) - {OWN_FOLDERS.get(target.name)}
    digests = folder_digests(own_sources())
    return {path: sha256 for path, sha256 in digests.items() if path.partition("/")[0] not in others}


class _Entry:
    """The cache entry of one key."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.key = native_key(target)
        self.folder = build_cache() / "native" / self.key
        self._index = self.folder / "native.json"

    def result(self, kernels: tuple[str, ...], reference: bool) -> Native:
        server = self.folder / "reference" / REFERENCE if reference else None
        return Native(self.key, self.target.name, kernels, self.folder / "lib", server)

    def missing(self, kernels: Iterable[str], reference: bool) -> list[str]:
        """The files, relative to the entry, that are not there as they were installed."""
        files = [kernel_file(name, self.target.name) for name in kernels]
        wanted = [f"lib/{name}" for name in (*core_files(self.target.name), *files)]
        if reference:
            wanted += [f"reference/{name}" for name in (*REFERENCE_PROGRAMS, *(path[4:] for path in wanted))]
        wanted.append(f"lib/{library_file(RPC, self.target.name)}")
        known = self._read()
        return [path for path in wanted if not self._intact(path, known.get(path))]

    def install(self, source: Path, paths: Iterable[str]) -> None:
        """Copy freshly built files into the entry and take them into the index."""
        known = self._read()
        for path in paths:
            known[path] = self._copy(source / Path(path).name, path)
        self._write(known, self._read("gpus"))

    def has(self, gpus: Iterable[GpuLibrary]) -> bool:
        """Whether these very GPU backends are in the entry."""
        known = self._read()
        facts = [(f"lib/{gpu.path.name}", gpu.sha256) for gpu in gpus]
        return all(self._intact(path, known.get(path)) and known[path]["sha256"] == sha256 for path, sha256 in facts)

    def add(self, gpus: Iterable[GpuLibrary]) -> None:
        """Take GPU backends into the entry."""
        known, facts = self._read(), self._read("gpus")
        for gpu in gpus:
            path = f"lib/{gpu.path.name}"
            known[path] = self._copy(gpu.path, path)
            facts[gpu.name] = asdict(gpu.facts)
        self._write(known, facts)

    def _copy(self, made: Path, path: str) -> dict[str, Any]:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.tmp")
        shutil.copy2(made, temporary)
        temporary.replace(file)
        return self._facts(file, file_sha256(file))

    def _write(self, known: dict[str, dict[str, Any]], gpus: dict[str, dict[str, Any]]) -> None:
        facts = {"target": self.target.name, "llama_cpp": inputs.llama_cpp_facts(), "files": known, "gpus": gpus}
        temporary = self._index.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
        temporary.replace(self._index)

    def _read(self, part: str = "files") -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._index.read_text())[part]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}
        return found

    def _intact(self, path: str, facts: Mapping[str, Any] | None) -> bool:
        file = self.folder / path
        if not facts or not file.is_file():
            return False
        # Hashing everything at each call would take longer than a call may; the time of the last change says enough.
        return self._facts(file, facts["sha256"]) == facts or file_sha256(file) == facts["sha256"]

    @staticmethod
    def _facts(file: Path, sha256: str) -> dict[str, Any]:
        stat = file.stat()
        return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256}


def _cmake_target(path: str) -> str:
    name = library_name(Path(path).name)
    return {library: target for target, library in CORE.items()}.get(name, name)


def _say_waiting() -> None:
    Progress(LABEL, None).note("Waiting for another build of the native libraries to end.")
