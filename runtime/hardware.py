"""What this machine has and what this process may use of it, as far as choosing how to compute needs it.

``detect`` reads the system, each kind in a module of its own; everything else here is a pure function of what it read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "linux", "win32": "windows", "darwin": "macos"}


class Cache(NamedTuple):
    """The caches of one level, kind (``data``, ``instruction``, ``unified``) and size in bytes, and how many."""

    level: int
    kind: str
    size: int
    instances: int


class NumaNode(NamedTuple):
    """Memory and the CPUs near to it: its bytes in all, and those that can be had (0: not said)."""

    number: int
    cpus: frozenset[int]
    memory_total: int = 0
    memory_free: int = 0


class Gpu(NamedTuple):
    """A GPU as the system lists it, before any of its libraries is loaded.

    ``kind`` is ``discrete``, ``integrated`` or empty when that is not known; ``node`` where it is, such as
    ``0000:01:00.0``. An empty ``driver`` means that no driver has taken it.
    """

    name: str
    vendor: str = ""
    driver: str = ""
    driver_version: str = ""
    kind: str = ""
    node: str = ""


class Hardware(NamedTuple):
    """This machine.

    ``features`` are the names that Linux gives CPU features (``avx2``, ``asimddp``, …), already without those that
    the system does not support. ``cores`` counts the physical cores, ``logical`` the CPUs that run programs: with
    hardware threads there are more. Where all cores are of one kind, they are the ``performance_cores``.

    ``allowed`` counts the CPUs that this process may run on, ``allowed_cores`` the physical cores behind them (of the
    fast kind, if any of those is allowed), ``quota`` is a container's limit in CPUs, None without one.

    ``memory`` are the bytes that can be had without swapping, below the limits of containers too, of which the smallest
    is ``memory_limit``; None where the system does not say or nothing limits.
    """

    target: str
    cpu: str = ""
    vendor: str = ""
    features: frozenset[str] = frozenset()
    sockets: int = 1
    cores: int = 1
    logical: int = 1
    performance_cores: int = 1
    efficiency_cores: int = 0
    caches: tuple[Cache, ...] = ()
    numa: tuple[NumaNode, ...] = ()
    allowed: int = 1
    allowed_cores: int = 1
    quota: float | None = None
    memory_total: int | None = None
    memory: int | None = None
    memory_limit: int | None = None
    swap_free: int | None = None
    gpus: tuple[Gpu, ...] = ()

    @property
    def threads(self) -> int:
        """Threads that compute, as a rule of thumb: more than there are cores to run them make each other wait.

        Of a quota of 1.5 CPUs one is used. Two threads would spend it before its period ends, and be stopped at
        different moments; since each waits at a barrier for the other, much of the quota would go into waiting.
        """
        limit = self.allowed if self.quota is None else min(self.allowed, int(self.quota))
        return max(1, min(self.allowed_cores, limit))


def detect(root: str = "/", cpu: Callable[[], str] | None = None) -> Hardware:
    """Read this machine.

    ``cpu`` gives what the CPU says of itself (``sf_cpu`` of the bridge, JSON); without it the system's word is taken.
    ``root`` stands for ``/`` so that tests can show another one's ``proc`` and ``sys``.
    """
    if sys.platform == "win32":
        from solofile.runtime.hardware_windows import detect as read
    elif sys.platform == "darwin":
        from solofile.runtime.hardware_macos import detect as read
    else:
        from solofile.runtime.hardware_linux import detect as read
    return read(root, cpu)


def target() -> str:
    """The name of the system that this program was made for, such as ``linux-x86_64``."""
    name = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    machine = name.lower()
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def identity(machine: Hardware, root: str = "/") -> str:
    """Sixteen hexadecimal digits for what may change how fast or how well computing works here.

    What was measured or found out on another machine, with other drivers or in a smaller container does not count here.
    Of Vulkan the files are looked at, none is loaded.
    """
    from solofile.runtime.cpuid import NAMES
    from solofile.runtime.vulkan_files import stamps

    # What CPUID tells and what Linux lists differ in names that nothing depends on.
    features = machine.features & NAMES if machine.target.endswith("x86_64") else machine.features
    cpu = (machine.target, machine.cpu.split(), machine.vendor, sorted(features), machine.sockets, machine.quota)
    counts = (machine.cores, machine.performance_cores, machine.logical, machine.allowed, machine.allowed_cores)
    facts = repr((cpu, counts, tuple(map(tuple, machine.gpus)), stamps(root)))
    # A fingerprint, not a secret: the remainder by the largest prime of 64 bits (hashlib would load OpenSSL).
    return f"{int.from_bytes(facts.encode('utf-8', 'replace'), 'big') % (2**64 - 59):016x}"


_HIGHLIGHTS = {
    "amx_int8": "AMX", "avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse4_2": "SSE4.2", "sme": "SME",
    "sve2": "SVE2", "sve": "SVE", "i8mm": "I8MM", "asimddp": "dot products", "asimd": "NEON",
}  # fmt: skip
"""What people know of a CPU's features, the best first."""

_NOISE = ("(R)", "(r)", "(TM)", "(tm)", " CPU", " Processor")


def describe(machine: Hardware) -> str:
    """One line for people: ``AMD EPYC, 2 cores, AVX2; 23.5 GB of memory, 21.0 GB free; no GPU``.

    Memory is sold and counted in GB of 2**30 bytes.
    """
    parts = (_describe_cpu(machine), _describe_memory(machine))
    gpus = " and ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    return "; ".join((*(part for part in parts if part), gpus))


def _describe_cpu(machine: Hardware) -> str:
    cores = f"{machine.cores} core{'' if machine.cores == 1 else 's'}"
    if machine.efficiency_cores:
        cores = f"{machine.performance_cores} performance and {machine.efficiency_cores} efficiency cores"
    words = [short_name(machine.cpu) or machine.vendor or machine.target, cores]
    words += [text for feature, text in _HIGHLIGHTS.items() if feature in machine.features][:1]
    if machine.sockets > 1:
        words[0] = f"{machine.sockets} x {words[0]}"
    if machine.allowed < machine.logical:
        words.append(f"{machine.allowed} of {machine.logical} CPUs allowed")
    if machine.quota is not None and machine.quota < machine.allowed:
        words.append(f"limited to {machine.quota:.3g} CPU{'' if machine.quota == 1 else 's'}")
    return ", ".join(words)


def _describe_memory(machine: Hardware) -> str:
    amounts = (
        (machine.memory_total, "of memory"),
        (machine.memory_limit, "allowed"),
        (machine.memory, "free"),
    )
    return ", ".join(f"{amount / (1 << 30):.1f} GB {what}" for amount, what in amounts if amount is not None)


def short_name(cpu: str) -> str:
    """``Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz`` as people say it."""
    for noise in _NOISE:
        cpu = cpu.replace(noise, "")
    name, _, _ = cpu.partition(" @ ")
    words = name.partition(" with ")[0].split()
    return " ".join(word for word in words if not word.endswith("-Core"))
