"""ARM CPUs on Linux: features from what the kernel passes to each program, names and kinds from their numbers.

Feature bits are those of the kernel's ``arch/arm64/include/uapi/asm/hwcap.h``, under the names that it shows in
``/proc/cpuinfo``; numbers of makers and parts are those that the makers publish for the register MIDR_EL1.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_AT_HWCAP, _AT_HWCAP2 = 16, 26

_HWCAP = """
    fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4
    asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg gcs
"""
_HWCAP2 = """
    dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16 dgh
    rng bti mte ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 smef16f32 smeb16f32 smef32f32 smefa64 wfxt ebf16
    sveebf16 cssc rprfm sve2p1 sme2 sme2p1 smei16i32 smebi32i32 smeb16b16 smef16f16 mops hbc sveb16b16 lrcpc3 lse128
    fpmr lut faminmax f8cvt f8fma f8dp4 f8dp2 f8e4m3 f8e5m2 smelutv2 smef8f16 smef8f32 smesf8fma smesf8dp4 smesf8dp2 poe
"""
"""Names of the bits, from bit 0 on."""

_MAKERS = {
    0x41: "ARM", 0x42: "Broadcom", 0x43: "Cavium", 0x46: "Fujitsu", 0x48: "HiSilicon", 0x4E: "NVIDIA", 0x50: "APM",
    0x51: "Qualcomm", 0x53: "Samsung", 0x61: "Apple", 0x6D: "Microsoft", 0x70: "Phytium", 0xC0: "Ampere",
}  # fmt: skip

_PARTS = {
    (0x41, 0xD03): "Cortex-A53", (0x41, 0xD04): "Cortex-A35", (0x41, 0xD05): "Cortex-A55", (0x41, 0xD06): "Cortex-A65",
    (0x41, 0xD07): "Cortex-A57", (0x41, 0xD08): "Cortex-A72", (0x41, 0xD09): "Cortex-A73", (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76", (0x41, 0xD0C): "Neoverse-N1", (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1", (0x41, 0xD41): "Cortex-A78", (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1", (0x41, 0xD46): "Cortex-A510", (0x41, 0xD47): "Cortex-A710", (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2", (0x41, 0xD4A): "Neoverse-E1", (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4C): "Cortex-X1C", (0x41, 0xD4D): "Cortex-A715", (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2", (0x41, 0xD80): "Cortex-A520", (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4", (0x41, 0xD84): "Neoverse-V3", (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725", (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0AF): "ThunderX2", (0x46, 0x001): "A64FX", (0x48, 0xD01): "Kunpeng-920", (0x4E, 0x004): "Carmel",
    (0x51, 0x001): "Oryon", (0x51, 0x802): "Kryo 385 Gold", (0x51, 0x803): "Kryo 385 Silver",
    (0x51, 0x804): "Kryo 485 Gold", (0x51, 0x805): "Kryo 485 Silver",
    (0x61, 0x022): "M1 Icestorm", (0x61, 0x023): "M1 Firestorm", (0x61, 0x024): "M1 Pro Icestorm",
    (0x61, 0x025): "M1 Pro Firestorm", (0x61, 0x028): "M1 Max Icestorm", (0x61, 0x029): "M1 Max Firestorm",
    (0x61, 0x032): "M2 Blizzard", (0x61, 0x033): "M2 Avalanche",
    (0x6D, 0xD49): "Cobalt 100", (0xC0, 0xAC3): "AmpereOne", (0xC0, 0xAC4): "AmpereOne",
}  # fmt: skip

_SLOW = {
    *((0x41, part) for part in (0xD03, 0xD04, 0xD05, 0xD46, 0xD80)),
    *((0x51, part) for part in (0x803, 0x805)),
    *((0x61, part) for part in (0x022, 0x024, 0x028, 0x032)),
}
"""Parts that are the slow ones wherever there are others."""


class Part(NamedTuple):
    """What one CPU is: numbers of its maker and of its design."""

    maker: int
    number: int

    @property
    def name(self) -> str:
        """Such as ``Cortex-A76``; the numbers where the part is not known."""
        return _PARTS.get(self, f"{self.vendor or hex(self.maker)} part {self.number:#x}")

    @property
    def vendor(self) -> str:
        """Who made it, as people say; empty where the number is not known."""
        return _MAKERS.get(self.maker, "")

    @property
    def slow(self) -> bool:
        """Is it a design that goes beside faster ones?"""
        return tuple(self) in _SLOW


def parse_auxv(data: bytes) -> frozenset[str]:
    """Features from ``/proc/self/auxv``: pairs of 64-bit words, (kind, value), of a program of 64 bits."""
    whole = data[: len(data) // 16 * 16]
    words = dict(struct.iter_unpack("<QQ", whole))
    return frozenset((*_names(words.get(_AT_HWCAP, 0), _HWCAP), *_names(words.get(_AT_HWCAP2, 0), _HWCAP2)))


def _names(bits: int, names: str) -> list[str]:
    return [name for bit, name in enumerate(names.split()) if bits >> bit & 1]


def parse_parts(cpuinfo: str) -> dict[int, Part]:
    """Which part each CPU of ``/proc/cpuinfo`` is."""
    parts: dict[int, Part] = {}
    cpu = maker = -1
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if key == "processor" and value.isdecimal():
            cpu = int(value)
        elif key == "CPU implementer":
            maker = _hexadecimal(value)
        elif key == "CPU part" and cpu >= 0:
            parts[cpu] = Part(maker, _hexadecimal(value))
    return parts


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1


def describe_parts(parts: dict[int, Part]) -> tuple[str, str]:
    """The name for all of them, such as ``Cortex-A76 + Cortex-A55`` (the fast first), and the maker."""
    different = sorted(set(parts.values()), key=lambda part: (part.slow, -part.number))
    names = dict.fromkeys(part.name for part in different)
    return " + ".join(names), different[0].vendor if different else ""
