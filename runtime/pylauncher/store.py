"""One group of files in the cache: found whole, or unpacked once, ``packs/<digest>/`` beside its lock.

As runtime/launcher/store.zig does it: only a rename makes a folder appear, so nobody sees half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from solofile.runtime.cache import FILE_TIME, remove_tree
from solofile.runtime.ending import damaged
from solofile.runtime.errors import CacheError
from solofile.runtime.locks import Lock
from solofile.runtime.pylauncher.bundle_file import BundleFile, chunks
from solofile.runtime.pylauncher.sums import File, Group

_FOLDER_MODE = 0o555
_PATIENCE = 1.0
_QUIET = 1.0
"""Seconds after which somebody at a terminal is told what takes time."""

Say = Callable[[str], None]


def acquire(cache: str, bundle: BundleFile, group: Group, say: Say) -> tuple[Path, Lock | None]:
    """The folder of the group, whole, and its lock, to be kept for as long as it is used.

    There is none where the folder cannot be written but is whole. Raises CacheError, DamagedBundle.
    """
    folder = Path(cache, "packs", group.digest)
    lock: Lock | None = None
    try:
        with contextlib.suppress(PermissionError):
            lock = Lock(folder)
            lock.share()
        if not is_whole(folder, group):
            if lock is not None:
                # Others may run from a folder that was damaged under them; they keep what they have open.
                lock.seize(patience=_PATIENCE, done=lambda: is_whole(folder, group))
            if not is_whole(folder, group):
                _make(folder, bundle, group, say)
            if lock is not None:
                lock.share()
    except OSError as error:
        if is_whole(folder, group):
            return folder, None
        raise CacheError(
            f"The runtime cannot be unpacked to {cache} ({error.strerror or error}); set SOLOFILE_CACHE to a folder "
            f"with {group.megabytes} MB free."
        ) from error
    return folder, lock


def is_whole(folder: Path, group: Group) -> bool:
    """Is every file there, of its size, time and mode, in folders that are no links? One ``lstat`` each."""
    root = str(folder)
    user = os.geteuid() if hasattr(os, "geteuid") else None
    try:
        for path in ("", *_folders(group)):
            if not _is_sealed(os.lstat(f"{root}/{path}".rstrip("/")), user):
                return False
        for file in group.files:
            found = os.lstat(f"{root}/{file.path}")
            if found.st_size != file.member.size or int(found.st_mtime) != FILE_TIME:
                return False
            if not stat.S_ISREG(found.st_mode) or not _is_as_made(found, _mode(file), user):
                return False
    except OSError:
        return False
    return True


def _is_sealed(found: os.stat_result, user: int | None) -> bool:
    return stat.S_ISDIR(found.st_mode) and _is_as_made(found, _FOLDER_MODE, user)


def _is_as_made(found: os.stat_result, mode: int, user: int | None) -> bool:
    """On Windows there are no such modes, and no such owners."""
    return user is None or (found.st_uid == user and stat.S_IMODE(found.st_mode) == mode)


def _mode(file: File) -> int:
    return 0o555 if file.executable else 0o444


def _folders(group: Group) -> list[str]:
    """The folders in it, outer ones first."""
    found = set()
    for file in group.files:
        parent = file.path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(found)


def _make(folder: Path, bundle: BundleFile, group: Group, say: Say) -> None:
    """Unpack beside the place and rename; what is there and damaged is put aside first."""
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    aside = temporary.with_name(f"{temporary.name}-old")
    remove_tree(temporary)
    remove_tree(aside)
    is_damaged = os.path.lexists(folder)
    if is_damaged:
        say(f"the cached runtime in {folder} was damaged and is made again.")
    try:
        _unpack(temporary, bundle, group, say)
        if is_damaged:
            os.rename(folder, aside)  # noqa: PTH104
        os.replace(temporary, folder)  # noqa: PTH105
    finally:
        remove_tree(temporary)
        remove_tree(aside)
    _clean_up(folder)


def _unpack(folder: Path, bundle: BundleFile, group: Group, say: Say) -> None:
    begin, told = time.monotonic(), False
    folder.mkdir(mode=0o700)
    folders = [folder, *(folder / path for path in _folders(group))]
    for path in folders[1:]:
        path.mkdir(mode=0o700)
    for file in group.files:
        path = folder / file.path
        digest = hashlib.sha256()
        with path.open("xb") as output:
            for chunk in chunks(bundle, file.member):
                digest.update(chunk)
                output.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise damaged(bundle.path, f"{file.member.path} does not have the SHA-256 that it must have")
        os.utime(path, (FILE_TIME, FILE_TIME))
        path.chmod(_mode(file))
        if not told and time.monotonic() - begin > _QUIET:
            told = True
            say(f"unpacking once to {folder.parent} …")
    for path in reversed(folders):
        path.chmod(_FOLDER_MODE)


def _clean_up(folder: Path) -> None:
    """Remove what starts of the same bundle that died while they unpacked have left: we hold their lock."""
    for left in _left_over(folder):
        with contextlib.suppress(OSError):
            remove_tree(left)


def _left_over(folder: Path) -> Iterator[Path]:
    for path in folder.parent.glob(f".tmp-{folder.name}-*"):
        number = path.name.removesuffix("-old").rpartition("-")[2]
        if number.isdigit() and not _is_alive(int(number)):
            yield path


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # os.kill would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
