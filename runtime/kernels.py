"""ggml's CPU variants: what each needs of a CPU, and how they rank.

All of it is ggml's (``ggml/src/CMakeLists.txt`` and the scores in ``ggml/src/ggml-cpu/arch/*/cpu-feats.cpp``): by these
tables the same library is chosen as ggml itself would choose, before any of them is unpacked or loaded. Unlike ggml's,
the decision heeds what the operating system supports: the features that it does not support are not among a machine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cache

BASE = "x64"
"""The variant that runs on every x86-64 CPU."""

BASE_ARM_LINUX = "armv8.0_1"
"""The variant that runs on every 64-bit ARM CPU."""

BASE_ARM_MACOS = "apple_m1"
"""The variant that runs on every Mac with a processor of Apple's."""

BASE_ARM_WINDOWS = "windows_armv8.0_1"
"""The variant that runs on every 64-bit ARM CPU with Windows."""

FLAGS: dict[str, tuple[str, ...]] = {
    "SSE42": ("sse4_2",),
    "AVX": ("avx",),
    "F16C": ("f16c",),
    "FMA": ("fma",),
    "AVX2": ("avx2",),
    "BMI2": ("bmi2",),
    "AVX_VNNI": ("avx_vnni",),
    "AVX512": ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
    "AVX512_VBMI": ("avx512vbmi",),
    "AVX512_VNNI": ("avx512_vnni",),
    "AVX512_BF16": ("avx512_bf16",),
    "AMX_TILE": ("amx_tile",),
    "AMX_INT8": ("amx_int8",),
    "DOTPROD": ("asimddp",),
    "FP16_VECTOR_ARITHMETIC": ("fphp", "asimdhp"),
    "SVE": ("sve",),
    "NOSVE": (),
    "MATMUL_INT8": ("i8mm",),
    "SVE2": ("sve2",),
    "SME": ("sme",),
}
"""Each of ggml's feature names, and the flags of Linux's ``/proc/cpuinfo`` that stand for it on every system."""

_WEIGHTS = {
    "FMA": 1 << 0, "F16C": 1 << 1, "SSE42": 1 << 2, "BMI2": 1 << 3, "AVX": 1 << 4, "AVX2": 1 << 5, "AVX_VNNI": 1 << 6,
    "AVX512": 1 << 7, "AVX512_VBMI": 1 << 8, "AVX512_BF16": 1 << 9, "AVX512_VNNI": 1 << 10, "AMX_INT8": 1 << 11,
    "DOTPROD": 1 << 1, "FP16_VECTOR_ARITHMETIC": 1 << 2, "SVE": 1 << 3, "MATMUL_INT8": 1 << 4, "SVE2": 1 << 5,
    "SME": 1 << 6,
}  # fmt: skip

_AVX = ("SSE42", "AVX")
_HASWELL = (*_AVX, "F16C", "FMA", "AVX2", "BMI2")
_SKYLAKEX = (*_HASWELL, "AVX512")
_ZEN4 = (*_SKYLAKEX, "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16")

_SVE = ("DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE")
_SVE_INT8 = (*_SVE, "MATMUL_INT8")

X86: dict[str, tuple[str, ...]] = {
    "x64": (),
    "sse42": ("SSE42",),
    "sandybridge": _AVX,
    "ivybridge": (*_AVX, "F16C"),
    "piledriver": (*_AVX, "F16C", "FMA"),
    "haswell": _HASWELL,
    "alderlake": (*_HASWELL, "AVX_VNNI"),
    "skylakex": _SKYLAKEX,
    "cannonlake": (*_SKYLAKEX, "AVX512_VBMI"),
    "cascadelake": (*_SKYLAKEX, "AVX512_VNNI"),
    "icelake": (*_SKYLAKEX, "AVX512_VBMI", "AVX512_VNNI"),
    "cooperlake": (*_SKYLAKEX, "AVX512_VNNI", "AVX512_BF16"),
    "zen4": _ZEN4,
    "sapphirerapids": (*_ZEN4, "AMX_TILE", "AMX_INT8"),
}
"""ggml's x86 variants and the features that each is compiled for, the plainest first."""

ARM_LINUX: dict[str, tuple[str, ...]] = {
    "armv8.0_1": (),
    "armv8.2_1": ("DOTPROD",),
    "armv8.2_2": ("DOTPROD", "FP16_VECTOR_ARITHMETIC"),
    "armv8.2_3": _SVE,
    "armv8.6_1": _SVE_INT8,
    "armv8.6_2": (*_SVE_INT8, "SVE2"),
    "armv9.2_1": (*_SVE_INT8, "SME"),
    "armv9.2_2": (*_SVE_INT8, "SVE2", "SME"),
}

ARM_MACOS: dict[str, tuple[str, ...]] = {
    "apple_m1": ("DOTPROD",),
    "apple_m2_m3": ("DOTPROD", "MATMUL_INT8"),
    "apple_m4": ("DOTPROD", "MATMUL_INT8", "NOSVE", "SME"),
}

ARM_WINDOWS: dict[str, tuple[str, ...]] = {
    "windows_armv8.0_1": (),
    "windows_armv8.2_1": ("DOTPROD",),
    "windows_armv8.6_1": ("DOTPROD", "MATMUL_INT8"),
}
"""Ours: ggml has none for this system (runtime/native/windows-arm)."""

FAMILIES = (X86, ARM_LINUX, ARM_MACOS, ARM_WINDOWS)
VARIANTS: dict[str, tuple[str, ...]] = {**X86, **ARM_LINUX, **ARM_MACOS, **ARM_WINDOWS}
"""Every variant."""


_PEOPLE = {
    "SSE42": "SSE4.2", "AVX_VNNI": "AVX-VNNI", "AVX512": "AVX-512", "AVX512_VBMI": "AVX-512 VBMI",
    "AVX512_VNNI": "AVX-512 VNNI", "AVX512_BF16": "AVX-512 BF16", "AMX_TILE": "AMX", "AMX_INT8": "AMX INT8",
    "DOTPROD": "dot products", "FP16_VECTOR_ARITHMETIC": "FP16 arithmetic", "MATMUL_INT8": "I8MM",
}  # fmt: skip

_KNOWN_BEST = ("AMX_INT8", "AVX512", "AVX_VNNI", "AVX2", "AVX", "SSE42", "SME", "SVE2", "SVE", "MATMUL_INT8", "DOTPROD")

_IMPLIED = frozenset({"SSE42", "AVX", "F16C", "FMA", "BMI2"})
"""What no CPU with AVX2 lacks."""


def feature_name(feature: str) -> str:
    """One of ggml's names as people know it."""
    return _PEOPLE.get(feature, feature)


def highlight(variant: str) -> str:
    """The best known of the features that a variant is compiled for; empty for one that needs none."""
    needs = VARIANTS[variant]
    return next((feature_name(one) for one in _KNOWN_BEST if one in needs), "")


def able_features(flags: Set[str]) -> list[str]:
    """What a CPU can do of what kernels are compiled for, for people, the newest first."""
    found = [name for name, needed in FLAGS.items() if needed and all(flag in flags for flag in needed)]
    return [feature_name(name) for name in reversed(found) if "AVX2" not in found or name not in _IMPLIED]


def family(names: Iterable[str]) -> list[str]:
    """The variants of ggml that any of these names belongs to, the best first; all of x86's where there is none."""
    known = frozenset(names)
    table = next((one for one in FAMILIES if known & one.keys()), X86)
    return sorted(table, key=score, reverse=True)


def able(names: Iterable[str], features: Set[str]) -> list[str]:
    """Those of these variants that a CPU with these features can run, the best first."""
    held = frozenset(names)
    return [name for name in family(held) if name in held and not missing(name, features)]


@cache
def score(variant: str) -> int:
    """How ggml ranks a variant: higher is faster."""
    return 1 + sum(_WEIGHTS.get(feature, 0) for feature in VARIANTS[variant])


def missing(variant: str, features: Set[str]) -> list[str]:
    """What a variant needs and a CPU with these features lacks, in ggml's names."""
    return [name for name in VARIANTS[variant] if any(flag not in features for flag in FLAGS[name])]
