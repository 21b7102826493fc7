"""Machines of which the files of /proc and /sys were recorded, or written as their documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_files import unpack
from solofile.runtime.hardware import Cache, Gpu, Hardware, detect

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Hardware:
    """The machine that a test names."""
    return detect(unpack(request.param, tmp_path))


def of(name: str) -> pytest.MarkDecorator:
    """Gives a test the machine of that name."""
    return pytest.mark.parametrize("machine", [name], indirect=True, ids=[name])


@of("kvm-2-cores")
def test_virtual_machine(machine: Hardware) -> None:
    assert (machine.cpu, machine.vendor) == ("AMD EPYC", "AMD")
    assert (machine.sockets, machine.cores, machine.logical, machine.threads) == (1, 2, 2, 2)
    assert machine.caches == (
        Cache(1, "data", 32 << 10, 2),
        Cache(1, "instruction", 64 << 10, 2),
        Cache(2, "unified", 512 << 10, 2),
        Cache(3, "unified", 8192 << 10, 1),
    )
    assert (machine.quota, machine.memory_limit, machine.gpus) == (None, None, ())
    assert machine.memory_total == 24_683_656 * 1024
    assert {"avx2", "fma", "sha_ni"} <= machine.features


@of("docker-cgroup2")
def test_container_of_the_second_kind(machine: Hardware) -> None:
    assert (machine.cores, machine.allowed, machine.quota, machine.threads) == (8, 16, 1.5, 1)
    assert machine.memory_limit == 2 * GIB
    assert machine.memory == (2048 - 1200 + 300 + 500 + 20) * MIB  # what caches files can be had again
    assert machine.memory_total == 62 * GIB
    assert machine.swap_free == 0
    assert machine.gpus == ()  # the board's picture computes nothing


@of("nested-cgroup2")
def test_limits_of_the_groups_above(machine: Hardware) -> None:
    assert (machine.quota, machine.threads) == (2.5, 2)
    assert machine.memory_limit == 6 * GIB  # memory.high of its own group
    assert machine.memory == (8 - 5 + 1) * GIB  # of the group above, which another service uses too
    assert machine.swap_free == 768 * MIB


@of("docker-cgroup1")
def test_container_of_the_first_kind(machine: Hardware) -> None:
    assert (machine.logical, machine.allowed, machine.allowed_cores) == (16, 8, 4)
    assert (machine.quota, machine.threads) == (3.0, 3)
    assert machine.memory_limit == 4 * GIB
    assert machine.memory == (4096 - 3072 + 1536) * MIB
    assert machine.swap_free == (6144 - 3584 + 1536) * MIB - machine.memory


@of("kubernetes")
def test_limit_of_a_pod_that_is_out_of_sight(machine: Hardware) -> None:
    assert (machine.quota, machine.threads) == (0.5, 1)
    assert (machine.memory_limit, machine.memory) == (GIB, 512 * MIB)


@of("alder-lake")
def test_hybrid_with_two_gpus(machine: Hardware) -> None:
    assert (machine.cores, machine.logical) == (12, 20)
    assert (machine.performance_cores, machine.efficiency_cores) == (8, 4)
    assert (machine.allowed, machine.allowed_cores, machine.threads) == (20, 8, 8)
    assert machine.caches == (
        Cache(1, "data", 32 << 10, 4),
        Cache(1, "data", 48 << 10, 8),
        Cache(1, "instruction", 32 << 10, 8),
        Cache(1, "instruction", 64 << 10, 4),
        Cache(2, "unified", 1280 << 10, 8),
        Cache(2, "unified", 2048 << 10, 1),
        Cache(3, "unified", 25600 << 10, 1),
    )
    assert machine.gpus == (
        Gpu("Intel AlderLake-S GT1", "Intel", "i915", "6.8.0-45-generic", "integrated", "0000:00:02.0"),
        Gpu("NVIDIA GeForce RTX 3060", "NVIDIA", "nvidia", "535.183.01", "discrete", "0000:01:00.0"),
    )


@pytest.mark.parametrize(("cpus", "cores"), [("16-19", 4), ("16", 1), ("0-1,16-19", 1), ("0,2,4-5", 3)])
def test_hybrid_of_which_some_is_allowed(cpus: str, cores: int, tmp_path: Path) -> None:
    machine = detect(unpack("alder-lake", tmp_path, proc__self__status=f"Cpus_allowed_list:\t{cpus}\n"))
    assert (machine.allowed_cores, machine.threads) == (cores, cores)


def test_threads_that_are_switched_off(tmp_path: Path) -> None:
    unpack("alder-lake", tmp_path)
    cpus = tmp_path / "sys/devices/system/cpu"
    (cpus / "online").write_text("0,2,4,6,8,10,12,14,16-19\n")
    (cpus / "smt/active").write_text("0\n")
    machine = detect(str(tmp_path))
    assert (machine.cores, machine.logical, machine.allowed, machine.allowed_cores) == (12, 12, 12, 8)


@of("ryzen-7950x3d")
def test_two_sizes_of_last_level_caches(machine: Hardware) -> None:
    assert (machine.cores, machine.logical, machine.threads) == (16, 32, 16)
    assert machine.caches[-2:] == (Cache(3, "unified", 32 * MIB, 1), Cache(3, "unified", 96 * MIB, 1))
    assert machine.caches[2] == Cache(2, "unified", MIB, 16)
    assert machine.gpus == (
        Gpu(
            "AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M", "AMD", "amdgpu", "6.10.6-arch1-1", "discrete",
            "0000:03:00.0",
        ),
        Gpu("AMD Raphael", "AMD", "amdgpu", "6.10.6-arch1-1", "integrated", "0000:13:00.0"),
    )  # fmt: skip


@of("xeon-2-sockets")
def test_two_sockets(machine: Hardware) -> None:
    assert (machine.sockets, machine.cores, machine.logical, machine.threads) == (2, 40, 80, 40)
    assert [(node.number, len(node.cpus), min(node.cpus)) for node in machine.numa] == [(0, 40, 0), (1, 40, 20)]
    assert machine.numa[1].memory_total == int(188.5 * GIB)
    assert machine.caches[-1] == Cache(3, "unified", 28160 << 10, 2)
    assert machine.gpus == ()


def test_confined_to_one_node_of_memory(tmp_path: Path) -> None:
    status = "Cpus_allowed_list:\t20-39\nMems_allowed_list:\t1\n"
    machine = detect(unpack("xeon-2-sockets", tmp_path, proc__self__status=status))
    assert (machine.allowed, machine.allowed_cores) == (20, 20)
    assert machine.memory == machine.numa[1].memory_free < 160 * GIB


def test_memory_that_is_near_to_no_cpu(tmp_path: Path) -> None:
    """Such as a GPU's, or one of high bandwidth."""
    unpack("xeon-2-sockets", tmp_path)
    nodes = tmp_path / "sys/devices/system/node"
    (nodes / "online").write_text("0-2\n")
    (nodes / "node2").mkdir()
    (nodes / "node2/cpulist").write_text("\n")
    (nodes / "node2/meminfo").write_text("Node 2 MemTotal:  1048576 kB\nNode 2 MemFree:  1048576 kB\n")
    assert [node.number for node in detect(str(tmp_path)).numa] == [0, 1]


def test_a_limit_above_what_there_is_limits_nothing(tmp_path: Path) -> None:
    unpack("docker-cgroup2", tmp_path)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{63 * GIB}\n")
    assert detect(str(tmp_path)).memory_limit is None


@of("epyc-2-sockets")
def test_four_nodes(machine: Hardware) -> None:
    assert (machine.sockets, machine.cores, machine.logical, machine.threads) == (2, 128, 256, 128)
    assert [len(node.cpus) for node in machine.numa] == [64, 64, 64, 64]
    assert machine.caches[-1] == Cache(3, "unified", 32 * MIB, 16)
    assert machine.gpus == (Gpu("AMD GPU 740f", "AMD", "amdgpu", "6.7.0", "discrete", "0000:22:00.0"),)


@of("rock-5b")
def test_big_and_little(machine: Hardware) -> None:
    assert (machine.cpu, machine.vendor) == ("Cortex-A76 + Cortex-A55", "ARM")
    assert (machine.sockets, machine.cores, machine.performance_cores, machine.threads) == (1, 8, 4, 4)
    assert "asimddp" in machine.features
    assert "i8mm" not in machine.features
    assert machine.gpus == (
        Gpu("ARM Mali (rockchip,rk3588-mali)", "ARM", "panthor", "6.12.4-rockchip", "integrated", "fb000000.gpu"),
    )


@pytest.mark.parametrize("known", ["capacity", "designs", "clocks", "nothing"])
def test_what_tells_big_from_little(known: str, tmp_path: Path) -> None:
    unpack("rock-5b", tmp_path)
    cpus = tmp_path / "sys/devices/system/cpu"
    cpuinfo = tmp_path / "proc/cpuinfo"
    if known != "capacity":
        for file in cpus.glob("cpu*/cpu_capacity"):
            file.unlink()
    if known != "clocks":
        for file in cpus.glob("cpu*/cpufreq/cpuinfo_max_freq"):
            file.unlink()
    else:
        (cpus / "cpu0/cpufreq/cpuinfo_max_freq").write_text("1700000\n")
    if known != "designs":
        cpuinfo.write_text(cpuinfo.read_text().replace("0xd05", "0xfff"))
    machine = detect(str(tmp_path))
    assert machine.performance_cores == (8 if known == "nothing" else 4)
    assert machine.cpu.startswith("Cortex-A76 + " if known == "designs" else "ARM part 0xfff + Cortex-A76")


@of("raspberry-pi-5")
def test_pretended_nodes(machine: Hardware) -> None:
    assert (machine.cpu, machine.cores, machine.threads) == ("Cortex-A76", 4, 4)
    assert [node.number for node in machine.numa] == [0]
    assert machine.numa[0].memory_total > 7 * GIB
    assert machine.memory == int(6.9 * 1024 * 1024) * 1024
    assert [gpu.name for gpu in machine.gpus] == ["Broadcom VideoCore (brcm,2712-v3d)"]


@of("graviton-3")
def test_server_of_arm(machine: Hardware) -> None:
    assert (machine.cpu, machine.sockets, machine.cores, machine.threads) == ("Neoverse-V1", 1, 64, 64)
    assert {"sve", "i8mm", "bf16", "asimddp", "asimdhp", "svebf16"} <= machine.features
    assert not machine.features & {"sve2", "sme"}
    assert machine.efficiency_cores == 0


def test_features_where_the_kernel_passes_none(tmp_path: Path) -> None:
    machine = detect(unpack("graviton-3", tmp_path, proc__self__auxv=""))
    assert {"sve", "i8mm"} <= machine.features


@of("wsl2")
def test_linux_in_windows(machine: Hardware) -> None:
    assert (machine.cores, machine.logical, machine.quota) == (8, 16, None)
    assert machine.gpus == (
        Gpu(
            "Microsoft GPU of the Windows host", "Microsoft", "dxgkrnl", "nvlti.inf_amd64_5f8c2a", "",
            "be1f:00:00.0",
        ),
    )  # fmt: skip
