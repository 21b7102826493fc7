"""From a bundle and a decision what to do, to an engine that loads: the way that every start goes, kept short.

The launcher tells where things are: ``SOLOFILE_BUNDLE`` the bundle, ``SOLOFILE_CACHE_DIR`` the cache. On the second
start after a crash it sets ``SOLOFILE_CRASH``. Run from a source tree, ``SOLOFILE_NATIVE_DIR`` names the native
libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from solofile.runtime import cache, hardware, kernels, settings
from solofile.runtime.container import Bundle
from solofile.runtime.errors import InputError
from solofile.runtime.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernels import Choice
    from solofile.runtime.settings import Launch

Say = Callable[[str], None]


class Started(NamedTuple):
    """An engine that loads, and how it was chosen. ``lock`` keeps the kernel library from being removed."""

    engine: Engine
    choice: Choice
    threads: int
    lock: Lock | None = None

    @property
    def sentence(self) -> str:
        """What computes, and why."""
        plural = "" if self.threads == 1 else "s"
        return f"Kernels: {self.choice.variant} on {self.threads} thread{plural} ({self.choice.reason})."


Starter = Callable[["Launch", Bundle, Mapping[str, str], Say], Started]


def bundle_path(environ: Mapping[str, str]) -> Path:
    """Where the bundle is. Raises InputError when no launcher says so."""
    if not environ.get("SOLOFILE_BUNDLE"):
        raise InputError("This is a part of a bundle and not meant to be started by itself: start the bundle.")
    return Path(environ["SOLOFILE_BUNDLE"])


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The cache that the launcher found usable. Raises InputError when no launcher says so."""
    if not environ.get("SOLOFILE_CACHE_DIR"):
        raise InputError("SOLOFILE_CACHE_DIR is not set: start the bundle, whose launcher sets it.")
    return Path(environ["SOLOFILE_CACHE_DIR"])


def native_folder(environ: Mapping[str, str]) -> Path:
    """Where libllama.so and its like are: beside the frozen program; the environment counts in a source tree alone."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).parent / "native"
    if not environ.get("SOLOFILE_NATIVE_DIR"):
        raise InputError("SOLOFILE_NATIVE_DIR is not set: name the folder of the native libraries with it.")
    return Path(environ["SOLOFILE_NATIVE_DIR"])


def available_kernels(bundle: Bundle, target: str) -> tuple[str, ...]:
    """The CPU variants that the bundle holds for this system. Raises InputError when it is for others only."""
    if target not in bundle.manifest.targets:
        there = ", ".join(bundle.manifest.targets)
        raise InputError(f"{bundle.path} is for {there} and not for {target}: get the one for this system.")
    return bundle.manifest.targets[target].kernels


def choose(launch: Launch, bundle: Bundle, machine: Hardware, environ: Mapping[str, str]) -> Choice:
    """The kernel variant for this start."""
    available = available_kernels(bundle, machine.target)
    return kernels.choose_variant(
        machine.features, available, forced=launch.kernel, crash=environ.get("SOLOFILE_CRASH") or None
    )


def start(launch: Launch, bundle: Bundle, environ: Mapping[str, str], say: Say) -> Started:
    """Choose and unpack the kernels and start loading the model; returns while it loads."""
    machine = hardware.detect()
    choice = choose(launch, bundle, machine, environ)
    library, lock = kernel_library(bundle, machine.target, choice.variant, cache_folder(environ), say)
    from solofile.runtime.engine import LlamaEngine, Member

    model = bundle.part(launch.model)
    member = Member(model.path, Path(bundle.path), bundle.data_offset(model), model.size)
    arguments = (
        "--model",
        model.path,
        *settings.core_arguments(launch, bundle.manifest, machine.threads, machine.memory),
    )
    engine = LlamaEngine.start(native_folder(environ), library, arguments, [member], launch.log_level)
    return Started(engine, choice, machine.threads, lock)


def kernel_library(bundle: Bundle, target: str, variant: str, folder: Path, say: Say) -> tuple[Path, Lock | None]:
    """The library of a variant, in the cache."""
    name = f"libggml-cpu-{variant}.so"
    part = bundle.part(f"native/{target}/{name}")
    wanted = cache.Wanted(name, part.sha256, part.size)
    return cache.ensure_library(folder, wanted, lambda: bundle.open_part(part), say)


def in_use(bundle: Bundle, target: str, variant: str) -> frozenset[str]:
    """The names of the folders in the cache that this start runs from."""
    part = bundle.part(f"native/{target}/libggml-cpu-{variant}.so")
    return frozenset({bundle.manifest.targets[target].pack, part.sha256})
