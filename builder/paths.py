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
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from solofile.builder.errors import BuildError

VARIABLE = "SOLOFILE_BUILD_CACHE"
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
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
