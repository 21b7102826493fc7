"""Limits of control groups: where they are to be seen, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_files import write
from solofile.runtime.control_groups import Limits, find_groups, parse_cpu_max, read_limits
from solofile.runtime.group_mounts import locate, parse_mounts

ROOT_MOUNT = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def make(folder: Path, **files: str) -> str:
    """Files of a machine; ``proc__self__cgroup`` stands for ``proc/self/cgroup``."""
    for path, text in files.items():
        write(folder, path.replace("__", "/"), text.encode())
    return str(folder)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000", None), ("", None), ("-1 100000", None),
        ("100000 0", None), ("1 2 3", None),
    ],
)  # fmt: skip
def test_cpu_max(text: str, quota: float | None) -> None:
    assert parse_cpu_max(text) == quota


def test_no_control_groups(tmp_path: Path) -> None:
    assert read_limits(str(tmp_path)) == Limits()


def test_the_tightest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    root = make(tmp_path, proc__self__cgroup="0::/user.slice/app\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/cpu.max", b"150000 100000\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/app/cpu.max", b"max 100000\n")
    assert read_limits(root).quota == 1.5


def test_usual_places_without_a_list_of_mounts(tmp_path: Path) -> None:
    root = make(tmp_path, proc__self__cgroup="4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", b"300000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", b"100000\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", b"2048\n")
    assert read_limits(root) == Limits(3.0, 2048, 2048)


def test_both_kinds_side_by_side(tmp_path: Path) -> None:
    """CPUs by the first kind, memory by the second, which is mounted in a folder of its own."""
    mounts = (
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    root = make(
        tmp_path, proc__self__cgroup="2:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/a\n", proc__self__mountinfo=mounts
    )
    first, second = tmp_path / "sys/fs/cgroup/cpu,cpuacct/a", tmp_path / "sys/fs/cgroup/unified/a"
    for folder, files in (
        (first, {"cgroup.procs": "", "cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "50000"}),
        (
            second,
            {"cgroup.procs": "", "memory.max": "5000", "memory.current": "4000", "memory.stat": "active_file 100"},
        ),
    ):
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    assert read_limits(root) == Limits(3.0, 5000, 1100)


def test_a_process_outside_of_the_namespace_it_sees(tmp_path: Path) -> None:
    """What limits the container whose files it sees does not limit a process that came from elsewhere."""
    root = make(tmp_path, proc__self__cgroup="0::/../other\n", proc__self__mountinfo=ROOT_MOUNT)
    write(tmp_path, "sys/fs/cgroup/cpu.max", b"10000 100000\n")
    write(tmp_path, "sys/fs/cgroup/cgroup.procs", b"")
    write(tmp_path, "sys/fs/other/cpu.max", b"20000 100000\n")
    write(tmp_path, "sys/fs/other/cgroup.procs", b"")
    assert find_groups(root) == []
    assert read_limits(root).quota is None


@pytest.mark.parametrize(
    ("path", "shown", "folder"),
    [
        ("/docker/abc", "/", "m/docker/abc"),
        ("/docker/abc", "/docker/abc", "m"),
        ("/docker/abc/inner/most", "/docker/abc", "m/inner/most"),
        ("/docker/abcd", "/docker/abc", "m"),  # not below, though the text begins alike
        ("/", "/docker/abc", "m"),  # a namespace, and a mount from before it
        ("/", "/..", "m"),
        ("/../x", "/..", "m/x"),
        ("/a/../../x", "/", "m"),
    ],
)
def test_a_path_and_what_the_mount_shows(path: str, shown: str, folder: str) -> None:
    found = locate(False, "", path, parse_mounts(f"1 2 0:3 {shown} /m rw - cgroup2 cgroup2 rw"))
    assert found is not None
    assert found.folder == folder
    assert [*found.folders][-1] == "m"


def test_of_several_mounts_the_one_that_shows_most() -> None:
    lines = [
        "1 2 0:3 /docker/abc /inner rw - cgroup cgroup rw,memory",
        "1 2 0:3 / /with\\040space rw master:3 propagate_from:2 - cgroup none rw,memory,seclabel",
        "1 2 0:3 /docker /outer rw - cgroup cgroup rw,memory",
        "1 2 0:3 / /other rw - cgroup cgroup rw,cpu",
        "1 2 0:3 / /second rw - cgroup2 cgroup2 rw",
        "1 2 0:3 / /no rw - tmpfs cgroup rw",
    ]
    mounts = parse_mounts("\n".join(lines))
    found = locate(True, "memory", "/docker/abc", mounts)
    assert found is not None
    assert [*found.folders] == ["with space/docker/abc", "with space/docker", "with space"]
    assert locate(True, "pids", "/docker/abc", mounts) is None
    assert len(mounts) == 5
