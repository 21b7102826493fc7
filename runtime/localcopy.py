"""--local-copy: the model in the cache, for a bundle that lies on a stick or a network drive.

The copy is ``models/<sha256>/<name>``, checked against the manifest while it is written and renamed into place, so it
is whole or not there. Later starts use it for as long as its size, time and mode are as they were; --no-local-copy
reads the bundle all the same. Where no copy can be made the bundle is read, and why is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import cache
from solofile.runtime.cache import Say, Wanted, is_sound
from solofile.runtime.errors import InputError
from solofile.runtime.locks import Lock

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

_CHUNK = 4 << 20
_RESERVE = 256 << 20
"""Bytes that are left free on the disk of the cache."""


class Source(NamedTuple):
    """The model in the bundle: ``size`` bytes at ``offset`` of ``file``, and what they are."""

    file: str
    offset: int
    size: int
    name: str
    sha256: str

    @property
    def wanted(self) -> Wanted:
        """The copy, as the cache knows it."""
        return Wanted(self.name.rpartition("/")[2], self.sha256, self.size)


class Copy(NamedTuple):
    """A copy that can be used; keep ``lock`` as long as it is. There is none where the cache cannot be written."""

    path: Path
    lock: Lock | None


def find(folder: Path, source: Source) -> Copy | None:
    """The copy in the cache ``folder``, if there is a sound one. Costs one look at the file where there is none."""
    path = _path(folder, source)
    if not is_sound(path, source.size):
        return None
    try:
        lock = Lock(path.parent)
        lock.share()
    except OSError:
        return Copy(path, None)
    if is_sound(path, source.size):
        return Copy(path, lock)
    lock.close()  # it was removed between the look and the lock
    return None


def make(folder: Path, source: Source, say: Say, progress: Callable[[int], None]) -> Copy | None:
    """The copy, made where there is none; ``progress`` is called with the bytes done. None where it cannot be made.

    Raises InputError when the bundle cannot be read, CacheError when its model is not what the manifest says.
    """
    found = find(folder, source)
    if found is not None:
        return found
    try:
        return _make(folder, source, say, progress)
    except OSError as error:
        say(f"The model is not kept in {folder} ({error.strerror or error}): it is read from the bundle.")
        return None


def _make(folder: Path, source: Source, say: Say, progress: Callable[[int], None]) -> Copy | None:
    store = folder / cache.MODELS
    store.mkdir(mode=0o700, exist_ok=True)
    lack = lacking(source.size, free_bytes(store))
    if lack:
        say(f"The model is not kept in {folder}: {lack} free there, so it is read from the bundle.")
        return None
    path = _path(folder, source)
    lock = Lock(path.parent)
    if not lock.seize():
        say("Another start is copying the model just now, so this one reads the bundle.")
        lock.close()
        return None
    try:
        if not is_sound(path, source.size):
            for leftover in store.glob(f".tmp-{source.sha256}-*"):  # of starts that were killed: we have the lock
                cache.remove_tree(leftover)
            cache.replace(path.parent, source.wanted, _chunks(source, progress), say)
        lock.share()
    except BaseException:
        lock.close()
        raise
    return Copy(path, lock)


def _chunks(source: Source, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of the model, read in order; what was read is not kept in memory a second time."""
    done = 0
    descriptor = -1
    try:
        descriptor = os.open(source.file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        os.lseek(descriptor, source.offset, os.SEEK_SET)
        _advise(descriptor, source.offset, source.size, "POSIX_FADV_SEQUENTIAL")
        while done < source.size:
            chunk = os.read(descriptor, min(_CHUNK, source.size - done))
            if not chunk:
                raise InputError(f"{source.file} is cut short: copy or download it again.")
            yield chunk
            _advise(descriptor, source.offset + done, len(chunk), "POSIX_FADV_DONTNEED")
            done += len(chunk)
            progress(done)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{source.file} cannot be read ({reason}): is its medium still there?") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _advise(descriptor: int, offset: int, length: int, advice: str) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, length, getattr(os, advice))


def lacking(size: int, free: int | None) -> str:
    """What a disk with ``free`` bytes lacks for a copy, such as ``it takes 1.3 GB and 0.8 GB are``, or nothing."""
    if free is None or free >= size + _RESERVE:
        return ""
    from solofile.runtime.memory_text import size_text

    return f"it takes {size_text(size + _RESERVE)} and {size_text(free)} are"


def free_bytes(folder: Path) -> int | None:
    """Bytes that this user may still write there, None where the system does not say."""
    import shutil

    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _path(folder: Path, source: Source) -> Path:
    return folder / cache.MODELS / source.sha256 / source.wanted.name
