"""Writes a file whole or not at all: to a temporary one beside it, which then takes its place."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from solofile.builder.errors import BadOutput
from solofile.builder.progress import byte_size

_is_ours = re.compile(r"\..+\.\d+(-\d+)?\.solofile\.part").fullmatch
"""The names of our temporary files. One that is still written is locked as well."""

_folders: set[Path] = set()
"""Where this process has written."""


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[io.FileIO]:
    """A raw file, open for reading and writing, that becomes ``path`` when the block ends well.

    Whatever ends it otherwise, Ctrl-C included, leaves nothing behind and ``path`` as it was. What a killed process
    leaves is removed by the next one that writes into the folder, whatever it is called.
    """
    _remove_strays(path.parent)
    _folders.add(path.parent)
    file, temporary = _create(path)
    try:
        with file:
            yield file
            if os.name == "posix":
                os.fchmod(file.fileno(), mode)
                temporary.replace(path)  # while it is still locked: nobody takes it for a stray
        if os.name != "posix":  # an open file cannot be renamed there
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create(path: Path) -> tuple[io.FileIO, Path]:
    """A new file beside ``path``, locked for as long as it is open."""
    for attempt in itertools.count():
        temporary = path.with_name(f".{path.name}.{os.getpid()}{f'-{attempt}' if attempt else ''}.solofile.part")
        try:
            file = io.FileIO(temporary, "x+b")
        except FileExistsError:  # of another process with this number, in another container
            continue
        if _lock(file, unlockable=True) and _is_at(file, temporary):
            return file, temporary
        file.close()  # another build came between and took it for a stray
    raise AssertionError


def tidy() -> None:
    """Remove what this process was stopped in the middle of making, at whatever moment that was."""
    for folder in _folders:
        _remove_strays(folder)


def _remove_strays(folder: Path) -> None:
    """Remove what killed builds left in a folder: temporary files of ours that nobody holds locked any more."""
    try:
        strays = [one for one in folder.iterdir() if _is_ours(one.name)]
    except OSError:  # a folder that may be written to but not read
        return
    for stray in strays:
        with contextlib.suppress(OSError), io.FileIO(stray, "r+b") as file:
            if _lock(file, unlockable=False):
                stray.unlink()


def _lock(file: io.FileIO, *, unlockable: bool) -> bool:
    """Lock an open file; False if another process has, ``unlockable`` where there are no locks.

    The kernel lets go of a lock when its process ends, however that does.
    """
    try:
        import fcntl
    except ImportError:  # Windows: there an open file can be neither removed nor replaced
        return unlockable
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return unlockable
    return True


def _is_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def check_output(output: Path, *, force: bool, model: Path | None = None) -> None:
    """Refuse, before anything is written, an ``output`` that cannot or must not be written."""
    if output.is_dir():
        raise BadOutput(f"The output {output} is a folder: name a file in it.")
    if model and output.exists() and output.samefile(model):
        raise BadOutput(f"The output {output} is the model itself: choose another name with -o.")
    if output.exists() and not output.is_file():
        raise BadOutput(f"The output {output} is not a regular file: choose another name with -o.")
    if os.path.lexists(output) and not force:
        raise BadOutput(f"The output {output} exists: give --force to replace it, or another name with -o.")
    if not output.parent.is_dir():
        raise BadOutput(f"The folder {output.parent} of the output {output.name} does not exist: make it first.")
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise BadOutput(f"The folder {output.parent} is not writable: choose another output with -o.")


@contextlib.contextmanager
def explained(output: Path, needed: int) -> Iterator[None]:
    """Turn the system's errors while ``output``, ``needed`` bytes in all, is written into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadOutput(
                f"There is no space left for {output}, which needs {needed} bytes ({byte_size(needed)}): "
                "free some, or choose another place with -o."
            ) from error
        if error.errno == errno.EFBIG:
            raise BadOutput(
                f"The file system of {output} cannot hold a file of {byte_size(needed)}: choose another with -o."
            ) from error
        raise BadOutput(f"The output {output} could not be written: {error.strerror}.") from error


def check_space(output: Path, needed: int) -> None:
    """Refuse at once what would fill the disk: cheaper to say before gigabytes are written than after."""
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise BadOutput(
            f"There is no space for {output}, which needs {needed} bytes where {free} are free: "
            "free some, or choose another place with -o."
        )
