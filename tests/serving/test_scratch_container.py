"""The container's root, made by hand as the Containerfile says, and entered as a container engine would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, free_port, wait_healthy
from solofile.runtime.hardware import target

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(target() != "linux-x86_64", reason="the Containerfile is for x86-64"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (Debian package util-linux)"),
]

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}

ENTER = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$1/keys"
mount -t tmpfs -o "mode=0700,uid=$3,gid=$3,nosuid,nodev" tmpfs "$1/cache"
mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
mount -o remount,bind,ro "$1"
root=$1 user=$3
shift 3
exec "$0" -c "$BECOME" "$root" "$user" "$@"
"""
"""Mounts as an engine makes them with --read-only and --tmpfs; then what is run is process 1."""

BECOME = """
import ctypes, os, sys
root, user, *words = sys.argv[1:]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new privileges
os.chroot(root)
os.chdir("/")
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
environment = {"SOLOFILE_CACHE": os.environ["SOLOFILE_CACHE"]}
os.execve(words[0], words, environment)
"""


class Image:
    """What the last stage of a Containerfile says."""

    def __init__(self, text: str) -> None:
        last = text.replace("\\\n", " ").rsplit("\nFROM ", 1)[1]
        assert last.startswith("scratch\n")
        self.steps = [line.split(maxsplit=1) for line in last.splitlines()[1:] if line and not line.startswith("#")]

    def one(self, word: str) -> str:
        (value,) = [value for name, value in self.steps if name == word]
        return value

    def make(self, root: Path, context: dict[str, Path]) -> None:
        """Copy what it copies: from another stage, which is this system; else from ``context``."""
        for name, value in self.steps:
            if name != "COPY":
                continue
            *options, target_name = value.split()
            flags = [word for word in options if word.startswith("--")]
            for source in options[len(flags) :]:
                goal = root / target_name.lstrip("/")
                goal = goal / Path(source).name if target_name.endswith("/") else goal
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source if "--from=system" in flags else context[source], goal)
                goal.chmod(0o755)
        for name in ("proc", "dev", "cache"):
            (root / name).mkdir()
        (root / "keys").touch()  # where an engine mounts what -v names
        for name, (major, minor) in DEVICES.items():
            os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            (root / "dev" / name).chmod(0o666)


@pytest.fixture(scope="module")
def image(serving: Path) -> Image:
    return Image((serving / "Containerfile").read_text())


@pytest.fixture(scope="module")
def root(image: Image, smollm2_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("container") / "root"
    made.mkdir(0o755)
    image.make(made, {"model.exe": smollm2_bundle})
    return made


@pytest.fixture
def container(image: Image, root: Path, tmp_path: Path) -> Iterator[Running]:
    """The container, running what ENTRYPOINT and CMD say, but on a free port."""
    keys, port = tmp_path / "keys", free_port()
    keys.write_text("sesame\n")
    keys.chmod(0o444)
    user = image.one("USER").split(":")[0]
    words = [*json.loads(image.one("ENTRYPOINT")), *json.loads(image.one("CMD"))]
    words[words.index("8080")] = str(port)
    name, value = image.one("ENV").split("=")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-c", ENTER, sys.executable]
    with subprocess.Popen(
        [*command, str(root), str(keys), user, *words], text=True,
        env={name: value, "PATH": os.environ["PATH"], "BECOME": BECOME},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            running = Running(process, port)
            wait_healthy(running)
            yield running
        finally:
            for pid in below(process.pid)[:1]:  # with process 1 the others end
                os.kill(pid, signal.SIGKILL)
            print(process.communicate(timeout=30)[1])


def below(pid: int) -> list[int]:
    """The processes that come from one, the first one first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [found for child in map(int, children) for found in (child, *below(child))]


def test_nothing_but_the_bundle_and_the_c_library(root: Path) -> None:
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    names = {Path(name).name for name in files - {"model.exe", "keys"}}
    assert "model.exe" in files
    assert names == {"ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"} | {
        "librt.so.1", "libutil.so.1",
    }  # fmt: skip


def test_it_answers_read_only_and_without_rights(container: Running) -> None:
    body = {"prompt": "Hello", "n_predict": 3}
    assert container.request("POST", "/completion", body)[0] == 401
    assert container.request("POST", "/completion", body, Authorization="Bearer sesame")[0] == 200
    pids = below(container.process.pid)
    assert len(pids) >= 2, "the launcher and the runtime"
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        (options,) = {mount[5] for mount in mounts if mount[4] == "/"}
        assert "ro" in options.split(",")
    names = {path.name for path in (Path(f"/proc/{pids[0]}/root") / "cache" / "solofile").iterdir()}
    assert "packs" in names


def test_it_ends_when_it_is_asked_to(container: Running) -> None:
    """Process 1 gets only the signals that it handles."""
    launcher = below(container.process.pid)[0]
    assert re.search(r"^NSpid:\t\d+\t1$", Path(f"/proc/{launcher}/status").read_text(), re.MULTILINE)
    os.kill(launcher, signal.SIGTERM)
    assert container.process.wait(20) == 0
