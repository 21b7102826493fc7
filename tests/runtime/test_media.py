"""The medium that a model lies on, from mount tables and /sys as other machines have them, and what follows from it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.runtime import media, reading
from solofile.runtime.media import UNKNOWN, Medium, find, mount_of
from solofile.runtime.read_plan import ReadPlan, known_speed, news, plan
from solofile.runtime.reading import Progress, duration, follow, follow_in_background, line, rate

GB = 10**9
STICK = Medium("stick", "a USB stick", "stick:SanDisk:1", removable=True)
DISK = Medium("disk", "a hard disk", "disk:WDC:1")
FLASH = Medium("flash", "an SSD", "flash:NVMe:1")

USB = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block"
SATA = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block"


class Machine:
    """A /proc and /sys in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "proc/self").mkdir(parents=True)
        (folder / "sys/dev/block").mkdir(parents=True)
        (folder / "sys/class/block").mkdir(parents=True)
        self.mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        self.write("proc/self/mountinfo", self.mounts)

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def mount(self, line: str) -> None:
        self.mounts += line + "\n"
        self.write("proc/self/mountinfo", self.mounts)

    def block(self, number: str, path: str, **facts: str) -> str:
        """A block device below /sys/devices, with its links; ``facts`` are files in its folder, __ standing for /."""
        for name, text in {"size": "2048", **facts}.items():
            self.write(f"sys/devices/{path}/{name.replace('__', '/')}", text + "\n")
        for link in (f"sys/dev/block/{number}", f"sys/class/block/{path.rpartition('/')[2]}"):
            (self.folder / link).symlink_to(self.folder / "sys/devices" / path)
        return path

    def slave(self, upper: str, lower: str) -> None:
        slaves = self.folder / "sys/devices" / upper / "slaves"
        slaves.mkdir(exist_ok=True)
        (slaves / lower.rpartition("/")[2]).symlink_to(self.folder / "sys/devices" / lower)

    def find(self, path: str, major: int, minor: int) -> Medium:
        return find(path, str(self.folder), device=os.makedev(major, minor))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_partition_of_a_stick(machine: Machine) -> None:
    disk = machine.block(
        "8:16", f"{USB}/sdb", removable="1", queue__rotational="1", device__vendor="SanDisk ", device__model="Ultra Fit"
    )
    machine.block("8:17", f"{disk}/sdb1", partition="1")
    machine.mount("40 22 8:17 / /media/me/My\\040Stick rw - vfat /dev/sdb1 rw")
    found = machine.find("/media/me/My Stick/model.exe", 8, 17)
    assert found == Medium("stick", "a USB stick", "stick:SanDisk Ultra Fit:2048", removable=True)
    assert found.slow
    assert found.worth_copying


def test_disk_behind_usb_is_no_stick_but_may_be_pulled_out(machine: Machine) -> None:
    machine.block("8:16", f"{USB}/sdb", removable="0", queue__rotational="0", device__model="T7")
    found = machine.find("/x", 8, 16)
    assert found[:2] == ("stick", "a USB disk")
    assert found.worth_copying


@pytest.mark.parametrize(
    ("path", "facts", "kind", "words"),
    [
        (f"{SATA}/sda", {"queue__rotational": "1"}, "disk", "a hard disk"),
        (f"{SATA}/sda", {"queue__rotational": "0"}, "flash", "an SSD"),
        ("pci0000:00/0000:03:00.0/nvme/nvme0/nvme0n1", {"queue__rotational": "0"}, "flash", "an SSD"),
        ("platform/mmc/mmc0/mmc0:0001/block/mmcblk0", {"device__type": "SD"}, "card", "a memory card"),
        ("platform/mmc/mmc0/mmc0:0001/block/mmcblk0", {"device__type": "MMC"}, "flash", "flash memory"),
        (f"{SATA}/sr0", {"removable": "1"}, "disc", "an optical disc"),
        ("pci0000:00/virtio1/block/vda", {"queue__rotational": "1"}, "virtual", "a virtual disk"),
        ("virtual/block/nbd0", {}, "network", "a network block device"),
        ("platform/host2/session1/target2:0:0/2:0:0:1/block/sdc", {}, "network", "a network block device"),
        ("virtual/block/zram0", {}, "memory", "memory"),
    ],
)
def test_kinds_of_disks(machine: Machine, path: str, facts: dict[str, str], kind: str, words: str) -> None:
    machine.block("8:0", path, **facts)
    assert machine.find("/x", 8, 0)[:2] == (kind, words)


def test_encrypted_and_logical_volumes_lead_to_the_disk_below(machine: Machine) -> None:
    disk = machine.block("8:0", f"{SATA}/sda", queue__rotational="1", device__model="WDC")
    part = machine.block("8:2", f"{disk}/sda2", partition="2")
    crypt = machine.block("254:0", "virtual/block/dm-0", queue__rotational="0")
    volume = machine.block("254:1", "virtual/block/dm-1", queue__rotational="0")
    machine.slave(crypt, part)
    machine.slave(volume, crypt)
    assert machine.find("/x", 254, 1) == Medium("disk", "a hard disk", "disk:WDC:2048")


def test_array_is_as_slow_as_its_slowest(machine: Machine) -> None:
    fast = machine.block("8:0", f"{SATA}/sda", queue__rotational="0")
    slow = machine.block("8:16", f"{SATA}/sdb", queue__rotational="1")
    array = machine.block("9:0", "virtual/block/md0")
    machine.slave(array, fast)
    machine.slave(array, slow)
    assert machine.find("/x", 9, 0).kind == "disk"


def test_loop_device_leads_to_the_file_behind_it(machine: Machine) -> None:
    machine.write("images/stick.img", "")
    real = (machine.folder / "images/stick.img").stat().st_dev
    machine.block(f"{os.major(real)}:{os.minor(real)}", f"{USB}/sdz", removable="1")
    machine.block("7:0", "virtual/block/loop0", loop__backing_file="/images/stick.img", queue__rotational="0")
    machine.block("7:1", "virtual/block/loop1", loop__backing_file="/images/gone.img (deleted)")
    assert machine.find("/x", 7, 0).words == "a USB stick"
    assert machine.find("/x", 7, 1) == Medium("virtual", "a loop device", "loop:/images/gone.img (deleted)")


def test_file_system_with_numbers_of_its_own_leads_to_its_device(machine: Machine) -> None:
    machine.block("8:2", f"{SATA}/sda2", queue__rotational="1", device__model="WDC")
    machine.mount("41 22 0:33 /home /home rw - btrfs /dev/sda2 rw,subvol=/home")
    assert machine.find("/home/me/model.exe", 0, 45).kind == "disk"


@pytest.mark.parametrize(
    ("filesystem", "source", "kind", "words"),
    [
        ("nfs4", "server:/export", "network", "a network drive (nfs4)"),
        ("fuse.sshfs", "me@host:", "network", "a network drive (sshfs)"),
        ("tmpfs", "tmpfs", "memory", "memory"),
        ("overlay", "overlay", "unknown", "its medium"),
        ("zfs", "tank/data", "unknown", "its medium"),
    ],
)
def test_file_systems_without_a_device(machine: Machine, filesystem: str, source: str, kind: str, words: str) -> None:
    machine.mount(f"42 22 0:50 / /mnt/x rw - {filesystem} {source} rw")
    assert machine.find("/mnt/x/model.exe", 0, 50)[:2] == (kind, words)


def test_the_mount_that_is_nearest_and_on_top_counts() -> None:
    lines = [
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
        "2 1 0:20 / /mnt rw - nfs server:/a rw",
        "3 2 8:2 / /mnt/disk rw - ext4 /dev/sdb1 rw",
        "4 1 0:21 / /mnt/disk rw - tmpfs tmpfs rw",
        "garbage",
        "5 1 0:22 / /mnt/dis rw - proc proc rw",
    ]
    assert mount_of("/mnt/disk/a", lines) == media.Mount("/mnt/disk", "tmpfs", "tmpfs")
    assert mount_of("/mnt/diskette", lines) == media.Mount("/mnt", "nfs", "server:/a")
    assert mount_of("/etc", lines) == media.Mount("/", "ext4", "/dev/sda1")
    assert mount_of("/etc", []) is None


def test_what_cannot_be_read_is_unknown(machine: Machine) -> None:
    assert machine.find("/x", 99, 99) == UNKNOWN
    assert find("/no/such/file") == UNKNOWN
    loop = machine.block("7:0", "virtual/block/loop0")
    machine.slave(loop, loop)  # no machine has this; it must end all the same
    assert machine.find("/x", 7, 0) == UNKNOWN


def test_other_systems_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert find(__file__) == UNKNOWN


def test_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.touch()
    assert find(str(file)).kind in {"stick", "card", "disc", "disk", "flash", "virtual", "network", "memory", "unknown"}


def test_cold_stick_is_read_first_and_announced() -> None:
    found = plan(STICK, GB, GB, 8 * GB, 30e6, hint=True)
    assert found.read_first
    assert found.expected == pytest.approx(33.3, abs=0.1)
    assert found.sentence == (
        "The model is read from a USB stick first, 1000 MB in one go: about 33 s at 30 MB/s, as measured last time "
        "(--local-copy would keep it on this machine)."
    )


def test_unknown_speed_is_said_to_show() -> None:
    found = plan(DISK, GB, GB, 8 * GB, None, hint=True)
    assert (found.read_first, found.expected) == (True, None)
    assert found.sentence == (
        "The model is read from a hard disk first, 1000 MB in one go: how long it takes shows after the first 32 MB."
    )


def test_what_is_soon_read_is_read_without_a_word() -> None:
    assert plan(FLASH, GB, GB, 8 * GB, 2e9) == ReadPlan(True, "the model lies on an SSD and is not in memory yet", 0.5)
    assert plan(FLASH, GB, GB, 8 * GB, None).sentence == ""
    assert plan(FLASH, GB, GB, 8 * GB, 50e6).sentence


@pytest.mark.parametrize(
    ("medium", "size", "missing", "available", "reason"),
    [
        (STICK, GB, 0, 8 * GB, "in memory already"),
        (STICK, GB, 16_000_000, 8 * GB, "in memory already"),
        (STICK, 10 * GB, 200_000_000, 80 * GB, "in memory already"),
        (STICK, 10 * GB, 10 * GB, 8 * GB, "larger than the memory"),
        (Medium("memory", "memory"), GB, GB, 8 * GB, "lies in memory"),
        (FLASH, GB, None, 8 * GB, "does not say"),
    ],
)
def test_what_is_not_read_first(
    medium: Medium, size: int, missing: int | None, available: int | None, reason: str
) -> None:
    found = plan(medium, size, missing, available, 30e6)
    assert not found.read_first
    assert reason in found.reason
    assert not found.sentence


def test_where_nobody_knows_what_is_in_memory_slow_media_are_read() -> None:
    assert plan(STICK, GB, None, None, None).read_first


def test_speed_is_remembered_for_each_medium() -> None:
    assert news(UNKNOWN, 30e6) == {}
    document = {"format": 1, **news(STICK, 30.4e6)}
    assert known_speed(document, STICK) == 30_400_000
    assert known_speed(document, DISK) is None


@pytest.mark.parametrize("media_section", [None, [], {STICK.key: 5}, {STICK.key: {"bytes_per_second": "fast"}}])
def test_what_is_remembered_wrongly_is_not_known(media_section: object) -> None:
    assert known_speed({"media": media_section}, STICK) is None


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(progress: Progress, clock: Clock, speed: float, total: int) -> None:
    while clock.now * speed < total:
        clock.now += 0.5
        progress(min(total, int(clock.now * speed)))


def test_speed_is_said_once_where_there_is_no_terminal() -> None:
    clock, said = Clock(), list[str]()
    progress = Progress("Reading", GB, say=said.append, clock=clock)
    run(progress, clock, 30e6, GB)
    assert said == ["Reading the model takes about 33 s: the first 45 MB came at 30 MB/s."]
    assert progress.speed == pytest.approx(30e6, rel=0.02)


@pytest.mark.parametrize(("expected", "says"), [(33.0, 0), (25.0, 0), (10.0, 1), (100.0, 1)])
def test_an_announcement_is_corrected_where_it_was_wrong(expected: float, says: int) -> None:
    clock, said = Clock(), list[str]()
    run(Progress("Reading", GB, expected=expected, say=said.append, clock=clock), clock, 30e6, GB)
    assert len(said) == says


def test_what_is_soon_over_is_not_worth_a_sentence() -> None:
    clock, said = Clock(), list[str]()
    run(Progress("Reading", GB, say=said.append, clock=clock), clock, 900e6, GB)
    assert said == []


def test_what_was_in_memory_does_not_make_the_medium_faster() -> None:
    clock = Clock()
    progress = Progress("Reading", GB, missing=GB // 2, say=lambda _: None, clock=clock)
    run(progress, clock, 60e6, GB)
    assert progress.speed == pytest.approx(30e6, rel=0.05)


def test_terminal_shows_one_line_and_leaves_nothing() -> None:
    clock, screen, said = Clock(), io.StringIO(), list[str]()
    progress = Progress("Reading", 1_024_000_000, say=said.append, terminal=screen, clock=clock)
    clock.now = 10.4
    progress(312_000_000)
    assert screen.getvalue().endswith("\x1b[KReading the model: 312 of 1024 MB at 30 MB/s, 24 s left")
    progress.end()
    assert screen.getvalue().endswith("\r\x1b[K")
    assert said == []


def test_follows_an_engine_until_it_has_read() -> None:
    steps: Iterator[tuple[int, int] | None] = iter([None, (100, 1000), (900, 1000), None])
    shown: list[int] = []

    class Shown(Progress):
        def __call__(self, done: int) -> None:
            shown.append(done)

    assert follow(lambda: next(steps), lambda: True, Shown("x", 1000, say=print), interval=0) is None
    assert shown == [100, 900]
    assert follow(lambda: None, lambda: False, Progress("x", 1, say=print), interval=0) is None


def test_speed_is_handed_over_to_be_remembered() -> None:
    speeds: list[float] = []
    steps: Iterator[tuple[int, int] | None] = iter([(GB // 2, GB), (GB, GB), None])
    progress = Progress("Reading", GB, say=lambda _: None)
    follow_in_background(lambda: next(steps), lambda: True, progress, speeds.append).join(5)
    assert len(speeds) == 1
    assert speeds[0] > 0


def test_texts() -> None:
    assert line("Reading", 0, GB, 1.0) == "Reading the model: 0 of 1000 MB"
    assert (duration(35.2), duration(-1), duration(600)) == ("35 s", "0 s", "10 min")
    assert (rate(30e6), rate(1.5e6)) == ("30 MB/s", "1.5 MB/s")
    assert reading.megabytes(1_024_000_000) == "1024 MB"
