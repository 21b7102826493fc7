"""macOS: the names that sysctl knows on Apple's and on Intel's processors, and Mach's statistics of memory."""

from __future__ import annotations

import ctypes
import struct

import pytest
from solofile.runtime import hardware_macos
from solofile.runtime.cpuid import Processor
from solofile.runtime.hardware import Cache, Gpu, Hardware
from solofile.runtime.hardware_macos import available_memory, free_swap, interpret

GIB = 1 << 30

M2_PRO: dict[str, int | str] = {
    "machdep.cpu.brand_string": "Apple M2 Pro", "kern.osversion": "23F79",
    "hw.packages": 1, "hw.physicalcpu": 12, "hw.logicalcpu": 12, "hw.nperflevels": 2, "hw.memsize": 32 * GIB,
    "hw.perflevel0.physicalcpu": 8, "hw.perflevel0.logicalcpu": 8, "hw.perflevel0.cpusperl2": 4,
    "hw.perflevel0.l1dcachesize": 128 << 10, "hw.perflevel0.l1icachesize": 192 << 10,
    "hw.perflevel0.l2cachesize": 16 << 20,
    "hw.perflevel1.physicalcpu": 4, "hw.perflevel1.logicalcpu": 4, "hw.perflevel1.cpusperl2": 4,
    "hw.perflevel1.l1dcachesize": 64 << 10, "hw.perflevel1.l1icachesize": 128 << 10,
    "hw.perflevel1.l2cachesize": 4 << 20,
    "hw.l1dcachesize": 64 << 10, "hw.l2cachesize": 4 << 20,
    "hw.optional.arm.AdvSIMD": 1, "hw.optional.arm.FEAT_DotProd": 1, "hw.optional.arm.FEAT_FP16": 1,
    "hw.optional.arm.FEAT_I8MM": 1, "hw.optional.arm.FEAT_BF16": 1, "hw.optional.arm.FEAT_SME": 0,
    "hw.optional.arm.FEAT_LSE": 1,
}  # fmt: skip

INTEL: dict[str, int | str] = {
    "machdep.cpu.brand_string": "Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", "machdep.cpu.vendor": "GenuineIntel",
    "machdep.cpu.features": "FPU VME SSE SSE2 SSE3 PCLMULQDQ SSSE3 FMA SSE4.1 SSE4.2 POPCNT AES AVX1.0 F16C",
    "machdep.cpu.leaf7_features": "BMI1 AVX2 BMI2 ERMS ADX", "machdep.cpu.extfeatures": "LAHF LZCNT",
    "hw.packages": 1, "hw.physicalcpu": 8, "hw.logicalcpu": 16, "hw.memsize": 16 * GIB,
    "hw.l1dcachesize": 32 << 10, "hw.l1icachesize": 32 << 10, "hw.l2cachesize": 256 << 10, "hw.l3cachesize": 16 << 20,
}  # fmt: skip


def statistics(wired: int, purgeable: int, compressed: int, internal: int) -> bytes:
    """``vm_statistics64`` of mach/vm_statistics.h."""

    class Statistics(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_uint32) for name in ("free", "active", "inactive", "wired")),
            *((f"counter{index}", ctypes.c_uint64) for index in range(9)),
            *((name, ctypes.c_uint32) for name in ("purgeable", "speculative")),
            *((name, ctypes.c_uint64) for name in ("decompressions", "compressions", "swapins", "swapouts")),
            *((name, ctypes.c_uint32) for name in ("compressor", "throttled", "external", "internal")),
            ("uncompressed", ctypes.c_uint64),
        ]

    ones = 0xFFFF_FFFF
    return bytes(
        Statistics(free=ones, active=ones, inactive=ones, wired=wired, purgeable=purgeable, speculative=ones,
                   compressor=compressed, throttled=ones, external=ones, internal=internal, uncompressed=ones)
    )  # fmt: skip


def machine(values: dict[str, int | str], page: int = 16384, processor: Processor | None = None) -> Hardware:
    def sysctl(name: str) -> bytes:
        if name == "vm.swapusage":
            return struct.pack("=QQQIi", 4 * GIB, 3 * GIB, GIB, 4096, 1)
        value = values.get(name, b"")
        if isinstance(value, int):
            return value.to_bytes(8 if value >= 1 << 31 else 4, "little")
        return value.encode() + b"\0" if isinstance(value, str) else value

    pages = GIB // page
    return interpret(sysctl, statistics(3 * pages, pages, 2 * pages, 6 * pages), page, processor)


def test_apple() -> None:
    found = machine(M2_PRO)
    assert (found.cpu, found.vendor) == ("Apple M2 Pro", "Apple")
    assert (found.cores, found.logical, found.performance_cores, found.efficiency_cores) == (12, 12, 8, 4)
    assert (found.allowed, found.allowed_cores, found.threads, found.quota) == (12, 8, 8, None)
    assert found.features == {"asimd", "fp", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "atomics"}
    assert found.memory_total == 32 * GIB
    assert found.memory == (32 - 3 - 2 - (6 - 1)) * GIB
    assert found.swap_free == 3 * GIB
    assert found.caches == (
        Cache(1, "data", 64 << 10, 4),
        Cache(1, "data", 128 << 10, 8),
        Cache(1, "instruction", 128 << 10, 4),
        Cache(1, "instruction", 192 << 10, 8),
        Cache(2, "unified", 4 << 20, 1),
        Cache(2, "unified", 16 << 20, 2),
    )
    assert found.gpus == (Gpu("Apple M2 Pro GPU", "Apple", "Metal", "23F79", "integrated"),)


def test_intel() -> None:
    found = machine(INTEL, page=4096)
    assert (found.vendor, found.cores, found.logical, found.threads) == ("Intel", 8, 16, 8)
    assert (found.performance_cores, found.efficiency_cores) == (8, 0)
    assert {"sse4_2", "avx", "avx2", "fma", "f16c", "bmi2", "pni"} <= found.features
    assert found.caches[-1] == Cache(3, "unified", 16 << 20, 1)
    assert found.caches[0] == Cache(1, "data", 32 << 10, 8)
    assert found.gpus == ()
    known = machine(INTEL, 4096, Processor("A CPU", "Intel", frozenset({"avx"})))
    assert (known.cpu, known.features) == ("A CPU", {"avx"})


def test_when_macos_says_nothing() -> None:
    found = interpret(lambda _: b"", b"", 4096)
    assert (found.cores, found.allowed, found.threads, found.memory, found.memory_total) == (1, 1, 1, None, None)
    assert available_memory(bytes(100), 4096, GIB) is None
    assert free_swap(b"") is None


def test_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is passed to sysctlbyname and host_statistics64, with functions in their place that check it."""

    class Library:
        def sysctlbyname(self, name: bytes, buffer: ctypes.Array[ctypes.c_char], size: object, *new: object) -> int:
            assert new[0] is None
            length = ctypes.cast(size, ctypes.POINTER(ctypes.c_size_t)).contents  # type: ignore[arg-type]
            assert length.value == len(buffer)
            if name != b"kern.osversion":
                return -1
            buffer[:4] = b"23F\0"
            length.value = 4
            return 0

        def host_statistics64(
            self, host: ctypes.c_uint, kind: int, buffer: ctypes.Array[ctypes.c_char], count: object
        ) -> int:
            words = ctypes.cast(count, ctypes.POINTER(ctypes.c_uint)).contents  # type: ignore[arg-type]
            assert (host.value, kind, words.value) == (77, 4, 38)
            buffer[:4] = b"abcd"
            return 0

    class HostSelf:
        restype: object = None

        def __call__(self) -> int:
            return 77

    library = Library()
    library.mach_host_self = HostSelf()  # type: ignore[attr-defined]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    system = hardware_macos._System()
    assert system.value("kern.osversion") == b"23F\0"
    assert system.value("hw.none") == b""
    assert (system.statistics()[:4], len(system.statistics())) == (b"abcd", 152)
