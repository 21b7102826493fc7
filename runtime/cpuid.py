"""What the CPUID instruction tells: maker, name and features, under the names that Linux gives them.

The instruction itself is executed by the bridge (``sf_cpu``); this reads what it found. Unlike a feature bit alone, the
answer heeds the operating system: registers that it does not save when it switches between programs (XCR0 says which)
cannot be used, whatever the CPU could do. Positions are those of Intel's Software Developer's Manual, volume 2A, CPUID,
and of AMD's Architecture Programmer's Manual, volume 3, appendix E; names those of Linux's ``cpufeatures.h``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Leaves = Mapping[str, Sequence[int]]
"""Registers (EAX, EBX, ECX, EDX) of each ``leaf.subleaf``, in hexadecimal: ``7.0``, ``80000002.0``."""

EAX, EBX, ECX, EDX = range(4)

_FEATURES: dict[tuple[str, int], dict[int, str]] = {
    ("1.0", EDX): {
        0: "fpu", 4: "tsc", 8: "cx8", 15: "cmov", 19: "clflush", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2", 28: "ht",
    },
    ("1.0", ECX): {
        0: "pni", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 19: "sse4_1", 20: "sse4_2", 22: "movbe",
        23: "popcnt", 25: "aes", 26: "xsave", 28: "avx", 29: "f16c", 30: "rdrand", 31: "hypervisor",
    },
    ("7.0", EBX): {
        3: "bmi1", 5: "avx2", 8: "bmi2", 9: "erms", 16: "avx512f", 17: "avx512dq", 18: "rdseed", 19: "adx",
        21: "avx512ifma", 26: "avx512pf", 27: "avx512er", 28: "avx512cd", 29: "sha_ni", 30: "avx512bw", 31: "avx512vl",
    },
    ("7.0", ECX): {
        1: "avx512vbmi", 6: "avx512_vbmi2", 8: "gfni", 9: "vaes", 10: "vpclmulqdq", 11: "avx512_vnni",
        12: "avx512_bitalg", 14: "avx512_vpopcntdq",
    },
    ("7.0", EDX): {
        2: "avx512_4vnniw", 3: "avx512_4fmaps", 4: "fsrm", 8: "avx512_vp2intersect", 22: "amx_bf16", 23: "avx512_fp16",
        24: "amx_tile", 25: "amx_int8",
    },
    ("7.1", EAX): {4: "avx_vnni", 5: "avx512_bf16", 21: "amx_fp16", 23: "avx_ifma"},
    ("d.1", EAX): {0: "xsaveopt", 1: "xsavec", 2: "xgetbv1"},
    ("80000001.0", ECX): {0: "lahf_lm", 5: "abm", 6: "sse4a", 11: "xop", 16: "fma4", 21: "tbm"},
    ("80000001.0", EDX): {20: "nx", 22: "mmxext", 26: "pdpe1gb", 27: "rdtscp", 29: "lm"},
}  # fmt: skip

NAMES = frozenset(name for bits in _FEATURES.values() for name in bits.values())
"""Every feature that is looked for."""

_YMM = 0b110  # XCR0: the SSE registers and the upper halves of AVX's
_ZMM = _YMM | 0b1110_0000  # the mask registers, the upper halves of AVX-512's, and those from 16 on
_TILES = 0b11 << 17  # AMX's configuration and its tiles
_NEED_YMM = frozenset({"avx", "avx2", "fma", "fma4", "f16c", "xop", "avx_vnni", "avx_ifma", "vaes", "vpclmulqdq"})
_OSXSAVE = 27

MAKERS = {
    "GenuineIntel": "Intel",
    "AuthenticAMD": "AMD",
    "HygonGenuine": "Hygon",
    "CentaurHauls": "Zhaoxin",
    "Shanghai": "Zhaoxin",
}
"""What a CPU calls its maker, and what people do."""


class Processor(NamedTuple):
    """A CPU: its name, who made it, and its features as Linux names them, without those that the system forbids."""

    name: str = ""
    vendor: str = ""
    features: frozenset[str] = frozenset()


def decode(text: str) -> Processor | None:
    """What ``sf_cpu`` found; None where there is no such instruction or the text is not its JSON."""
    import json

    try:
        found = json.loads(text)
    except ValueError:
        return None
    leaves = found.get("leaves") if isinstance(found, dict) else None
    if not isinstance(leaves, dict) or "1.0" not in leaves:
        return None
    features = usable(stated(leaves), operating_system(leaves, found.get("xcr0", 0)))
    return Processor(brand(leaves), vendor(leaves), features)


def stated(leaves: Leaves) -> frozenset[str]:
    """The features that the CPU states."""
    return frozenset(
        name
        for (leaf, register), bits in _FEATURES.items()
        for bit, name in bits.items()
        if leaf in leaves and leaves[leaf][register] >> bit & 1
    )


def operating_system(leaves: Leaves, xcr0: int) -> int:
    """The registers that the system saves, as bits of XCR0; none without OSXSAVE, whatever was read."""
    return xcr0 if leaves["1.0"][ECX] >> _OSXSAVE & 1 else 0


def usable(features: frozenset[str], xcr0: int) -> frozenset[str]:
    """Those of the features whose registers the system saves."""
    return frozenset(name for name in features if (needed := _needed(name)) & xcr0 == needed)


def _needed(feature: str) -> int:
    if feature.startswith("avx512"):
        return _ZMM
    if feature.startswith("amx_"):
        return _TILES
    return _YMM if feature in _NEED_YMM else 0


def vendor(leaves: Leaves) -> str:
    """Who made the CPU: leaf 0, twelve characters in EBX, EDX, ECX."""
    words = leaves.get("0.0", ())
    text = _characters([words[EBX], words[EDX], words[ECX]]) if len(words) == 4 else ""
    return MAKERS.get(text, text)


def brand(leaves: Leaves) -> str:
    """The name of the CPU: leaves 80000002 to 80000004, forty-eight characters."""
    parts = (leaves.get(f"8000000{leaf}.0", ()) for leaf in (2, 3, 4))
    return " ".join(_characters([word for part in parts for word in part]).split())


def _characters(words: Sequence[int]) -> str:
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return data.split(b"\0", 1)[0].decode("ascii", "replace").strip()
