"""The targets that a build can make, and the names of their CPU kernels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from solofile.runtime.errors import UnknownName
from solofile.runtime.hardware import detect
from solofile.runtime.hardware import target as host_target
from solofile.runtime.kernels import BASE, VARIANTS, choose_variant


@dataclass(frozen=True)
class Target:
    """A system that bundles run on. ``triple`` is zig's name for it, with the oldest glibc that it may have."""

    name: str
    triple: str
    system_name: str
    processor: str
    kernels: tuple[str, ...]


TARGETS = {
    "linux-x86_64": Target("linux-x86_64", "x86_64-linux-gnu.2.17", "Linux", "x86_64", tuple(VARIANTS)),
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
        return host_kernels(target, detect().features)
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    for name in sorted(names):
        if name not in target.kernels:
            raise UnknownName("kernel", name, (*target.kernels, "all", "host"))
    return tuple(sorted(names | {BASE}))


def host_kernels(target: Target, features: Iterable[str]) -> tuple[str, ...]:
    """The base kernel and the fastest one for a CPU with these features."""
    return tuple(sorted({BASE, choose_variant(frozenset(features), target.kernels).variant}))
