"""Linux: the machine as ``/proc`` and ``/sys`` show it."""

from __future__ import annotations

import os
from collections.abc import Callable

from solofile.runtime import cpuid
from solofile.runtime.control_groups import read_limits
from solofile.runtime.cpuid import Processor
from solofile.runtime.gpus import read_gpus
from solofile.runtime.hardware import Hardware, NumaNode, target
from solofile.runtime.system_files import Cpus, parse_cpu_list, parse_fields, parse_kilobytes, read, read_bytes
from solofile.runtime.topology import apart, read_numa, read_topology

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.arm import Part

_CPUINFO_BYTES = 1 << 20


def detect(root: str = "/", cpu: Callable[[], str] | None = None) -> Hardware:
    """Read this machine; ``root`` and ``cpu`` as for `hardware.detect`."""
    processor, parts = read_processor(root, cpu)
    status = parse_fields(read(root, "proc/self/status", 1 << 14))
    allowed = allowed_cpus(root, status)
    topology = read_topology(root, allowed, parts)
    allowed = allowed & topology.cpus or allowed
    limits, meminfo, numa = read_limits(root), parse_fields(read(root, "proc/meminfo", 1 << 14)), read_numa(root)
    total, swap = parse_kilobytes(meminfo, "MemTotal"), parse_kilobytes(meminfo, "SwapFree")
    return Hardware(
        target=target(),
        cpu=processor.name,
        vendor=processor.vendor,
        features=processor.features,
        sockets=topology.sockets,
        cores=len(topology.cores),
        logical=len(topology.cpus),
        performance_cores=topology.performance_cores,
        efficiency_cores=len(topology.cores) - topology.performance_cores,
        caches=topology.caches,
        numa=apart(numa),
        allowed=len(allowed),
        allowed_cores=topology.allowed_cores(allowed),
        quota=limits.quota,
        memory_total=total,
        memory=_smallest(machine_memory(meminfo), node_memory(numa, status), limits.memory_available),
        # A limit above what the machine has limits nothing.
        memory_limit=limits.memory_limit if (limits.memory_limit or 0) < (total or 1 << 63) else None,
        swap_free=_smallest(swap, limits.swap_available),
        gpus=read_gpus(root),
    )


def read_processor(root: str, cpu: Callable[[], str] | None = None) -> tuple[Processor, dict[int, Part]]:
    """What the CPU is, from CPUID if it has that; on ARM also the design of each."""
    processor = cpuid.decode(cpu()) if cpu else None
    if processor:
        return processor, {}
    # One read: the file is made as it is read, which takes long on a large machine, and one entry tells all of x86.
    text = read(root, "proc/cpuinfo", 16_384)
    # Where ARM is emulated (qemu-user), the file is that of the machine below; what the program was given is the truth.
    emulated = root == "/" and target().endswith("aarch64")
    if "CPU implementer" not in text and not emulated:
        return parse_cpuinfo(text), {}
    from solofile.runtime import arm

    text = read_bytes(root, "proc/cpuinfo", _CPUINFO_BYTES, whole=True).decode("utf-8", "replace")
    parts = arm.parse_parts(text)
    name, vendor = arm.describe_parts(parts)
    features = arm.parse_auxv(read_bytes(root, "proc/self/auxv"))
    return Processor(name, vendor, features or parse_cpuinfo(text).features), parts


def parse_cpuinfo(text: str) -> Processor:
    """The first processor in ``/proc/cpuinfo``."""
    fields = parse_fields(text.split("\n\n", 1)[0])
    features = fields.get("flags", fields.get("Features", ""))
    maker = fields.get("vendor_id", "")
    return Processor(fields.get("model name", ""), cpuid.MAKERS.get(maker, maker), frozenset(features.split()))


def allowed_cpus(root: str, status: dict[str, str]) -> Cpus:
    """The CPUs that this process may run on: its affinity, which control groups (cpuset) have already narrowed."""
    if root == "/" and hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    listed = parse_cpu_list(status.get("Cpus_allowed_list", ""))
    return listed or frozenset(range(os.cpu_count() or 1))


def machine_memory(meminfo: dict[str, str]) -> int | None:
    """Bytes that the machine can give without swapping."""
    available = parse_kilobytes(meminfo, "MemAvailable")
    if available is not None:
        return available
    # Linux before 3.14 does not say it.
    amounts = [parse_kilobytes(meminfo, key) for key in ("MemFree", "Cached", "Buffers")]
    return sum(amount or 0 for amount in amounts) if amounts[0] is not None else None


def node_memory(numa: tuple[NumaNode, ...], status: dict[str, str]) -> int | None:
    """Bytes that the memory nodes can give to which this process is confined; None where it may use all."""
    allowed = parse_cpu_list(status.get("Mems_allowed_list", ""))
    nodes = [node for node in numa if node.number in allowed]
    return sum(node.memory_free for node in nodes) if nodes and len(nodes) < len(numa) else None


def _smallest(*amounts: int | None) -> int | None:
    return min((amount for amount in amounts if amount is not None), default=None)
