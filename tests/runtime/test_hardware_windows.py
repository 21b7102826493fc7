"""Windows' buffers, written as winnt.h lays them out, and its registry: what is read from them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from solofile.runtime.cpuid import Processor
from solofile.runtime.hardware import Cache, Gpu
from solofile.runtime.hardware_windows import Job, interpret, interpret_gpu
from solofile.runtime.windows_processors import (
    Core,
    Memory,
    allowed_cpus,
    parse_cpu_rate,
    parse_job_memory,
    parse_memory,
    parse_processors,
)

GIB = 1 << 30
ALL_20 = (1 << 20) - 1

Masks = list[tuple[int, int]]


def record(kind: int, body: bytes) -> bytes:
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: relationship, size, a union."""
    return struct.pack("<II", kind, 8 + len(body)) + body


def affinities(masks: Masks) -> bytes:
    return b"".join(struct.pack("<QH3H", mask, group, 0, 0, 0) for mask, group in masks)


def core(mask: int, *, group: int = 0, efficiency: int = 0) -> bytes:
    """PROCESSOR_RELATIONSHIP of a core; LTP_PC_SMT where it has two threads."""
    flags = int(mask.bit_count() > 1)
    return record(0, struct.pack("<BB20xH", flags, efficiency, 1) + affinities([(mask, group)]))


def package(*masks: tuple[int, int]) -> bytes:
    return record(3, struct.pack("<BB20xH", 0, 0, len(masks)) + affinities([*masks]))


def node(number: int, *masks: tuple[int, int], kind: int = 1, count: int | None = None) -> bytes:
    """NUMA_NODE_RELATIONSHIP; its count was a reserved 0 before it was a count."""
    return record(kind, struct.pack("<I18xH", number, len(masks) if count is None else count) + affinities([*masks]))


def cache(level: int, kind: int, size: int, mask: int, group: int = 0) -> bytes:
    """CACHE_RELATIONSHIP: level, associativity, line, size, kind."""
    return record(2, struct.pack("<BBHII18xH", level, 8, 64, size, kind, 1) + affinities([(mask, group)]))


def groups(*masks: int) -> bytes:
    """GROUP_RELATIONSHIP of PROCESSOR_GROUP_INFOs."""
    infos = b"".join(struct.pack("<BB38xQ", 64, mask.bit_count(), mask) for mask in masks)
    return record(4, struct.pack("<HH20x", len(masks), len(masks)) + infos)


def alder_lake() -> bytes:
    """8 fast cores of 2 threads, 4 slow ones; die and module records (5, 7) that nobody asked for."""
    fast = [0b11 << 2 * index for index in range(8)]
    slow = [1 << index for index in range(16, 20)]
    return b"".join(
        [
            *(core(mask, efficiency=1) for mask in fast),
            *(core(mask) for mask in slow),
            *(
                cache(1, 2, 48 << 10, mask) + cache(1, 1, 32 << 10, mask) + cache(2, 0, 1280 << 10, mask)
                for mask in fast
            ),
            *(cache(1, 2, 32 << 10, mask) + cache(1, 1, 64 << 10, mask) for mask in slow),
            cache(2, 0, 2 << 20, 0xF0000),
            cache(3, 0, 25 << 20, ALL_20),
            cache(1, 3, 12 << 10, 1),
            package((ALL_20, 0)),
            record(5, struct.pack("<BB20xH", 0, 0, 1) + affinities([(ALL_20, 0)])),
            record(7, struct.pack("<BB20xH", 0, 0, 1) + affinities([(ALL_20, 0)])),
            node(0, (ALL_20, 0), count=0),
            groups(ALL_20),
        ]
    )


def two_groups() -> bytes:
    """2 sockets of 64 cores without hardware threads, each a processor group."""
    whole = (1 << 64) - 1
    return b"".join(
        [
            *(core(1 << bit, group=group) for group in (0, 1) for bit in range(64)),
            package((whole, 0)),
            package((whole, 1)),
            node(0, (whole, 0)),
            node(1, (whole, 1)),
            groups(whole, whole),
        ]
    )


def test_hybrid() -> None:
    found = parse_processors(alder_lake())
    assert len(found.cores) == 12
    assert found.cores[0] == Core(frozenset({0, 1}), 1)
    assert len(found.fast) == 8
    assert found.cpus == frozenset(range(20))
    assert found.packages == 1
    assert [(one.number, len(one.cpus)) for one in found.nodes] == [(0, 20)]
    assert found.caches == (
        Cache(1, "data", 32 << 10, 4),
        Cache(1, "data", 48 << 10, 8),
        Cache(1, "instruction", 32 << 10, 8),
        Cache(1, "instruction", 64 << 10, 4),
        Cache(2, "unified", 1280 << 10, 8),
        Cache(2, "unified", 2 << 20, 1),
        Cache(3, "unified", 25 << 20, 1),
    )


def test_processor_groups() -> None:
    found = parse_processors(two_groups())
    assert (len(found.cores), found.packages, len(found.cpus)) == (128, 2, 128)
    assert found.cores[-1].cpus == {127}
    assert found.nodes[1].cpus == frozenset(range(64, 128))


def test_a_node_of_several_groups() -> None:
    found = parse_processors(node(0, (0b11, 0), (0b1, 1), kind=6))
    assert found.nodes[0].cpus == {0, 1, 64}


@pytest.mark.parametrize("size", [0, 4, 8, 20, 47])
def test_a_buffer_that_is_cut(size: int) -> None:
    assert parse_processors(alder_lake()[:size]).cores == ()


def test_a_record_of_no_size_ends_the_reading() -> None:
    assert parse_processors(struct.pack("<II", 0, 0) + core(1)).cores == ()


@pytest.mark.parametrize(
    ("of_groups", "mask", "allowed"),
    [
        ([0], 0b1010, {1, 3}),
        ([1], 0b1010, {65, 67}),
        ([0, 1], 0, set(range(128))),
        ([1], 0, set(range(64, 128))),
        ([], 0, set(range(128))),
        ([], 0b1010, {1, 3}),
        ([0], 1 << 63, {63}),
    ],
)
def test_affinity(of_groups: list[int], mask: int, allowed: set[int]) -> None:
    assert allowed_cpus(frozenset(range(128)), of_groups, mask) == allowed


@pytest.mark.parametrize(
    ("flags", "rate", "cpus"),
    [
        (0x5, 2500, 4.0),  # a hard cap of a quarter of the machine
        (0x1, 2500, None),  # without the hard cap it counts only when the machine is busy
        (0x4, 2500, None),  # not enabled
        (0x3, 5, None),  # a weight
        (0x5, 10_000, None),  # all of the machine
        (0x11, 5000 << 16 | 1000, 8.0),  # a range: no less than, no more than
    ],
)
def test_rate_of_a_job(flags: int, rate: int, cpus: float | None) -> None:
    assert parse_cpu_rate(struct.pack("<II", flags, rate), 16) == cpus
    assert parse_cpu_rate(b"", 16) is None


def limits(flags: int, process: int = 0, job: int = 0) -> bytes:
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""
    basic = struct.pack("<qqI4xQQI4xQII", 0, 0, flags, 0, 0, 0, 0, 0, 0)
    return basic + bytes(48) + struct.pack("<QQQQ", process, job, 0, 0)


def test_memory_of_a_job() -> None:
    assert len(limits(0)) == 144
    assert parse_job_memory(limits(0, 5, 6)) == (None, None)
    assert parse_job_memory(limits(0x100, 5, 6)) == (5, None)
    assert parse_job_memory(limits(0x300, 5, 6)) == (5, 6)
    assert parse_job_memory(b"") == (None, None)
    assert Job(limits(0x300, 5 * GIB, 4 * GIB), usage=struct.pack("<QQ", GIB, 3 * GIB)).memory_left == 3 * GIB
    assert Job().memory_left is None


def memory_status(total: int, available: int, most: int, committable: int) -> bytes:
    """MEMORYSTATUSEX: its size, load in percent, then physical memory, paging file, address space."""
    return struct.pack("<IIQQQQQQQ", 64, 40, total, available, most, committable, 1 << 47, 1 << 46, 0)


def test_memory() -> None:
    assert parse_memory(memory_status(32 * GIB, 20 * GIB, 40 * GIB, 25 * GIB)) == Memory(32 * GIB, 20 * GIB, 5 * GIB)
    assert parse_memory(memory_status(32 * GIB, 20 * GIB, 32 * GIB, 15 * GIB)).swap_free == 0


def test_a_desktop_computer() -> None:
    processor = Processor("12th Gen Intel(R) Core(TM) i7-12700K", "Intel", frozenset({"avx2"}))
    processors = parse_processors(alder_lake())
    memory = Memory(32 * GIB, 20 * GIB, 5 * GIB)
    machine = interpret(processor, processors, processors.cpus, memory, Job())
    assert (machine.cores, machine.logical, machine.performance_cores, machine.efficiency_cores) == (12, 20, 8, 4)
    assert (machine.allowed, machine.allowed_cores, machine.threads, machine.quota) == (20, 8, 8, None)
    assert (machine.memory_total, machine.memory, machine.memory_limit) == (32 * GIB, 20 * GIB, None)
    slow = interpret(processor, processors, frozenset({17, 18}), memory, Job())
    assert (slow.allowed, slow.allowed_cores, slow.threads) == (2, 2, 2)


def test_a_container() -> None:
    processors = parse_processors(two_groups())
    job = Job(limits(0x200, 0, 4 * GIB), struct.pack("<II", 0x5, 117), struct.pack("<QQ", GIB, GIB))
    machine = interpret(Processor(), processors, processors.cpus, Memory(256 * GIB, 200 * GIB, 0), job)
    assert machine.quota == pytest.approx(1.4976)
    assert (machine.sockets, machine.threads) == (2, 1)
    assert (machine.memory_limit, machine.memory) == (4 * GIB, 3 * GIB)


def test_when_windows_says_nothing() -> None:
    machine = interpret(Processor(), parse_processors(b""), frozenset(), Memory(GIB, GIB, 0), Job())
    assert (machine.cores, machine.logical, machine.allowed, machine.threads) == (1, 1, 1, 1)
    assert machine.efficiency_cores == 0


AT = "@System32\\drivers\\pci.sys,#65536;PCI bus %1, device %2, function %3;"


@pytest.mark.parametrize(
    ("instance", "name", "location", "vendor", "kind", "node"),
    [
        ("PCI\\VEN_10DE&DEV_2504&SUBSYS_1&REV_A1\\4&1", "NVIDIA GeForce RTX 3060", "(1,0,0)", "NVIDIA", "discrete",
         "0000:01:00.0"),
        ("PCI\\VEN_8086&DEV_4680&SUBSYS_1\\3&1", "Intel(R) UHD Graphics 770", "(0,2,0)", "Intel", "integrated",
         "0000:00:02.0"),
        ("PCI\\VEN_8086&DEV_56A0\\6&1", "Intel(R) Arc(TM) A770 Graphics", "(3,0,0)", "Intel", "discrete",
         "0000:03:00.0"),
        ("PCI\\VEN_8086&DEV_64A0\\3&1", "Intel(R) Arc(TM) 140V GPU (16GB)", "(0,2,0)", "Intel", "integrated",
         "0000:00:02.0"),
        ("PCI\\VEN_8086&DEV_7D55\\6&1", "Intel(R) Arc(TM) Graphics", "(0,2,0)", "Intel", "integrated", "0000:00:02.0"),
        ("PCI\\VEN_1002&DEV_744C\\6&1", "AMD Radeon RX 7900 XTX", "(3,0,0)", "AMD", "discrete", "0000:03:00.0"),
        ("PCI\\VEN_1002&DEV_164E\\6&1", "AMD Radeon(TM) Graphics", "(19,0,0)", "AMD", "integrated", "0000:13:00.0"),
        ("PCI\\VEN_1002&DEV_15BF\\6&1", "AMD Radeon(TM) 780M", "(197,0,0)", "AMD", "integrated", "0000:c5:00.0"),
        ("ACPI\\VEN_QCOM&DEV_0C36\\0", "Qualcomm(R) Adreno(TM) X1-85 GPU", "", "Qualcomm", "integrated", ""),
        ("ROOT\\BasicRender\\0000", "Microsoft Basic Render Driver", "", "Microsoft", "", ""),
    ],
)  # fmt: skip
def test_gpus(instance: str, name: str, location: str, vendor: str, kind: str, node: str) -> None:
    device: dict[str, Any] = {"Service": "driver", "LocationInformation": AT + location if location else ""}
    driver = {"DriverDesc": name, "DriverVersion": "31.0.15.3623", "ProviderName": "Microsoft"}
    assert interpret_gpu(instance, device, driver) == Gpu(name, vendor, "driver", "31.0.15.3623", kind, node)
