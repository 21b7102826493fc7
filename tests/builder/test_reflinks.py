"""On file systems that can share blocks: a second build and a change of a bundle of 1 GB write next to nothing.

Each of them lies in an image on a loop device, which takes root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from solofile.builder import copying
from solofile.builder.cli import main
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify

GIGABYTE = 1 << 30
SLACK = 4 << 20
"""Bytes that a file system may take for its own records."""


@pytest.fixture(scope="module", params=["xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 3 GB on a loop device."""
    kind = request.param
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount an image")
    if not shutil.which(f"mkfs.{kind}"):
        pytest.skip(f"mkfs.{kind} is not installed")
    folder = tmp_path_factory.mktemp(kind)
    image, place = folder / "image", folder / "disk"
    if shutil.disk_usage(folder).free < 4 * GIGABYTE:
        pytest.skip("there is no space for an image of 3 GB")
    place.mkdir()
    image.touch()
    os.truncate(image, 3 * GIGABYTE)
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True, check=False).returncode:
        pytest.skip(f"no loop device, or a kernel without {kind}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        image.unlink()


@pytest.fixture(scope="module")
def model(disk: Path) -> Path:
    """A GGUF of 1 GB that does not fill its last block, changed long enough ago to be remembered."""
    from ggufs import write_gguf

    path = write_gguf(disk / "model.gguf")
    block = os.urandom(1 << 20)
    with path.open("ab") as file:
        for index in range(GIGABYTE >> 20):
            file.write(index.to_bytes(8, "little") + block[8:])
        file.write(b"the tail")
        os.fsync(file.fileno())
    time.sleep(2.1)
    return path


@pytest.fixture(scope="module")
def old(model: Path, disk: Path, pack_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it, built on that disk; the hash of the model is then in the build cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path_factory.mktemp("remembered")))
        words = ["build", str(model), "--pack", str(pack_path), "-o", str(disk / "old.exe")]
        size, _ = taken(disk, lambda: main(words))
    assert size < SLACK, f"the first build took {size} bytes of the disk"
    return disk / "old.exe"


@pytest.fixture(autouse=True)
def remembered(old: Path, build_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:  # noqa: ARG001
    """Each test begins with the build cache that the first build left."""
    first = max(tmp_path_factory.getbasetemp().glob("remembered*/hashes"), key=lambda path: path.stat().st_mtime)
    shutil.copytree(first, build_cache / "hashes")


def used(disk: Path) -> int:
    os.sync()
    facts = os.statvfs(disk)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def taken(disk: Path, action: Callable[[], object]) -> tuple[int, float]:
    """The bytes that ``action`` took of the disk, and its seconds."""
    before, start = used(disk), time.monotonic()
    action()
    seconds = time.monotonic() - start
    return used(disk) - before, seconds


def quick(disk: Path, words: list[str]) -> Path:
    """Run a command whose output is the last word: it writes next to nothing, and takes under a second."""
    output = Path(words[-1])
    times = []
    for _ in range(3):
        output.unlink(missing_ok=True)
        size, seconds = taken(disk, lambda: main(words))
        assert output.stat().st_size > GIGABYTE
        assert size < SLACK, f"{size} bytes of the disk"
        times.append(seconds)
        if seconds < 1:
            break
    assert min(times) < 1, times
    return output


def test_extents_are_shared(old: Path) -> None:
    if not shutil.which("filefrag"):
        pytest.skip("filefrag is not installed")
    done = subprocess.run(["filefrag", "-v", str(old)], capture_output=True, text=True, check=True)
    extents = [line.split(":") for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    shared = sum(int(columns[3]) for columns in extents if "shared" in columns[-1])
    assert shared * 4096 >= GIGABYTE


def test_second_build_takes_under_a_second(
    model: Path, disk: Path, pack_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_Hasher", lambda: pytest.fail("the model was hashed again"))
    output = quick(disk, ["build", str(model), "--pack", str(pack_path), "--name", "old", "-o", str(disk / "new.exe")])
    output.unlink()


def test_set_takes_under_a_second(old: Path, disk: Path) -> None:
    output = quick(disk, ["set", str(old), "--system-prompt", "Be brief.", "-o", str(disk / "new.exe")])
    with Bundle.open(output) as bundle:
        assert bundle.manifest.system_prompt == "Be brief."
        assert verify(bundle) == []
    output.unlink()


def test_upgrade_takes_under_a_second(old: Path, disk: Path, pack_path: Path) -> None:
    output = quick(disk, ["upgrade", str(old), "--pack", str(pack_path), "-o", str(disk / "new.exe")])
    assert subprocess.run(["cmp", str(old), str(output)], check=False).returncode == 0
    output.unlink()
