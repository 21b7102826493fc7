"""Where the builder keeps what it makes: the build cache, and the locks in it.

<build cache>/
    downloads/                   sdists and wheels as they came
    sources/<sdist>/             the unpacked llama.cpp sources
    tools/<name>-<version>/      zig, cmake, ninja, PyInstaller, libpython, glslc with Vulkan headers
    trees/<tree>/                CMake build trees, kept for incremental builds
    native/<key>/  gpus/<key>/   finished native libraries and GPU backends, by the hash of all that went in
    launcher/<key>/  packs/<key>/
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from solofile.builder.errors import BuildError

VARIABLE = "SOLOFILE_BUILD_CACHE"
SETTLED = 60
"""Seconds after which a folder that is being made is locked for certain."""

KEPT = 24
"""Entries of one kind that stay in the cache: each change of a source makes another."""


def build_cache() -> Path:
    """The folder of the build cache: SOLOFILE_BUILD_CACHE, else ``~/.cache/solofile-build``. It may not exist yet."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    try:
        return Path.home() / ".cache" / "solofile-build"
    except RuntimeError:
        raise BuildError(f"No home folder is known for this user; set {VARIABLE} to a folder for the builds.") from None


def cache_folder(*parts: str) -> Path:
    """A folder in the build cache, made when it is not there."""
    folder = build_cache().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"The build cache {folder} cannot be made ({error.strerror}); set {VARIABLE} to another folder."
        ) from error
    return folder


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold ``path`` as a lock file, exclusively among processes. ``waiting`` is called once if another one holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        _lock(file.fileno(), waiting)
        yield


def _lock(descriptor: int, waiting: Callable[[], None]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: builds there are not offered yet, and a lock is only a courtesy between two of them
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def keep_newest(folder: Path, count: int = KEPT) -> None:
    """Remove the entries of ``folder`` but for the ``count`` that were used last (see ``mark_used``)."""
    entries = [path for path in folder.iterdir() if path.is_dir()]
    for path in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True)[count:]:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def mark_used(folder: Path) -> None:
    """Let ``folder`` count as used now."""
    with contextlib.suppress(OSError):  # a cache that is shared and read-only serves as well
        os.utime(folder)


@contextlib.contextmanager
def made_at(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` that takes its place when the block ends well, and is removed otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with fresh_folder(target.parent, target.name) as temporary:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)


@contextlib.contextmanager
def fresh_folder(parent: Path, name: str) -> Iterator[Path]:
    """A fresh folder for the block. What a killed process has left of the same name is removed first."""
    for stray in parent.glob(f".{glob.escape(name)}-????????"):
        if _is_abandoned(stray):
            shutil.rmtree(stray, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        with _marked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Hold a folder locked: the kernel lets go of it when the process ends, however that does."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks: it is told by its age alone
            _lock(descriptor, lambda: None)
        yield
    finally:
        os.close(descriptor)


def _is_abandoned(folder: Path) -> bool:
    """Does nobody hold it? One that was made a moment ago may not be locked yet."""
    try:
        import fcntl

        if time.time() - folder.stat().st_mtime < SETTLED:
            return False
        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
