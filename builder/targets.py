"""The targets that a build can make, and the names of their CPU kernels and GPU backends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from solofile.builder.errors import BadInput, BadOutput
from solofile.builder.progress import byte_size
from solofile.runtime.errors import UnknownName
from solofile.runtime.hardware import detect
from solofile.runtime.hardware import target as host_target
from solofile.runtime.kernels import BASE, X86, able


@dataclass(frozen=True)
class Target:
    """A system that bundles run on. ``triple`` is zig's name for it, with the oldest glibc that it may have."""

    name: str
    triple: str
    system_name: str
    processor: str
    kernels: tuple[str, ...]
    gpus: tuple[str, ...]
    """The GPU backends that can be built for it."""


TARGETS = {
    "linux-x86_64": Target("linux-x86_64", "x86_64-linux-gnu.2.17", "Linux", "x86_64", tuple(X86), ("vulkan",)),
}

NAMES = ("linux-aarch64", "linux-x86_64", "macos-aarch64", "macos-x86_64", "windows-aarch64", "windows-x86_64")
"""The systems that bundles are meant for: a recipe may name them before there is a pack for each."""


def missing_packs(names: Iterable[str]) -> list[str]:
    """Those of the targets of which no pack can be made yet. Raises UnknownName for what is no target."""
    for name in (found := list(names)):
        if name not in {*NAMES, *TARGETS}:
            raise UnknownName("target", name, sorted({*NAMES, *TARGETS}))
    return [name for name in found if name not in TARGETS]


LARGEST = {"windows": (4 << 30) - 1}
"""Bytes of a program that a system starts, where there is a limit."""


def check_size(target: str, size: int) -> None:
    """Refuse a bundle that its target would not start. Raises BadOutput."""
    limit = LARGEST.get(target.partition("-")[0])
    if limit is not None and size > limit:
        raise BadOutput(
            f"A bundle for {target} may have {byte_size(limit)}, and this one would have {byte_size(size)}: take a "
            "smaller quantization, such as --quantize Q4_K_M."
        )


def find_target(name: str | None = None) -> Target:
    """The target of that name, by default the one of this machine. Raises UnknownName, BadInput."""
    wanted = host_target() if name is None else name
    if name is not None and missing_packs([name]):
        raise BadInput(f"There is no pack for {name} yet: this solofile makes bundles for {', '.join(TARGETS)}.")
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
        return host_kernels(target, detect().features)
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    for name in sorted(names):
        if name not in target.kernels:
            raise UnknownName("kernel", name, (*target.kernels, "all", "host"))
    return tuple(sorted(names | {BASE}))


def find_gpus(target: Target, wanted: str) -> tuple[str, ...]:
    """The GPU backends that ``wanted`` means, sorted: ``none``, or a list with commas. Raises UnknownName."""
    names = {name.strip() for name in wanted.split(",") if name.strip()} - {"none"}
    for name in sorted(names):
        if name not in target.gpus:
            raise UnknownName("GPU backend", name, (*target.gpus, "none"))
    return tuple(sorted(names))


def host_kernels(target: Target, features: Iterable[str]) -> tuple[str, ...]:
    """The base kernel and the fastest one for a CPU with these features."""
    return tuple(sorted({BASE, *able(target.kernels, frozenset(features))[:1]}))
