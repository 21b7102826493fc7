"""Linux: which CPUs make a core, which are fast, what they share; from the lists that ``/sys`` has.

Each group of CPUs is read once, from its first member: a machine of 256 CPUs would else take thousands of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from solofile.runtime.hardware import Cache, NumaNode
from solofile.runtime.system_files import (
    Cpus,
    parse_cpu_list,
    parse_fields,
    parse_kilobytes,
    read,
    read_cpu_list,
    read_number,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.arm import Part

_SYSTEM = "sys/devices/system"
_RECLAIMABLE = ("Active(file)", "Inactive(file)", "SReclaimable")
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Topology(NamedTuple):
    """The CPUs that run, in cores; those of the fast kind (all, where there is one kind); sockets; caches."""

    cpus: Cpus
    cores: tuple[Cpus, ...]
    fast: Cpus
    sockets: int
    caches: tuple[Cache, ...]

    @property
    def performance_cores(self) -> int:
        """Cores of the fast kind."""
        return cores_of(self.fast, self.cores)

    def allowed_cores(self, allowed: Cpus) -> int:
        """Cores behind the ``allowed`` CPUs, as far as they are fast; the slow ones when no other is allowed."""
        return cores_of(allowed & self.fast or allowed, self.cores)


def cores_of(cpus: Cpus, cores: Iterable[Cpus]) -> int:
    """How many of the ``cores`` these CPUs are on."""
    return sum(1 for core in cores if core & cpus)


def read_topology(root: str, known: Cpus, parts: Mapping[int, Part]) -> Topology:
    """Read how the CPUs belong together. ``known`` are CPUs for a system that does not list them; ``parts`` their
    designs, on ARM."""
    cpus = read_cpu_list(root, f"{_SYSTEM}/cpu/online") or known
    cores = read_cores(root, cpus)
    fast = fast_cpus(root, cpus, parts)
    # Some kernels call each cluster of a phone's processor a package. Nobody builds two sockets of mixed cores.
    sockets = len(_groups(root, cpus, _siblings("core"))) if fast == cpus else 1
    return Topology(cpus, cores, fast, max(1, sockets), read_caches(root, fast, cpus - fast))


def read_cores(root: str, cpus: Cpus) -> tuple[Cpus, ...]:
    """The cores, each with its hardware threads; each CPU is one where the system does not say."""
    single = read(root, f"{_SYSTEM}/cpu/smt/active").strip() == "0"
    cores = () if single else _groups(root, cpus, _siblings("thread"))
    return cores or tuple(frozenset({cpu}) for cpu in sorted(cpus))


def _siblings(kind: str) -> str:
    return f"topology/{kind}_siblings_list"


def _groups(root: str, cpus: Cpus, name: str) -> tuple[Cpus, ...]:
    """The groups in which the file ``name`` of each CPU puts it; nothing where there is no such file."""
    groups: list[Cpus] = []
    seen: set[int] = set()
    for cpu in sorted(cpus):
        if cpu not in seen:
            group = read_cpu_list(root, f"{_SYSTEM}/cpu/cpu{cpu}/{name}")
            if not group:
                return ()
            groups.append(group)
            seen |= group
    return tuple(groups)


def fast_cpus(root: str, cpus: Cpus, parts: Mapping[int, Part]) -> Cpus:
    """The CPUs of the fast kind; all of them where there is one kind or nothing is known.

    Intel's hybrids name theirs. On ARM the first of these tells them apart that does: what the kernel says each can do
    (1024 for the best), their designs, their clocks.
    """
    fast = read_cpu_list(root, "sys/devices/cpu_core/cpus") & cpus
    if fast or len(set(parts.values())) < 2:
        return fast or cpus
    first = {part: cpu for cpu, part in sorted(parts.items(), reverse=True)}
    capacity = {part: read_number(root, f"{_SYSTEM}/cpu/cpu{cpu}/cpu_capacity") for part, cpu in first.items()}
    clock = {part: read_number(root, f"{_SYSTEM}/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq") for part, cpu in first.items()}
    good = _best(capacity, 0.5) or _others(first, lambda part: part.slow) or _best(clock, 0.75) or frozenset(first)
    # A CPU that /proc/cpuinfo leaves out is taken for a fast one.
    return frozenset(cpu for cpu in cpus if cpu not in parts or parts[cpu] in good)


def _best(amounts: Mapping[Part, int | None], share: float) -> frozenset[Part]:
    """Those that reach this share of the best; nothing if any is unknown or all are much the same."""
    known = {part: amount for part, amount in amounts.items() if amount}
    if len(known) < len(amounts):
        return frozenset()
    return _others(known, lambda part: known[part] < share * max(known.values()))


def _others(parts: Iterable[Part], slow: Callable[[Part], bool]) -> frozenset[Part]:
    """The parts that are not slow, if some are."""
    every = frozenset(parts)
    fast = frozenset(part for part in every if not slow(part))
    return fast if fast < every else frozenset()


def read_caches(root: str, fast: Cpus, slow: Cpus) -> tuple[Cache, ...]:
    """The caches of the fast CPUs and of the slow ones, the nearest first."""
    counts: dict[tuple[int, str, int], int] = {}
    seen: set[tuple[int, str, Cpus]] = set()
    for kind in (fast, slow):
        for index in range(8 if kind else 0):
            for found, shared in _instances(root, kind, index):
                if (*found[:2], shared) not in seen:
                    seen.add((*found[:2], shared))
                    # The nearer ones are as many as their kind has room for; of the last ones each was looked at.
                    alike = 1 if found[0] > 2 else -(-len(kind) // max(1, len(shared & kind)))
                    counts[found] = counts.get(found, 0) + alike
    return tuple(Cache(*found, count) for found, count in sorted(counts.items()))


def _instances(root: str, kind: Cpus, index: int) -> Sequence[tuple[tuple[int, str, int], Cpus]]:
    """The cache of that index of the first CPU, and from level 3 on those of the others too: their sizes may differ."""
    left = sorted(kind)
    found = []
    while left:
        folder = f"{_SYSTEM}/cpu/cpu{left[0]}/cache/index{index}"
        level = read_number(root, f"{folder}/level")
        if level is None:
            break
        shared = read_cpu_list(root, f"{folder}/shared_cpu_list") or frozenset(left)
        text = read(root, f"{folder}/type").strip().lower()
        found.append(((level, text, parse_size(read(root, f"{folder}/size"))), shared))
        left = [cpu for cpu in left if cpu not in shared] if level > 2 else []
    return found


def parse_size(text: str) -> int:
    """``512K`` as bytes; 0 when it is no such text."""
    text = text.strip()
    digits, unit = (text[:-1], text[-1:]) if text[-1:] in _SIZES else (text, "")
    return int(digits) * _SIZES.get(unit, 1) if digits.isdecimal() else 0


def read_numa(root: str) -> tuple[NumaNode, ...]:
    """The memory nodes and the CPUs that are near to each."""
    return tuple(_node(root, number) for number in sorted(read_cpu_list(root, f"{_SYSTEM}/node/online")))


def _node(root: str, number: int) -> NumaNode:
    folder = f"{_SYSTEM}/node/node{number}"
    # Each line begins "Node 0 ".
    fields = parse_fields(read(root, f"{folder}/meminfo").replace(f"Node {number} ", ""))
    total, *free = (parse_kilobytes(fields, key) or 0 for key in ("MemTotal", "MemFree", *_RECLAIMABLE))
    return NumaNode(number, parse_cpu_list(read(root, f"{folder}/cpulist")), total, sum(free))


def apart(nodes: Sequence[NumaNode]) -> tuple[NumaNode, ...]:
    """Nodes whose CPUs differ: where memory is put makes a difference to them.

    A Raspberry Pi 5 pretends to have eight nodes, all near to all CPUs; memory that is near to none is an extra.
    """
    joined: dict[Cpus, NumaNode] = {}
    for node in nodes:
        other = joined.get(node.cpus)
        total, free = (other.memory_total, other.memory_free) if other else (0, 0)
        number = other.number if other else node.number
        joined[node.cpus] = NumaNode(number, node.cpus, total + node.memory_total, free + node.memory_free)
    return tuple(node for cpus, node in joined.items() if cpus)
