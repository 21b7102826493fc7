"""Writes a file whole or not at all: to a temporary one beside it, which then takes its place."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from solofile.builder.errors import BadOutput
from solofile.builder.progress import byte_size


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[io.FileIO]:
    """A raw file, open for reading and writing, that becomes ``path`` when the block ends well.

    Whatever ends it otherwise, Ctrl-C included, leaves nothing behind and ``path`` as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with contextlib.suppress(FileNotFoundError):  # of an earlier process with the same number that was killed
        temporary.unlink()
    file = io.FileIO(temporary, "x+b")
    try:
        with file:
            yield file
            if os.name == "posix":
                os.fchmod(file.fileno(), mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
