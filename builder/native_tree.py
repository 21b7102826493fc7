"""The CMake build tree of the native libraries: kept between builds, so that only what has changed is compiled.

<build cache>/trees/<target>-<sdist>-zig-<version>[-<gpu>-<kit>]/
    zig -> the pinned compiler      src/ = runtime/native      build/      build.log  configure.log
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from solofile.builder import inputs
from solofile.builder.errors import BuildError
from solofile.builder.interrupts import kept
from solofile.builder.paths import build_cache, cache_folder
from solofile.builder.progress import byte_size
from solofile.builder.targets import Target
from solofile.builder.tools import ProgressMaker, machine_jobs, run_logged

LABEL = "native libraries"
FLAGS = ("-DCMAKE_BUILD_TYPE=Release",)
OWN_FOLDERS = {"macos-aarch64": "macos", "macos-x86_64": "macos", "windows-aarch64": "windows-arm"}
"""Folders of the sources that are for these targets alone: the libraries of others stay as they are when one changes.
``project.cmake`` in them is included by project()."""
GPU_ALONE = frozenset({"vulkan-windows"})
"""Folders of runtime/native that go into GPU backends and nothing else."""
FREE_BYTES = 2_000_000_000
"""What the compiler, the sources and a build tree take, with all kernels."""

COMPILER_VARIABLES = frozenset(
    {"CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"}
    | {"LIBRARY_PATH", "SOURCE_DATE_EPOCH", "DESTDIR", "MAKEFLAGS", "NINJAFLAGS"}
)
"""What the user's environment says to a compiler is not for these builds: it is in no key. Nor is CMAKE_*, ZIG_*."""


def own_sources() -> Path:
    """The folder runtime/native."""
    return Path(str(files("solofile.runtime"))) / "native"


class NativeTree:
    """The build tree of one target, or of one GPU backend for it (see gpu.py). Hold ``lock`` while it is used."""

    def __init__(
        self,
        target: Target,
        progress: ProgressMaker,
        *,
        suffix: str = "",
        label: str = LABEL,
        options: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        zig_version = inputs.pins("tools")["ziglang"].version
        name = f"{target.name}-{inputs.LLAMA.project}-{inputs.LLAMA.version}-zig-{zig_version}{suffix}"
        self.folder = build_cache() / "trees" / name
        self.lock = self.folder.with_name(f"{name}.lock")
        self._target = target
        self._progress = progress
        self._label = label
        self._options = options
        self._configured = self.folder / "configured.txt"

    def make(self, cmake_targets: list[str]) -> Path:
        """Build CMake targets; returns the folder of what they made. Raises ToolError, BuildError."""
        _check_space()
        self.folder.mkdir(parents=True, exist_ok=True)
        _point(self.folder / "zig", inputs.zig())
        mirror(own_sources(), self.sources)
        self._configure()
        command: list[str | Path] = [inputs.ninja(), "-C", self._build, "-j", str(machine_jobs()), *cmake_targets]
        with kept("what is compiled so far is kept, and the next run goes on there"):
            self._run(command, self._label, "build.log", "steps")
        return self._build / "bin"

    @property
    def sources(self) -> Path:
        """The copy of runtime/native that is built."""
        return self.folder / "src"

    @property
    def _build(self) -> Path:
        return self.folder / "build"

    def _configure(self) -> None:
        sources, toolchain, options = self.sources, self.sources / "toolchain.cmake", dict(self._options)
        if self._target.name in OWN_FOLDERS:
            own = sources / OWN_FOLDERS[self._target.name]
            options["CMAKE_PROJECT_solofile_native_INCLUDE"] = own / "project.cmake"
            if (own / toolchain.name).is_file():
                toolchain = own / toolchain.name
        command: list[str | Path] = [
            inputs.cmake(),
            *("-G", "Ninja", "-S", sources, "-B", self._build),
            *FLAGS,
            f"-DCMAKE_TOOLCHAIN_FILE={toolchain}",
            f"-DCMAKE_MAKE_PROGRAM={inputs.ninja()}",
            f"-DSOLOFILE_ZIG={self.folder / 'zig'}",
            f"-DSOLOFILE_ZIG_TARGET={self._target.triple}",
            f"-DSOLOFILE_SYSTEM_NAME={self._target.system_name}",
            f"-DSOLOFILE_SYSTEM_PROCESSOR={self._target.processor}",
            f"-DLLAMA_CPP_DIR={inputs.llama_source() / 'vendor' / 'llama.cpp'}",
            f"-DSOLOFILE_LLAMA_COMMIT={inputs.LLAMA_CPP_COMMIT[:7]}",
            *(f"-D{name}={value}" for name, value in options.items()),
        ]
        text = "\n".join(map(str, command))
        configured = (self._build / "build.ninja").is_file() and self._configured.is_file()
        if configured and self._configured.read_text() == text:
            return  # ninja runs cmake itself when CMakeLists.txt has changed
        self._run(command, "preparing the compiler", "configure.log", "s")
        self._configured.write_text(text)

    def _run(self, command: list[str | Path], label: str, log: str, unit: str) -> None:
        zig_cache = str(cache_folder("zig"))
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in COMPILER_VARIABLES and not name.startswith(("CMAKE_", "ZIG_"))
        }
        environment |= {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
        environment["NINJA_STATUS"] = "[%f/%t] "
        path = self.folder / log
        path.write_text("")
        run_logged(command, label=label, log=path, progress=self._progress, environment=environment, unit=unit)


def mirror(source: Path, target: Path) -> None:
    """Make ``target`` hold the files of ``source``, leaving alone those that are the same: ninja goes by times."""
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for path in target.rglob("*"):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for relative in sorted(wanted):
        content, copy = (source / relative).read_bytes(), target / relative
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def _point(link: Path, to: Path) -> None:
    if not link.is_symlink() or link.readlink() != to:
        temporary = link.with_name(f".{link.name}.tmp")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(to)
        temporary.replace(link)


def _check_space() -> None:
    folder = cache_folder()
    free, needed = shutil.disk_usage(folder).free, FREE_BYTES
    if (folder / "sources").is_dir() and (folder / "zig").is_dir():
        needed //= 2  # not the first build: the sources and the compiler are there
    if free < needed:
        raise BuildError(
            f"The build cache {folder} has {byte_size(free)} free and a build takes {byte_size(needed)}: "
            "make room, or set SOLOFILE_BUILD_CACHE to a folder elsewhere."
        )
