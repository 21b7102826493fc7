"""What medium the model lies on: a stick, a hard disk, a network drive, ….

On Linux it is found from the mount table and ``/sys/dev/block``; elsewhere it is unknown, which changes no more than
what is said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "davfs",
}
_NETWORK |= {
    f"fuse.{name}" for name in ("sshfs", "rclone", "s3fs", "gcsfuse", "glusterfs", "cephfs", "davfs2", "mount-s3")
}
_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
_VIRTUAL = ("vd", "xvd", "hv", "pmem")
_REMOTE = ("nbd", "rbd", "drbd")
_DEPTH = 8
"""Loop devices on loop devices are followed so far."""


class Medium(NamedTuple):
    """Where a file lies. ``words`` name it in a sentence; ``key`` names this very one, for what is remembered of it."""

    kind: str  # stick, card, disc, disk, flash, virtual, network, memory, unknown
    words: str
    key: str = ""
    removable: bool = False

    @property
    def slow(self) -> bool:
        """Is it of a kind that is known to be slow?"""
        return self.kind in ("stick", "card", "disc", "disk", "network")

    @property
    def worth_copying(self) -> bool:
        """Does a copy on this machine's own disk pay? A stick is pulled out, a network is shared."""
        return self.removable or self.kind in ("stick", "card", "disc", "network")


UNKNOWN = Medium("unknown", "its medium")


class Mount(NamedTuple):
    """One line of the mount table: ``source`` is the device, or whatever the file system has in its place."""

    point: str
    filesystem: str
    source: str


def find(path: str, root: str = "/", *, device: int | None = None) -> Medium:
    """The medium of the file ``path``; never raises. ``root`` stands for ``/`` so that tests can show other machines.

    ``device`` is the file's st_dev where a test has no such device.
    """
    if not sys.platform.startswith("linux"):
        return UNKNOWN
    try:
        real = os.path.realpath(path)
        number = os.stat(real).st_dev if device is None else device  # noqa: PTH116
        return _find(real, number, root.rstrip("/"), _DEPTH)
    except OSError:
        return UNKNOWN


def _find(path: str, device: int, root: str, depth: int) -> Medium:
    mount = mount_of(path, _read(f"{root}/proc/self/mountinfo", 1 << 20).splitlines())
    if mount is not None and mount.filesystem in _NETWORK:
        return Medium("network", f"a network drive ({mount.filesystem.removeprefix('fuse.')})", f"net:{mount.source}")
    if mount is not None and mount.filesystem in _MEMORY:
        return Medium("memory", "memory", "memory")
    block = f"{root}/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    if os.major(device) == 0 and mount is not None and mount.source.startswith("/dev/"):
        # btrfs and others have device numbers of their own
        block = f"{root}/sys/class/block/{os.path.realpath(mount.source).rpartition('/')[2]}"
    return _block(block, root, depth)


def mount_of(path: str, lines: Iterable[str]) -> Mount | None:
    """The mount that ``path`` (absolute, no links) lies in, from the lines of ``/proc/self/mountinfo``."""
    best = None
    for line in lines:
        words, _, rest = line.partition(" - ")
        fields, more = words.split(), rest.split()
        if len(fields) < 5 or len(more) < 2:
            continue
        point = _unescaped(fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):  # of two on one point, the later lies on top
            best = Mount(point, more[0], _unescaped(more[1]))
    return best


def _unescaped(text: str) -> str:
    """Spaces and the like stand as \\040 in the mount table."""
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else "\\" + part for part in rest)


def _block(folder: str, root: str, depth: int) -> Medium:
    """The medium of a block device, from its folder in /sys: through partitions, device mapper, RAID and loops."""
    real = os.path.realpath(folder)
    if depth == 0 or not os.path.isdir(real):  # noqa: PTH112
        return UNKNOWN
    if os.path.exists(f"{real}/partition"):  # noqa: PTH110
        return _block(real.rpartition("/")[0], root, depth - 1)
    below = _listing(f"{real}/slaves")
    if below:
        found = [_block(f"{real}/slaves/{name}", root, depth - 1) for name in below]
        return max(found, key=lambda medium: (medium.slow, medium.removable))
    backing = _read(f"{real}/loop/backing_file").rstrip("\n")
    if backing:
        return _backing(backing, root, depth)
    return _disk(real)


def _backing(path: str, root: str, depth: int) -> Medium:
    """The medium of the file behind a loop device, which may be out of sight."""
    try:
        found = os.stat(root + path)  # noqa: PTH116
    except OSError:
        return Medium("virtual", "a loop device", f"loop:{path}")
    return _find(path, found.st_dev, root, depth - 1)


def _disk(folder: str) -> Medium:
    """What a whole disk is, from what the kernel says of it."""
    name = folder.rpartition("/")[2]
    removable = _read(f"{folder}/removable").strip() == "1"
    facts = {fact: _read(f"{folder}/device/{fact}").strip() for fact in ("vendor", "model", "name", "serial")}
    named = any(facts[fact] for fact in ("model", "name", "serial"))  # sdb may be sdc the next time
    known = " ".join(filter(None, facts.values())) if named else name
    kind, words = _kind(name, folder, removable=removable)
    return Medium(kind, words, f"{kind}:{known}:{_read(f'{folder}/size').strip()}", removable or kind == "stick")


def _kind(name: str, folder: str, *, removable: bool) -> tuple[str, str]:
    if name.startswith("sr"):
        return "disc", "an optical disc"
    if name.startswith("mmcblk"):
        card = _read(f"{folder}/device/type").strip() != "MMC"
        return ("card", "a memory card") if card else ("flash", "flash memory")
    if "/usb" in folder:
        return "stick", "a USB stick" if removable else "a USB disk"
    if name.startswith(_REMOTE) or "/session" in folder:
        return "network", "a network block device"
    if name.startswith(_VIRTUAL):  # says that it rotates, and nobody knows
        return "virtual", "a virtual disk"
    if name.startswith(("zram", "ram")):
        return "memory", "memory"
    if _read(f"{folder}/queue/rotational").strip() == "1":
        return "disk", "a hard disk"
    return "flash", "an SSD"


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _read(path: str, limit: int = 4096) -> str:
    """The start of a small system file, or an empty text."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""
