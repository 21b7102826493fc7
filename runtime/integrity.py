"""Checks every byte of a bundle, and takes its parts out: the work of ``--verify`` and ``--extract``."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import NamedTuple

from solofile.runtime.container import PADDING_PREFIX, Bundle
from solofile.runtime.ending import damaged
from solofile.runtime.errors import DamagedBundle, InputError
from solofile.runtime.manifest import LAUNCHER_PART, MANIFEST_NAME, Part

OnBytes = Callable[[int], None]
"""Told the bytes done so far, of the total that ``total_bytes`` gives."""


PACKED = "packed"
"""In place of a part's path where the deflated parts as a whole are meant."""


BEHIND = "behind"
"""The same for the ZIP behind the archive."""


class Damage(NamedTuple):
    """A damaged part and the sentence that says what differs."""

    path: str
    what: str


def total_bytes(bundle: Bundle) -> int:
    """The bytes that ``verify`` and ``extract`` go through: those of all parts, unpacked."""
    return sum(part.size for part in bundle.parts.values())


def verify(bundle: Bundle, on_bytes: OnBytes | None = None) -> list[Damage]:
    """Compare every part with its SHA-256, its compressed bytes and its header with the directory; what is damaged.

    Streams: memory does not grow with the file. The manifest and the directory were checked when it was opened, so
    that no byte of the file is left out.
    """
    bundle.read_in_order()
    damages = []
    packed = hashlib.sha256()
    before = 0
    for part in bundle.parts.values():
        done = before
        try:
            for chunk in bundle.open_part(part, packed.update):
                done += len(chunk)
                if on_bytes:
                    on_bytes(done)
        except DamagedBundle as error:
            damages.append(Damage(part.path, str(error)))
        before += part.size
    return damages or _packed_damage(bundle, packed.hexdigest()) or _behind_damage(bundle)


def _packed_damage(bundle: Bundle, found: str) -> list[Damage]:
    """Two streams of DEFLATE can unpack to the same bytes; the second one is still not what was built."""
    if bundle.manifest.packed in (None, found):
        return []
    what = "the compressed bytes of its parts are not what was built, though they unpack to the right ones"
    return [Damage(PACKED, str(damaged(bundle.path, what)))]


def _behind_damage(bundle: Bundle) -> list[Damage]:
    """What lies behind the archive is as it was built."""
    behind = bundle.manifest.behind
    if behind is None:
        return []
    found = hashlib.sha256(b"".join(bundle.bytes_at(bundle.archive_end, behind.size))).hexdigest()
    if found == behind.sha256:
        return []
    return [Damage(BEHIND, str(damaged(bundle.path, "what lies behind its archive is not what was built")))]


def extract(
    bundle: Bundle, folder: Path, on_bytes: OnBytes | None = None, *, only: Set[str] | None = None
) -> list[Path]:
    """Write every part but the padding, and the manifest, below ``folder``, which is made or must be empty.

    With ``only`` nothing but these parts. The files, in order. Raises InputError for a folder that cannot be used,
    DamagedBundle for a damaged part, which then is not left behind. An interruption leaves nothing.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    empty = False
    try:
        _make_empty(folder)
        empty = True
        bundle.read_in_order()
        return _extracted(bundle, folder, on_bytes, only)
    except KeyboardInterrupt:
        _remove(bundle, folder, made, written=empty)
        raise


def _remove(bundle: Bundle, folder: Path, made: list[Path], *, written: bool) -> None:
    """Remove what an interrupted extraction has ``written``, and the folders that it has ``made``, the inner ones
    first. What lies in a folder that was not found to be empty is not its own."""
    paths = [folder / name for name in (*bundle.parts, MANIFEST_NAME)] if written else []
    for path in paths:
        path.unlink(missing_ok=True)
    inside = {parent for path in paths for parent in path.parents if folder in parent.parents}
    for one in [*sorted(inside, key=lambda path: len(path.parts), reverse=True), *made]:
        with contextlib.suppress(OSError):  # not there yet, or somebody has put something in
            one.rmdir()


def _extracted(bundle: Bundle, folder: Path, on_bytes: OnBytes | None, only: Set[str] | None) -> list[Path]:
    written = []
    done = 0
    for part in bundle.parts.values():
        if part.path.startswith(PADDING_PREFIX) or (only is not None and part.path not in only):
            continue
        with _file(folder, part.path, _mode(bundle, part), part.size) as (path, write):
            for chunk in bundle.open_part(part):
                write(chunk)
                done += len(chunk)
                if on_bytes:
                    on_bytes(done)
        written.append(path)
    if only is not None:
        return written
    with _file(folder, MANIFEST_NAME, 0o644, len(bundle.manifest_bytes)) as (path, write):
        write(bundle.manifest_bytes)
    return [*written, path]


def _mode(bundle: Bundle, part: Part) -> int:
    if part.path == LAUNCHER_PART:
        return 0o755
    return bundle.members[part.path].mode & 0o777 if part.path in bundle.members else 0o644


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    if filled:
        raise InputError(f"The folder {folder} is not empty: name one that is empty or does not exist.")


@contextlib.contextmanager
def _file(folder: Path, name: str, mode: int, size: int) -> Iterator[tuple[Path, Callable[[bytes], object]]]:
    """A new file below ``folder``, removed again when the block fails."""
    path = folder / name
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, flags, mode), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            yield path, file.write
    except OSError as error:
        path.unlink(missing_ok=True)
        need = f", which needs {size} bytes" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise InputError(f"{path}{need} cannot be written: {error.strerror}.") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
