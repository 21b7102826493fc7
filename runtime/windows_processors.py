"""What ``GetLogicalProcessorInformationEx`` writes, and other plain buffers of Windows: layouts of ``winnt.h`` on
systems of 64 bits. A CPU's number here is 64 times its processor group's, plus its bit in the group."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from solofile.runtime.hardware import Cache, NumaNode

Cpus = frozenset[int]

_CORE, _NODE, _CACHE, _PACKAGE, _NODE_OF_GROUPS = 0, 1, 2, 3, 6  # RelationProcessorCore …
_KINDS = {0: "unified", 1: "instruction", 2: "data"}  # PROCESSOR_CACHE_TYPE
_GROUP_SIZE = 64

_HEADER = struct.Struct("<II")  # relationship, bytes of the record with this header
_AFFINITY = struct.Struct("<QH6x")  # mask, group


class Core(NamedTuple):
    """The CPUs of a core, and its class: of a higher one it is faster."""

    cpus: Cpus
    efficiency_class: int


class Processors(NamedTuple):
    """Every record of the buffer, by what it is about."""

    cores: tuple[Core, ...] = ()
    packages: int = 0
    caches: tuple[Cache, ...] = ()
    nodes: tuple[NumaNode, ...] = ()

    @property
    def cpus(self) -> Cpus:
        """All that run programs."""
        return frozenset(cpu for core in self.cores for cpu in core.cpus)

    @property
    def fast(self) -> tuple[Core, ...]:
        """The cores of the highest class."""
        best = max((core.efficiency_class for core in self.cores), default=0)
        return tuple(core for core in self.cores if core.efficiency_class == best)


def parse_processors(data: bytes) -> Processors:
    """Read the buffer of ``GetLogicalProcessorInformationEx(RelationAll, …)``; what is of no known kind is left out."""
    cores, caches, nodes, packages = [], [], {}, 0
    for kind, record in _records(data):
        if kind == _CORE:
            cores.append(Core(_affinities(record, 22, 24), record[1]))
        elif kind == _PACKAGE:
            packages += 1
        elif kind == _CACHE and struct.unpack_from("<I", record, 8)[0] in _KINDS:
            caches.append((record[0], _KINDS[record[8]], struct.unpack_from("<I", record, 4)[0]))
        elif kind in (_NODE, _NODE_OF_GROUPS):
            number = struct.unpack_from("<I", record)[0]
            nodes[number] = NumaNode(number, _affinities(record, 22, 24))
    counted = tuple(Cache(*cache, caches.count(cache)) for cache in sorted(set(caches)))
    return Processors(tuple(cores), packages, counted, tuple(nodes[number] for number in sorted(nodes)))


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        kind, size = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size or offset + size > len(data):
            return
        yield kind, data[offset + _HEADER.size : offset + size]
        offset += size


def _affinities(record: bytes, count_at: int, masks_at: int) -> Cpus:
    """The CPUs of an array of GROUP_AFFINITY. Its length was reserved before Windows 10, 20H2: 0 stands for one."""
    count = max(1, struct.unpack_from("<H", record, count_at)[0])
    room = (len(record) - masks_at) // _AFFINITY.size
    masks = (_AFFINITY.unpack_from(record, masks_at + index * _AFFINITY.size) for index in range(min(count, room)))
    return frozenset(cpu for mask, group in masks for cpu in cpus_of(mask, group))


def cpus_of(mask: int, group: int) -> Iterator[int]:
    """The numbers of the CPUs of a mask."""
    return (group * _GROUP_SIZE + bit for bit in range(_GROUP_SIZE) if mask >> bit & 1)


def allowed_cpus(cpus: Cpus, groups: Sequence[int], mask: int) -> Cpus:
    """The CPUs that a process may run on, from the groups of its threads and its mask.

    A mask is for one group, the first when nothing is said. It is 0 for a process with threads in several, which may
    use all CPUs of those.
    """
    chosen = frozenset(cpus_of(mask, groups[0] if groups else 0)) if len(groups) < 2 else frozenset()
    within = frozenset(cpu for cpu in cpus if cpu // _GROUP_SIZE in groups)
    return chosen & cpus or within or cpus


_ENABLED, _HARD_CAP, _RANGE = 1, 4, 16  # JOB_OBJECT_CPU_RATE_CONTROL_…


def parse_cpu_rate(data: bytes, logical: int) -> float | None:
    """CPUs that a job leaves (JOBOBJECT_CPU_RATE_CONTROL_INFORMATION: hundredths of a percent of the machine)."""
    if len(data) < 8:
        return None
    flags, rate = struct.unpack_from("<II", data)
    if not flags & _ENABLED or not flags & (_HARD_CAP | _RANGE):
        return None
    share = rate >> 16 if flags & _RANGE else rate
    return logical * share / 10_000 if 0 < share < 10_000 else None


_PROCESS_MEMORY, _JOB_MEMORY = 0x100, 0x200  # JOB_OBJECT_LIMIT_…


def parse_job_memory(data: bytes) -> tuple[int | None, int | None]:
    """The most memory that a job lets one process have, and all of its processes together
    (JOBOBJECT_EXTENDED_LIMIT_INFORMATION)."""
    if len(data) < 128:
        return None, None
    flags = struct.unpack_from("<I", data, 16)[0]
    process, job = struct.unpack_from("<QQ", data, 112)
    return process if flags & _PROCESS_MEMORY else None, job if flags & _JOB_MEMORY else None


class Memory(NamedTuple):
    """Bytes of the machine's memory: all, available, and what the paging files add to that."""

    total: int
    available: int
    swap_free: int


def parse_memory(data: bytes) -> Memory:
    """MEMORYSTATUSEX; its paging file is the limit of memory and files together."""
    total, available, _, committable = struct.unpack_from("<QQQQ", data, 8)
    return Memory(total, available, max(0, committable - available))
