"""What the CPUID instruction says, recorded from CPUs that there are and from those that QEMU plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machine_files import unpack
from solofile.runtime import cpuid, hardware
from solofile.runtime.cpuid import NAMES, decode, stated
from solofile.runtime.kernels import able

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("machines").joinpath("cpuid.json").read_text()
)

YMM = {"avx", "avx2", "fma", "f16c"}
SAPPHIRE_RAPIDS = {
    "arch": "x86_64",
    "leaves": {
        "0.0": [32, 0x756E6547, 0x6C65746E, 0x49656E69],
        "1.0": [0x806F8, 0, 0x7FFEFBFF, 0xBFEBFBFF],
        "7.0": [2, 0xF3BFBFFB, 0xFB417FFE, 0xFFDD4432],
        "7.1": [0x1C30, 0, 0, 0],
    },
    "xcr0": 0x602E7,
}
"""An Intel Xeon of the fourth generation: Intel's manuals and its published dumps."""


def found(name: str) -> cpuid.Processor:
    processor = decode(json.dumps(RECORDED[name]))
    assert processor is not None
    return processor


def changed(xcr0: int) -> frozenset[str]:
    processor = decode(json.dumps({**SAPPHIRE_RAPIDS, "xcr0": xcr0}))
    assert processor is not None
    return processor.features


def test_the_recorded_machine_as_linux_names_it(tmp_path: Path) -> None:
    """The same machine's /proc/cpuinfo lists exactly these, of those that are looked for."""
    by_linux = hardware.detect(unpack("kvm-2-cores", tmp_path))
    by_cpuid = found("kvm-2-cores")
    assert by_cpuid.features == by_linux.features & NAMES
    assert (by_cpuid.name, by_cpuid.vendor) == (by_linux.cpu, by_linux.vendor)
    asked = hardware.detect(str(tmp_path), lambda: json.dumps(RECORDED["kvm-2-cores"]))
    assert asked.features == by_cpuid.features
    assert hardware.identity(asked, str(tmp_path)) == hardware.identity(by_linux, str(tmp_path))


@pytest.mark.parametrize(
    ("name", "cpu", "vendor", "variant"),
    [
        ("qemu-Nehalem", "Intel Core i7 9xx (Nehalem Class Core i7)", "Intel", "sse42"),
        ("qemu-SandyBridge", "Intel Xeon E312xx (Sandy Bridge)", "Intel", "sandybridge"),
        ("qemu-Haswell", "Intel Core Processor (Haswell)", "Intel", "haswell"),
        ("qemu-Skylake-Server", "Intel Xeon Processor (Skylake)", "Intel", "haswell"),
        ("qemu-EPYC", "AMD EPYC Processor", "AMD", "haswell"),
    ],
)
def test_cpus_that_qemu_plays(name: str, cpu: str, vendor: str, variant: str) -> None:
    processor = found(name)
    assert (processor.name, processor.vendor) == (cpu, vendor)
    names = ["x64", "sse42", "sandybridge", "ivybridge", "piledriver", "haswell", "skylakex", "zen4"]
    assert able(names, processor.features)[0] == variant


def test_no_avx_before_there_was_avx() -> None:
    assert not {name for name in found("qemu-Nehalem").features if name.startswith("avx")}
    assert "sse4_2" in found("qemu-Nehalem").features


def test_what_the_system_does_not_save_is_not_there() -> None:
    everything = changed(0x602E7)
    assert everything >= YMM | {"avx512f", "avx512_fp16", "avx512_bf16", "avx_vnni", "vaes", "amx_int8", "amx_tile"}
    without_tiles = changed(0xE7)
    assert everything - without_tiles == {"amx_int8", "amx_tile", "amx_bf16"}
    without_zmm = changed(0x7)
    assert {name for name in without_zmm if name.startswith(("avx512", "amx"))} == set()
    assert without_zmm >= YMM
    assert changed(0x47) == without_zmm  # the masks alone are not enough
    assert changed(0xE3) & {"avx512f", "avx2"} == set()  # the lower halves of what AVX-512 widens are AVX's
    without_ymm = changed(0x3)
    assert not without_ymm & {*YMM, "avx_vnni", "vaes", "vpclmulqdq", "xop", "fma4"}
    assert {"sse4_2", "bmi2", "sha_ni", "gfni", "aes"} <= without_ymm


@pytest.mark.parametrize(
    ("leaf", "register", "bit", "name"),
    [
        ("1.0", 2, 12, "fma"), ("1.0", 2, 20, "sse4_2"), ("1.0", 2, 28, "avx"), ("1.0", 2, 29, "f16c"),
        ("7.0", 1, 5, "avx2"), ("7.0", 1, 8, "bmi2"), ("7.0", 1, 16, "avx512f"), ("7.0", 1, 17, "avx512dq"),
        ("7.0", 1, 28, "avx512cd"), ("7.0", 1, 30, "avx512bw"), ("7.0", 1, 31, "avx512vl"),
        ("7.0", 2, 1, "avx512vbmi"), ("7.0", 2, 11, "avx512_vnni"), ("7.0", 3, 24, "amx_tile"),
        ("7.0", 3, 25, "amx_int8"), ("7.1", 0, 4, "avx_vnni"), ("7.1", 0, 5, "avx512_bf16"),
    ],
)  # fmt: skip
def test_the_bits_of_what_kernels_are_compiled_for(leaf: str, register: int, bit: int, name: str) -> None:
    registers = [0, 0, 0, 0]
    registers[register] = 1 << bit
    assert stated({leaf: registers}) == {name}


def test_without_osxsave_nothing_is_saved() -> None:
    leaves = {**SAPPHIRE_RAPIDS["leaves"], "1.0": [0x806F8, 0, 0x7FFEFBFF & ~(1 << 27), 0xBFEBFBFF]}  # type: ignore[dict-item]
    processor = decode(json.dumps({"leaves": leaves, "xcr0": 0x602E7}))
    assert processor is not None
    assert not {name for name in processor.features if name.startswith(("avx", "amx"))}


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "{}", '{"arch":"aarch64"}', '{"leaves":{"0.0":[0,0,0,0]}}'])
def test_other_cpus_say_nothing(text: str, tmp_path: Path) -> None:
    assert decode(text) is None
    assert hardware.detect(unpack("rock-5b", tmp_path), lambda: text).cpu == "Cortex-A76 + Cortex-A55"
