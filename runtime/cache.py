"""The runtime's share of the cache: the libraries that are unpacked, and the removal of what nobody uses.

The launcher unpacks packs and names the folder (``SOLOFILE_CACHE_DIR``); it has checked whose it is. Layout:
``packs/<digest>/``, ``kernels/<sha256>/<library>``, ``models/<sha256>/<name>.gguf`` (projectors, projector.py, and what
--local-copy keeps, localcopy.py), a ``.lock`` beside each folder, ``state/``. Folders are named by what is in them, are
read-only once they are there, and are checked by size, time and mode at each start. What drivers of GPUs compile is in
``drivers/`` (gpu_environment.py), for which they answer themselves, weights that a worker was sent are in ``rpc/``
(rpc_cache.py).
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import NamedTuple

from solofile.runtime.errors import CacheError
from solofile.runtime.gpu_environment import DRIVERS
from solofile.runtime.locks import Lock, holders

FILE_TIME = 315_532_800
"""1980-01-01 UTC: what is unpacked gets this time, so that whatever is written later shows."""

UNUSED_DAYS = 60
_DAY = 86_400
_FILE_MODE, _FOLDER_MODE = 0o444, 0o555
_PATIENCE = 5.0
MODELS = "models"
COMPILED = "pycode"
"""What Python compiles of the modules of a bundle that it starts (pylauncher/): folders by the packs' digests."""
RPC = "rpc"
_STORES = ("packs", "kernels", MODELS)
Say = Callable[[str], None]


class Wanted(NamedTuple):
    """A file that is to be in the cache: its name, SHA-256, and bytes."""

    name: str
    sha256: str
    size: int


def ensure_library(
    cache: Path, wanted: Wanted, chunks: Callable[[], Iterable[bytes]], say: Say
) -> tuple[Path, Lock | None]:
    """Return the path of the library, unpacked where need be, and its lock: see `ensure_file`."""
    return ensure_file(cache, "kernels", wanted, chunks, say)


def ensure_file(
    cache: Path, store: str, wanted: Wanted, chunks: Callable[[], Iterable[bytes]], say: Say
) -> tuple[Path, Lock | None]:
    """Return the path of the file, unpacked from ``chunks`` where it is not there or damaged, and its lock.

    Keep the lock as long as the file is in use; there is none where the folder cannot be written but holds the
    file already. Raises CacheError when it would have to be written and cannot.
    """
    folder = cache / store / wanted.sha256
    path = folder / wanted.name
    try:
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        lock = Lock(folder)
        lock.share()
        if not is_sound(path, wanted.size):
            _make(folder, wanted, chunks, say, lock)
            lock.share()
    except OSError as error:
        if is_sound(path, wanted.size):
            return path, None
        raise CacheError(
            f"{path} cannot be written ({error.strerror or error}): make room there, or set SOLOFILE_CACHE to a folder "
            "that can be written."
        ) from error
    return path, lock


def is_sound(path: Path, size: int) -> bool:
    """Is the file as it was when it was unpacked, by size, time and mode?"""
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == size
        and int(found.st_mtime) == FILE_TIME
        and (os.name == "nt" or stat.S_IMODE(found.st_mode) == _FILE_MODE)
    )


def _make(folder: Path, wanted: Wanted, chunks: Callable[[], Iterable[bytes]], say: Say, lock: Lock) -> None:
    """Unpack beside and rename. A process that runs from the old folder keeps its mapped files."""
    path = folder / wanted.name
    # Others may hold the lock for as long as they run; then go on without it: a rename needs no lock to be whole.
    lock.seize(patience=_PATIENCE, done=lambda: is_sound(path, wanted.size))
    if not is_sound(path, wanted.size):
        replace(folder, wanted, chunks(), say)


def replace(folder: Path, wanted: Wanted, chunks: Iterable[bytes], say: Say) -> None:
    """Write a folder with the one file ``wanted`` and put it in the place of what is there.

    Raises CacheError when ``chunks`` are not those bytes.
    """
    path = folder / wanted.name
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    remove_tree(temporary)
    temporary.mkdir(mode=0o700)
    try:
        _write(temporary / wanted.name, wanted, chunks)
        temporary.chmod(_FOLDER_MODE)
        if folder.exists():
            say(f"{path} in the cache was damaged, so it was made again.")
            remove_tree(folder)
        os.replace(temporary, folder)  # noqa: PTH105 - Path.replace is the same; os.replace says that it is atomic
    finally:
        remove_tree(temporary)


def _write(path: Path, wanted: Wanted, chunks: Iterable[bytes]) -> None:
    import hashlib  # loads OpenSSL, which a warm start need not pay

    digest = hashlib.sha256()
    with path.open("wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
        os.fsync(out.fileno())  # the checks of later starts do not read it again
    if digest.hexdigest() != wanted.sha256:
        raise CacheError(f"{path} did not come out as the bundle says: copy or download the bundle again.")
    path.chmod(_FILE_MODE)
    os.utime(path, (FILE_TIME, FILE_TIME))


def remove_tree(path: Path) -> int:
    """Remove a folder of ours, read-only as it is, and return the bytes that it held. What is not there is no error.

    Links are removed, never followed.
    """
    if path.is_symlink() or not path.is_dir():
        size = path.lstat().st_size if path.is_file() else 0
        if os.name == "nt" and path.is_file():
            path.chmod(0o600)  # Windows does not remove what is read-only
        path.unlink(missing_ok=True)
        return size
    path.chmod(0o700)
    size = sum(remove_tree(entry) for entry in path.iterdir())
    path.rmdir()
    return size


class Entry(NamedTuple):
    """One folder of the cache, ``store`` being packs, kernels or models; a ``leftover`` is of an interrupted start."""

    store: str
    path: Path
    leftover: bool

    @property
    def digest(self) -> str:
        """What is or was to be in it; a leftover is called ``.tmp-<digest>-<process>``."""
        return self.path.name.split("-")[1] if self.leftover and "-" in self.path.name else self.path.name

    @property
    def lock_path(self) -> Path:
        """The lock that whoever uses or writes it holds."""
        return self.path.with_name(self.digest + ".lock")


def entries(cache: Path) -> Iterator[Entry]:
    """What is in the cache."""
    for store in _STORES:
        folder = cache / store
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                yield Entry(store, path, path.name.startswith("."))


def prune(cache: Path, keep: Set[str], *, days: float = UNUSED_DAYS) -> list[Path]:
    """Remove what was not used for ``days`` and is not in ``keep`` (folder names); return what was removed."""
    removed = []
    for entry in entries(cache):
        limit = _DAY if entry.leftover else days * _DAY
        if entry.digest not in keep and _remove_unused(entry, limit):
            removed.append(entry.path)
    return removed + _prune_compiled(cache)


def _prune_compiled(cache: Path) -> list[Path]:
    """Remove what Python compiled of packs that are gone."""
    folder = cache / COMPILED
    gone = [path for path in folder.iterdir() if not (cache / "packs" / path.name).exists()] if folder.is_dir() else []
    for path in gone:
        remove_tree(path)
    return gone


def _remove_unused(entry: Entry, seconds: float) -> bool:
    # Made long ago and its lock not touched since: a folder without a lock is as old as it is.
    if time.time() - entry.path.lstat().st_mtime < seconds:
        return False
    known = entry.lock_path.exists()
    lock = Lock(entry.path.with_name(entry.digest))
    try:
        if (known and lock.age() < seconds) or not lock.seize():
            return False
        remove_tree(entry.path)
        # The lock file stays: it is empty, and a start that waits for it must not wait for a file that is gone.
        return True
    finally:
        lock.close()


def prune_in_background(cache: Path, keep: Set[str]) -> None:
    """Prune on a thread that nothing waits for; what goes wrong there is no concern of this start."""

    def work() -> None:
        try:
            tidy(cache, keep)
        except OSError:
            return

    threading.Thread(target=work, name="solofile-prune", daemon=True).start()


def tidy(cache: Path, keep: Set[str]) -> None:
    """Prune, or have it done by whom the sandbox leaves the right to."""
    from solofile.runtime import errands

    errand = errands.running()
    if errand is None:
        prune(cache, keep)
    else:
        errand.start(errands.PRUNE, {"keep": sorted(keep)})


def clear(cache: Path, own: Set[int], say: Say) -> None:
    """Remove every pack, library and model that nobody but ``own`` (this process, its launcher) uses; say how much.

    What drivers and Python have compiled goes as well, and the weights that a worker was sent: all come again.
    """
    freed = kept = count = 0
    for entry in entries(cache):
        lock = Lock(entry.path.with_name(entry.digest))
        try:
            if not _is_free(lock, own):
                say(f"Kept {entry.path}: it is in use.")
                kept += 1
                continue
            size = remove_tree(entry.path)
        finally:
            lock.close()
        say(f"Removed {entry.path} ({megabytes(size)}).")
        freed, count = freed + size, count + 1
    for folder in (cache / DRIVERS, cache / COMPILED, cache / RPC):
        if folder.is_dir():
            size = remove_tree(folder)
            say(f"Removed {folder} ({megabytes(size)}).")
            freed, count = freed + size, count + 1
    say(f"Removed {count} from {cache}, {megabytes(freed)} in all" + (f"; kept {kept} in use." if kept else "."))


def _is_free(lock: Lock, own: Set[int]) -> bool:
    """Does nobody else hold it? Our own launcher holds the lock of the pack that we run from."""
    if lock.seize():
        return True
    found = holders(lock)
    return found is not None and bool(found) and found <= own


def megabytes(size: int) -> str:
    """A size for a person."""
    return f"{size / 1e6:.1f} MB"
