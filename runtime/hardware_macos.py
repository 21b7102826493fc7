"""macOS: the machine as ``sysctlbyname`` and Mach's statistics of memory tell it.

There are no affinities and no containers with limits; GPUs are a part of Apple's processors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from solofile.runtime import cpuid
from solofile.runtime.cpuid import Processor
from solofile.runtime.hardware import Cache, Gpu, Hardware, target

Sysctl = Callable[[str], bytes]
"""The value of a name, nothing for one that this system lacks."""

_ARM = {
    "AdvSIMD": ("asimd", "fp"), "FEAT_FP16": ("asimdhp", "fphp"), "FEAT_DotProd": ("asimddp",),
    "FEAT_FHM": ("asimdfhm",),
    "FEAT_I8MM": ("i8mm",), "FEAT_BF16": ("bf16",), "FEAT_SME": ("sme",), "FEAT_SME2": ("sme2",),
    "FEAT_LSE": ("atomics",), "FEAT_AES": ("aes",), "FEAT_PMULL": ("pmull",), "FEAT_SHA1": ("sha1",),
    "FEAT_SHA256": ("sha2",), "FEAT_SHA512": ("sha512",), "FEAT_SHA3": ("sha3",), "FEAT_RDM": ("asimdrdm",),
    "FEAT_FCMA": ("fcma",), "FEAT_JSCVT": ("jscvt",), "FEAT_LRCPC": ("lrcpc",), "FEAT_LRCPC2": ("ilrcpc",),
}  # fmt: skip
"""Names below ``hw.optional.arm.`` and what Linux calls the same."""

_X86 = {
    "SSE3": "pni", "SSSE3": "ssse3", "SSE4.1": "sse4_1", "SSE4.2": "sse4_2", "AVX1.0": "avx", "PCLMULQDQ": "pclmulqdq",
    "AVX512CD": "avx512cd", "AVX512DQ": "avx512dq", "AVX512BW": "avx512bw", "AVX512VL": "avx512vl",
    "AVX512VBMI": "avx512vbmi", "AVX512VNNI": "avx512_vnni",
}  # fmt: skip
"""Where macOS's names of Intel's features are other than Linux's in lower case."""

_CACHES = ((1, "data", "l1dcachesize"), (1, "instruction", "l1icachesize"), (2, "unified", "l2cachesize"))

_STATISTICS = struct.Struct("=4I9Q2I4Q4IQ")
"""``vm_statistics64`` of ``mach/vm_statistics.h``, which counts pages."""


def detect(root: str = "/", cpu: Callable[[], str] | None = None) -> Hardware:  # noqa: ARG001 - one signature for all
    """Read this machine; ``cpu`` as for `hardware.detect`."""
    processor = cpuid.decode(cpu()) if cpu else None
    library = _System()
    return interpret(library.value, library.statistics(), library.page_size(), processor)


def interpret(sysctl: Sysctl, statistics: bytes, page: int, processor: Processor | None = None) -> Hardware:
    """The machine that these values describe; ``processor`` is what CPUID told, if it did."""
    cores, logical = _number(sysctl, "hw.physicalcpu"), _number(sysctl, "hw.logicalcpu")
    fast = _number(sysctl, "hw.perflevel0.physicalcpu") or cores
    total = _number(sysctl, "hw.memsize")
    found = processor or read_processor(sysctl)
    return Hardware(
        target=target(),
        cpu=found.name or _text(sysctl, "machdep.cpu.brand_string"),
        vendor=found.vendor,
        features=found.features,
        sockets=max(1, _number(sysctl, "hw.packages")),
        cores=max(1, cores),
        logical=max(1, logical),
        performance_cores=max(1, fast),
        efficiency_cores=max(0, cores - fast),
        caches=read_caches(sysctl),
        allowed=max(1, logical),
        allowed_cores=max(1, fast),
        memory_total=total or None,
        memory=available_memory(statistics, page, total),
        swap_free=free_swap(sysctl("vm.swapusage")),
        gpus=read_gpus(sysctl, found),
    )


def read_processor(sysctl: Sysctl) -> Processor:
    """What macOS says of the CPU."""
    name = _text(sysctl, "machdep.cpu.brand_string")
    maker = _text(sysctl, "machdep.cpu.vendor")
    if not maker:
        arm = (names for key, names in _ARM.items() if _number(sysctl, f"hw.optional.arm.{key}"))
        return Processor(name, "Apple", frozenset(name for names in arm for name in names))
    words = " ".join(_text(sysctl, f"machdep.cpu.{key}") for key in ("features", "leaf7_features", "extfeatures"))
    features = frozenset(_X86.get(word, word.lower()) for word in words.split())
    return Processor(name, cpuid.MAKERS.get(maker, maker), features)


def read_caches(sysctl: Sysctl) -> tuple[Cache, ...]:
    """The caches of each kind of core; on Intel's, those that all share."""
    caches = []
    for level in range(max(1, _number(sysctl, "hw.nperflevels"))):
        prefix = f"hw.perflevel{level}." if _number(sysctl, f"hw.perflevel{level}.physicalcpu") else "hw."
        cores, together = (_number(sysctl, prefix + key) for key in ("physicalcpu", "cpusperl2"))
        for depth, kind, key in _CACHES:
            size = _number(sysctl, prefix + key)
            count = -(-cores // max(1, together)) if depth == 2 else cores
            caches += [Cache(depth, kind, size, count)] if size else []
    last = _number(sysctl, "hw.l3cachesize")
    return tuple(sorted([*caches, Cache(3, "unified", last, 1)] if last else caches))


def available_memory(statistics: bytes, page: int, total: int) -> int | None:
    """Bytes that can be had without swapping: all but what programs hold, what is wired and what was compressed."""
    if len(statistics) < _STATISTICS.size or not total:
        return None
    _, _, _, wired, *_, purgeable, _, _, _, _, _, compressed, _, _, internal, _ = _STATISTICS.unpack_from(statistics)
    pages = int(wired) + int(compressed) + max(0, int(internal) - int(purgeable))
    return max(0, total - page * pages)


def free_swap(usage: bytes) -> int | None:
    """The second number of ``xsw_usage``: total, available, used."""
    return int.from_bytes(usage[8:16], "little") if len(usage) >= 16 else None


def read_gpus(sysctl: Sysctl, processor: Processor) -> tuple[Gpu, ...]:
    """Apple's processors have one; those in Intel's machines their backends will find. Drivers come with the system."""
    name = processor.name or _text(sysctl, "machdep.cpu.brand_string")
    build = _text(sysctl, "kern.osversion")
    return (Gpu(f"{name} GPU", "Apple", "Metal", build, "integrated"),) if name.startswith("Apple") else ()


def _number(sysctl: Sysctl, name: str) -> int:
    data = sysctl(name)
    return int.from_bytes(data, "little", signed=True) if len(data) in (4, 8) else 0


def _text(sysctl: Sysctl, name: str) -> str:
    return sysctl(name).split(b"\0", 1)[0].decode("utf-8", "replace").strip()


class _System:
    """The calls into libSystem."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        self._library = ctypes.CDLL(None)

    def value(self, name: str) -> bytes:
        """``sysctlbyname``."""
        size = self._ctypes.c_size_t(1024)
        buffer = self._ctypes.create_string_buffer(size.value)
        failed = self._library.sysctlbyname(
            name.encode(), buffer, self._ctypes.byref(size), None, self._ctypes.c_size_t(0)
        )
        return b"" if failed else buffer.raw[: size.value]

    def statistics(self) -> bytes:
        """``host_statistics64`` of the kind HOST_VM_INFO64 (4)."""
        buffer = self._ctypes.create_string_buffer(1024)
        count = self._ctypes.c_uint(_STATISTICS.size // 4)
        self._library.mach_host_self.restype = self._ctypes.c_uint
        host = self._ctypes.c_uint(self._library.mach_host_self())
        failed = self._library.host_statistics64(host, 4, buffer, self._ctypes.byref(count))
        return b"" if failed else buffer.raw[: count.value * 4]

    def page_size(self) -> int:
        """Bytes of a page as the kernel counts them; a translated program sees smaller ones."""
        return int(self._ctypes.c_ulong.in_dll(self._library, "vm_kernel_page_size").value)
