"""The targets that a build can make, and the names of their CPU kernels and GPU backends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from solofile.runtime.errors import InputError, UnknownName
from solofile.runtime.hardware import detect
from solofile.runtime.hardware import target as host_target
from solofile.runtime.kernels import (
    ARM_LINUX,
    ARM_MACOS,
    ARM_WINDOWS,
    BASE,
    BASE_ARM_LINUX,
    BASE_ARM_MACOS,
    BASE_ARM_WINDOWS,
    X86,
    able,
)


@dataclass(frozen=True)
class Target:
    """A system that bundles run on. ``triple`` is zig's name for it, with the oldest glibc or macOS it may have."""

    name: str
    triple: str
    system_name: str
    processor: str
    kernels: tuple[str, ...]
    base: str
    """The kernel that runs on each of its CPUs."""
    gpus: tuple[str, ...]
    """The GPU backends that can be built for it."""


_ARM_LINUX = tuple(name for name in ARM_LINUX if name != "armv9.2_1")
"""Without the one that has SME and lacks SVE2: LLVM takes the one to imply the other, and no such CPU runs Linux."""

_ARM_WINDOWS = tuple(ARM_WINDOWS)

TARGETS = {
    target.name: target
    for target in (
        Target("linux-x86_64", "x86_64-linux-gnu.2.17", "Linux", "x86_64", tuple(X86), BASE, ("vulkan",)),
        Target("linux-aarch64", "aarch64-linux-gnu.2.17", "Linux", "aarch64", _ARM_LINUX, BASE_ARM_LINUX, ()),
        Target("macos-aarch64", "aarch64-macos.11.0", "Darwin", "arm64", tuple(ARM_MACOS), BASE_ARM_MACOS, ()),
        Target("macos-x86_64", "x86_64-macos.11.0", "Darwin", "x86_64", tuple(X86), BASE, ()),
        Target("windows-aarch64", "aarch64-windows-gnu", "Windows", "aarch64", _ARM_WINDOWS, BASE_ARM_WINDOWS, ()),
        Target("windows-x86_64", "x86_64-windows-gnu", "Windows", "x86_64", tuple(X86), BASE, ("vulkan",)),
    )
}


def find_target(name: str | None = None) -> Target:
    """The target of that name, by default the one of this machine. Raises UnknownName."""
    wanted = host_target() if name is None else name
    if wanted not in TARGETS:
        raise UnknownName("target", wanted, TARGETS)
    return TARGETS[wanted]


def find_kernels(target: Target, wanted: str) -> tuple[str, ...]:
    """The kernels that ``wanted`` means, sorted: ``all``, ``host``, or a list with commas. Raises UnknownName.

    ``host`` is the one that runs best on this machine, and the base one, so that the bundle still runs elsewhere.
    """
    if wanted == "all":
        return tuple(sorted(target.kernels))
    if wanted == "host":
        if target.name != host_target():
            raise InputError(
                f"The kernels of host are those of this machine, which is {host_target()} and not {target.name}: name "
                "them, or take all."
            )
        return host_kernels(target, detect().features)
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    for name in sorted(names):
        if name not in target.kernels:
            raise UnknownName("kernel", name, (*target.kernels, "all", "host"))
    return tuple(sorted(names | {target.base}))


def find_gpus(target: Target, wanted: str) -> tuple[str, ...]:
    """The GPU backends that ``wanted`` means, sorted: ``none``, or a list with commas. Raises UnknownName."""
    names = {name.strip() for name in wanted.split(",") if name.strip()} - {"none"}
    for name in sorted(names):
        if name not in target.gpus:
            raise UnknownName("GPU backend", name, (*target.gpus, "none"))
    return tuple(sorted(names))


def host_kernels(target: Target, features: Iterable[str]) -> tuple[str, ...]:
    """The base kernel and the fastest one for a CPU with these features."""
    return tuple(sorted({target.base, *able(target.kernels, frozenset(features))[:1]}))
