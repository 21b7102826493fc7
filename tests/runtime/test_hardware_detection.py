"""Reading a machine: from texts that systems have, and from this machine itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from solofile.runtime import hardware
from solofile.runtime.hardware import (
    Hardware,
    count_cores,
    parse_cpu_list,
    parse_cpu_max,
    parse_cpuinfo,
    read_memory,
    read_quota,
)

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7571
flags\t\t: fpu sse2 avx2

processor\t: 1
model name\t: another
flags\t\t: none
"""


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def machine(allowed: int, cores: int, quota: float | None = None) -> Hardware:
    return Hardware("linux-x86_64", "", frozenset(), allowed, cores, quota)


def test_first_processor_counts() -> None:
    assert parse_cpuinfo(CPUINFO) == ("AMD EPYC 7571", frozenset({"fpu", "sse2", "avx2"}))
    assert parse_cpuinfo("") == ("", frozenset())


@pytest.mark.parametrize(
    ("allowed", "cores", "quota", "threads"),
    [(8, 4, None, 4), (1, 1, None, 1), (8, 8, 2.0, 2), (8, 8, 1.5, 1), (8, 8, 0.25, 1), (2, 2, 64.0, 2)],
)
def test_threads(allowed: int, cores: int, quota: float | None, threads: int) -> None:
    assert machine(allowed, cores, quota).threads == threads


def test_hardware_threads_of_one_core_count_once(tmp_path: Path) -> None:
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    root = write(tmp_path, {topology.format(cpu): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)})
    assert count_cores(range(8), root) == 4
    assert count_cores([0, 4], root) == 1
    assert count_cores([0, 1, 5], root) == 2


def test_slow_cores_do_not_count(tmp_path: Path) -> None:
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = {topology.format(cpu): f"{cpu}\n" for cpu in range(12)}
    root = write(tmp_path, {**files, "sys/devices/cpu_core/cpus": "0-3\n"})
    assert count_cores(range(12), root) == 4
    assert count_cores([10, 11], root) == 2


def test_without_topology_each_cpu_counts(tmp_path: Path) -> None:
    assert count_cores([0, 1, 2], str(tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("5", {5}), ("", set()), ("nonsense", set()), ("0-", {0})]
)
def test_cpu_lists(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("text", "quota"),
    [("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000", None), ("", None), ("-1 100000", None)],
)
def test_cpu_max(text: str, quota: float | None) -> None:
    assert parse_cpu_max(text) == quota


def test_the_tightest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/app\n",
            "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/user.slice/app/cpu.max": "max 100000\n",
        },
    )
    assert read_quota(root) == 1.5


def test_limits_of_the_first_kind_of_control_groups(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert read_quota(root) == 3.0


def test_memory_of_the_machine_or_of_the_container(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal:  8 kB\nMemAvailable:  4 kB\nBuffers: 9 kB\n"}
    assert read_memory(write(tmp_path, files)) == 4096
    files = {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "1024\n"}
    assert read_memory(write(tmp_path, files)) == 1024
    files = {"proc/self/cgroup": "2:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "2048\n"}
    assert read_memory(write(tmp_path, files)) == 2048
    assert read_memory(str(tmp_path / "nothing")) is None


def test_no_limit(tmp_path: Path) -> None:
    assert read_quota(str(tmp_path)) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_this_machine_and_its_affinity() -> None:
    before = os.sched_getaffinity(0)
    whole = hardware.detect()
    assert whole.allowed == len(before)
    assert 1 <= whole.threads <= whole.cores <= whole.allowed
    assert whole.cpu
    assert "sse2" in whole.features or not whole.target.endswith("x86_64")
    os.sched_setaffinity(0, {min(before)})
    try:
        assert hardware.detect().threads == 1
    finally:
        os.sched_setaffinity(0, before)
