"""GPUs from /sys: names, drivers and places that the recorded machines do not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_files import write
from solofile.runtime.gpus import parse_nvidia_version, pci_name, read_gpus
from solofile.runtime.hardware import Gpu

IDS = b"""#
#\tList of PCI ID's
#
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t164e  Raphael
\t\t1043 8877  a board
\t73df  Navi 22 [Radeon RX 6700/6700 XT/6750 XT]
# a remark
10de  NVIDIA Corporation
\t2504  GA106 [GeForce RTX 3060 Lite Hash Rate]
ffff  Illegal Vendor ID
\t9999  the end"""


def add(folder: Path, node: str, maker: str, device: str, *, kind: str = "0x030000", driver: str = "") -> Path:
    """A PCI device."""
    place = folder / "sys/bus/pci/devices" / node
    for name, text in {"class": kind, "vendor": f"0x{maker}", "device": f"0x{device}"}.items():
        write(place, name, f"{text}\n".encode())
    if driver:
        (place / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    return place


@pytest.mark.parametrize(
    ("maker", "device", "name"),
    [
        ("1002", "164e", "Raphael"),
        ("1002", "73df", "Radeon RX 6700/6700 XT/6750 XT"),
        ("10de", "2504", "GeForce RTX 3060 Lite Hash Rate"),
        ("1002", "2504", ""),  # another maker's number
        ("1002", "1043", ""),  # a board's, not a device's
        ("8086", "164e", ""),
        ("ffff", "9999", "the end"),
    ],
)
def test_names_of_pci_devices(maker: str, device: str, name: str) -> None:
    assert pci_name(IDS, maker, device) == name


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (u@h)\n", "550.54.14"),
        ("GCC version 12.3.0\n", "12.3.0"),
        ("", ""),
    ],
)
def test_version_of_nvidias_driver(text: str, version: str) -> None:
    assert parse_nvidia_version(text) == version


def test_no_driver_and_no_names(tmp_path: Path) -> None:
    add(tmp_path, "0000:01:00.0", "10de", "2504", kind="0x030200")
    add(tmp_path, "0000:00:1f.0", "8086", "7a84", kind="0x060100")
    assert read_gpus(str(tmp_path)) == (Gpu("NVIDIA GPU 2504", "NVIDIA", "", "", "discrete", "0000:01:00.0"),)


@pytest.mark.parametrize(
    ("node", "maker", "kind"),
    [
        ("0000:00:02.0", "8086", "integrated"),
        ("0000:03:00.0", "8086", "discrete"),
        ("0000:00:01.0", "1002", "integrated"),
        ("0000:03:00.0", "1002", "discrete"),
        ("0000:00:05.0", "10de", "discrete"),  # handed to a virtual machine
        ("0000:00:01.0", "1af4", ""),
    ],
)
def test_a_card_or_a_part_of_the_processor(node: str, maker: str, kind: str, tmp_path: Path) -> None:
    add(tmp_path, node, maker, "1050", driver="some")
    assert [gpu.kind for gpu in read_gpus(str(tmp_path))] == [kind]


def test_what_is_no_gpu_of_its_own(tmp_path: Path) -> None:
    add(tmp_path, "0000:02:00.0", "1a03", "2000", driver="ast")
    add(tmp_path, "0000:04:00.0", "8086", "1234", kind="0x120000")
    (add(tmp_path, "0000:00:02.1", "8086", "4680", driver="i915") / "physfn").symlink_to("../0000:00:02.0")
    assert read_gpus(str(tmp_path)) == ()


def test_versions_of_drivers(tmp_path: Path) -> None:
    add(tmp_path, "0000:01:00.0", "10de", "2504", driver="nvidia")
    add(tmp_path, "0000:02:00.0", "1002", "73df", driver="amdgpu")
    add(tmp_path, "0000:03:00.0", "10de", "2504", driver="vfio-pci")
    write(tmp_path, "sys/module/nvidia/version", b"570.1.2\n")
    write(tmp_path, "proc/sys/kernel/osrelease", b"6.9.0\n")
    assert [gpu.driver_version for gpu in read_gpus(str(tmp_path))] == ["570.1.2", "6.9.0", "6.9.0"]


def test_drivers_of_the_makers_on_android(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/kgsl/kgsl-3d0/gpu_model", b"Adreno740v2\n")
    write(tmp_path, "proc/sys/kernel/osrelease", b"5.15.1-android13\n")
    adreno = Gpu("Qualcomm Adreno740v2", "Qualcomm", "kgsl", "5.15.1-android13", "integrated", "kgsl")
    assert read_gpus(str(tmp_path)) == (adreno,)
    write(tmp_path, "sys/class/misc/mali0/device/gpuinfo", b"Mali-G610 4 cores r0p0 0xA8670000\n")
    assert [gpu.name for gpu in read_gpus(str(tmp_path))] == ["Qualcomm Adreno740v2", "ARM Mali-G610"]
