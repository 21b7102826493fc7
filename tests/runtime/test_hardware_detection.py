"""Reading a machine: the rule for threads, what identifies a machine, and this machine itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine_files import NAMES, unpack, watched
from solofile.runtime import hardware
from solofile.runtime.hardware import Gpu, Hardware, describe, identity, short_name
from solofile.runtime.hardware_linux import machine_memory, parse_cpuinfo
from solofile.runtime.system_files import parse_cpu_list, parse_fields

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7571
flags\t\t: fpu sse2 avx2

processor\t: 1
model name\t: another
flags\t\t: none
"""

CONTROL_GROUPS = Path("/sys/fs/cgroup")


@pytest.mark.parametrize(
    ("allowed", "cores", "quota", "threads"),
    [
        (8, 4, None, 4),
        (1, 1, None, 1),
        (8, 8, 2.0, 2),
        (8, 8, 1.5, 1),
        (8, 8, 0.5, 1),
        (8, 8, 0.25, 1),
        (2, 2, 64.0, 2),
    ],
)
def test_threads(allowed: int, cores: int, quota: float | None, threads: int) -> None:
    machine = Hardware("linux-x86_64", allowed=allowed, allowed_cores=cores, cores=99, logical=99, quota=quota)
    assert machine.threads == threads


def test_first_processor_counts() -> None:
    assert parse_cpuinfo(CPUINFO) == ("AMD EPYC 7571", "AMD", frozenset({"fpu", "sse2", "avx2"}))
    assert parse_cpuinfo("") == ("", "", frozenset())


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("5", {5}), ("", set()), ("nonsense", set()), ("0-", {0})]
)
def test_cpu_lists(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


def test_memory_of_an_old_kernel() -> None:
    old = "MemTotal:  16 kB\nMemFree:  4 kB\nBuffers: 1 kB\nCached: 2 kB\n"
    assert machine_memory(parse_fields(old)) == 7 * 1024
    assert machine_memory(parse_fields(old + "MemAvailable: 3 kB\n")) == 3 * 1024
    assert machine_memory({}) is None


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    machine = hardware.detect(str(tmp_path))
    assert (machine.features, machine.gpus, machine.memory, machine.quota) == (frozenset(), (), None, None)
    assert machine.cores == machine.logical == machine.allowed == os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_this_machine_and_its_affinity() -> None:
    before = os.sched_getaffinity(0)
    whole = hardware.detect()
    assert whole.allowed == len(before)
    assert 1 <= whole.threads <= whole.allowed_cores <= whole.cores <= whole.logical
    assert whole.allowed_cores <= whole.allowed <= whole.logical
    assert whole.cores == whole.performance_cores + whole.efficiency_cores
    assert whole.cpu
    assert whole.vendor
    assert whole.memory is not None
    assert whole.memory_total is not None
    assert 0 < whole.memory <= whole.memory_total
    assert "sse2" in whole.features or not whole.target.endswith("x86_64")
    os.sched_setaffinity(0, {min(before)})
    try:
        one = hardware.detect()
    finally:
        os.sched_setaffinity(0, before)
    assert (one.threads, one.allowed, one.allowed_cores) == (1, 1, 1)
    assert (one.cores, one.logical) == (whole.cores, whole.logical)
    assert identity(one) != identity(whole) or whole.allowed == 1


def test_few_files_are_read_of_a_machine_of_256_cpus(tmp_path: Path) -> None:
    root = unpack("epyc-2-sockets", tmp_path)
    opened: list[str] = []
    with watched("open", opened.append):
        assert hardware.detect(root).logical == 256
    # A file takes less than 10 microseconds; one for each core tells which CPUs are its threads.
    assert len(opened) < 300
    assert len(set(opened)) == len(opened)


def test_identity_is_of_the_machine_and_not_of_the_moment(tmp_path: Path) -> None:
    root = unpack("alder-lake", tmp_path)
    machine = hardware.detect(root)
    known = identity(machine, root)
    assert len(known) == 16
    assert int(known, 16)
    assert identity(machine._replace(memory=1, swap_free=1), root) == known
    for change in (
        {"cpu": "another"},
        {"features": machine.features - {"avx2"}},
        {"allowed": 3},
        {"quota": 1.5},
        {"gpus": (machine.gpus[0], machine.gpus[1]._replace(driver_version="550.54"))},
        {"gpus": machine.gpus[:1]},
    ):
        assert identity(machine._replace(**change), root) != known, change


def test_identity_heeds_the_files_of_vulkan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, seen = Hardware("linux-x86_64"), set()

    def differs() -> bool:
        before = len(seen)
        seen.add(identity(machine, str(tmp_path)))
        return len(seen) > before

    def make(path: str, content: bytes = b"{}") -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    assert differs()
    assert not differs()
    loader = make("usr/lib/libvulkan.so.1", b"loader")
    assert differs()
    make("opt/mesa/libvulkan.so.1", b"a loader of one's own")
    assert not differs()
    make("etc/ld.so.cache", b"glibc-ld.so.cache1.1\0libvulkan.so.1\0/opt/mesa/libvulkan.so.1\0")
    assert differs()
    os.utime(loader, ns=(1, 1))
    assert differs()
    make("usr/share/vulkan/icd.d/radeon_icd.x86_64.json")
    assert differs()
    make("etc/passwd", f"daemon:x:4711:1::/:\nuser:x:{os.getuid()}:1::/home/user:/bin/sh\n".encode())
    assert not differs()
    make("home/user/.local/share/vulkan/icd.d/mine.json")
    assert differs()
    make("usr/share/vulkan/icd.d/README")
    assert not differs()
    make("elsewhere/vulkan/icd.d/driver.json")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, "/elsewhere")
    assert not differs()  # what the environment names is not loaded


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel Xeon E5-2680 v4"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "12th Gen Intel Core i7-12700K"),
        ("AMD Ryzen 7 5700G with Radeon Graphics", "AMD Ryzen 7 5700G"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
        ("Apple M2 Pro", "Apple M2 Pro"),
        ("", ""),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_machine_in_words() -> None:
    plain = Hardware(
        "linux-x86_64", cpu="AMD EPYC", cores=2, logical=2, performance_cores=2, allowed=2, allowed_cores=2,
        features=frozenset({"sse4_2", "avx", "avx2"}), memory_total=47 << 29, memory=21 << 30,
    )  # fmt: skip
    assert describe(plain) == "AMD EPYC, 2 cores, AVX2; 23.5 GB of memory, 21.0 GB free; no GPU"
    limited = plain._replace(allowed=1, quota=0.5, memory_limit=2 << 30, gpus=(Gpu("NVIDIA GeForce RTX 3060"),))
    assert describe(limited) == (
        "AMD EPYC, 2 cores, AVX2, 1 of 2 CPUs allowed, limited to 0.5 CPUs; "
        "23.5 GB of memory, 2.0 GB allowed, 21.0 GB free; NVIDIA GeForce RTX 3060"
    )
    assert describe(Hardware("linux-aarch64")) == "linux-aarch64, 1 core; no GPU"


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_machine_makes_sense(name: str, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    machine = hardware.detect(root)
    assert 1 <= machine.threads <= machine.allowed_cores <= machine.cores <= machine.logical
    assert machine.cores == machine.performance_cores + machine.efficiency_cores
    assert machine.memory is not None
    assert machine.memory_total is not None
    assert 0 < machine.memory <= min(machine.memory_total, machine.memory_limit or machine.memory_total)
    assert describe(machine).startswith(("AMD", "Intel", "1", "2 x", "Cortex", "Neoverse"))
    assert hardware.detect(root) == machine


DETECT = """
import sys
from solofile.runtime.hardware import detect
found = detect()
print(found.quota, found.threads, found.allowed, found.memory_limit, found.memory)
"""


class FirstKind:
    """Control groups of the first kind, made for one test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.made: list[Path] = []

    def make(self, controller: str, *inner: str, **limits: str) -> Path:
        folder = CONTROL_GROUPS.joinpath(controller, self.name, *inner)
        folder.mkdir()
        self.made.append(folder)
        for file, value in limits.items():
            (folder / f"{controller}.{file}").write_text(value)
        return folder

    def detect(self, *groups: Path) -> list[str]:
        """What detection finds in a process that is in these groups."""
        joined = "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
        command = ["/bin/sh", "-c", f'{joined} exec "$@"', "sh", sys.executable, "-c", DETECT]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()


@pytest.fixture
def first_kind() -> Iterator[FirstKind]:
    if not os.access(CONTROL_GROUPS / "cpu/cpu.cfs_quota_us", os.W_OK):
        pytest.skip("this machine lets no control groups of the first kind be made")
    groups = FirstKind(f"solofile-test-{os.getpid()}")
    yield groups
    for folder in reversed(groups.made):
        folder.rmdir()


def test_a_quota_of_this_machine(first_kind: FirstKind) -> None:
    outer = first_kind.make("cpu", cfs_quota_us="50000")
    assert first_kind.detect(outer)[:2] == ["0.5", "1"]
    assert first_kind.detect(first_kind.make("cpu", "inner"))[:2] == ["0.5", "1"]


def test_a_limit_of_memory_of_this_machine(first_kind: FirstKind) -> None:
    first_kind.make("memory", limit_in_bytes=str(1 << 30))
    limit, memory = first_kind.detect(first_kind.make("memory", "inner"))[3:]
    assert int(limit) == 1 << 30
    assert (1 << 30) - (256 << 20) < int(memory) < 1 << 30


def test_cpus_that_a_group_of_this_machine_leaves(first_kind: FirstKind) -> None:
    group = first_kind.make("cpuset")
    (group / "cpuset.mems").write_text("0")
    (group / "cpuset.cpus").write_text("0")
    assert first_kind.detect(group)[1:3] == ["1", "1"]
