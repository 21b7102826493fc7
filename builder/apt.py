"""Fetches Debian packages without being root and without installing them: apt checks their signatures, dpkg unpacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def available() -> bool:
    """Whether this system has apt and dpkg."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def options(work: Path, own_lists: bool) -> list[str]:
    """What apt-get needs to be told to run for anybody; with ``own_lists`` its package lists lie below ``work``."""
    result = ["-qq", "-o", "Debug::NoLocking=1"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        result += ["-o", "APT::Sandbox::User=root"]  # its own user could not write into our folder
    if own_lists:
        for part in ("lists/partial", "cache/archives/partial"):
            (work / part).mkdir(parents=True, exist_ok=True)
        result += ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work / 'cache'}"]
    return result


def download_from(suite: str, packages: Iterable[str], work: Path) -> None:
    """Have apt fetch ``packages`` (``name`` or ``name=version``) of a Debian suite other than this system's.

    They come into ``work``, from the mirrors that this system is set up with; one that cannot be had is not there then.
    """
    sources = work / "sources.list"
    signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
    sources.write_text("".join(f"deb {signed}{mirror} {suite} main\n" for mirror in mirrors()))
    alone = ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::Etc::SourceList={sources}"]
    apt = ["apt-get", *options(work, own_lists=True), *alone]
    run([*apt, "update"])
    for package in packages:
        run([*apt, "download", package], folder=work)


def unpack(package: Path, folder: Path) -> bool:
    """Unpack a package's files into ``folder``; False if dpkg could not."""
    return run(["dpkg-deb", "--extract", str(package), str(folder)]) is not None


def run(command: Sequence[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str | None:
    """What the program prints, without the spaces around it; None if it fails."""
    environment = {**(environment or os.environ), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def mirrors() -> Iterator[str]:
    """Where this system gets its main suite from; not those of updates and security, which have names with a dash."""
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]) or ""
    pairs = [line.split() for line in listed.splitlines()]
    yield from dict.fromkeys(pair[0] for pair in pairs if len(pair) == 2 and "-" not in pair[1])
