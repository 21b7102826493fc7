"""Joins the parts of a split model into one GGUF, as “llama-gguf-split --merge” does.

The first part carries the metadata; each has some of the tensors. The joined file has all of them in their order, no
``split.*`` keys, and the same bytes for the same parts. It is kept in the build cache, named by what it was made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from solofile.builder.archive_writer import open_raw
from solofile.builder.copying import write_all
from solofile.builder.errors import BadModel
from solofile.builder.gguf_header import DEFAULT_ALIGNMENT, MAGIC, Header, HeaderCut, HeaderError, read_header
from solofile.builder.output import explained, replacing
from solofile.builder.paths import cache_folder, keep_newest, locked, mark_used
from solofile.builder.progress import Progress
from solofile.builder.sources import PART_NAME, Fetched, part_names
from solofile.builder.tools import ProgressMaker

CHUNK = 8 << 20
RULES = 1
"""Counted up when the bytes of a joined file change."""

KEPT = 2
"""Joined models that stay in the build cache: they are as large as their parts."""


def joined(fetched: Fetched, progress: ProgressMaker = Progress) -> Fetched:
    """``fetched``, or the whole model where it is a part of a split one. Raises BadModel."""
    parts = [part.path for part in fetched.parts] or _siblings(fetched)
    if not parts:
        return fetched
    headers = [_header(path) for path in parts]
    _check(parts, headers)
    match = PART_NAME.fullmatch(fetched.name)
    name = f"{match['stem'] if match else 'model'}.gguf"
    folder = cache_folder("joined", _key(parts, fetched.parts))
    path = folder / name
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not path.is_file():
            _join(parts, headers, path, progress)
    mark_used(folder)
    keep_newest(folder.parent, KEPT)
    return Fetched(path, None, name)


def _siblings(fetched: Fetched) -> list[Path]:
    """The files of a split model that lies in a folder of the user's; none for a whole model."""
    names = part_names(fetched.path.name)
    if len(names) < 2 or fetched.span or not fetched.path.is_file():
        return []
    missing = [name for name in names if not fetched.path.with_name(name).is_file()]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        number = names.index(fetched.path.name) + 1
        raise BadModel(
            f"{fetched.path} is part {number} of {len(names)} of a split model, of which {listed} cannot be found "
            "beside it: get what is missing."
        )
    return [fetched.path.with_name(name) for name in names]


def _header(path: Path) -> Header:
    try:
        with open_raw(path) as file:
            header = read_header(file)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}.") from error
    except HeaderCut as error:
        raise BadModel(f"{path} is cut short: at least {error.missing} bytes are missing; get it again.") from error
    except HeaderError as error:
        raise BadModel(f"{path} cannot be used: {error}; get it again.") from error
    if header.tensors and header.end > size:
        raise BadModel(f"{path} is cut short: {header.end - size} of {header.end} bytes are missing; get it again.")
    return header


def _check(parts: Sequence[Path], headers: Sequence[Header]) -> None:
    """Are these the parts of one model, all of them and in order?"""
    for index, (path, header) in enumerate(zip(parts, headers, strict=True)):
        number, count = header.values.get("split.no"), header.values.get("split.count")
        if (number, count) != (index, len(parts)):
            raise BadModel(
                f"{path} says that it is part {number} of {count}, counted from 0, and is called part {index} of "
                f"{len(parts)}: get the parts again, under the names that they had."
            )
    named = headers[0].values.get("split.tensors.count")
    found = sum(header.tensors for header in headers)
    if named not in (None, found):
        raise BadModel(f"The parts of {parts[0]} hold {found} tensors in place of {named}: get them again.")
    names = [name for header in headers for name in header.names]
    if len(set(names)) != len(names):
        raise BadModel(f"Two parts of {parts[0]} hold the same tensor: get the parts again.")
    first = headers[0].values.get("general.architecture")
    if any(header.values.get("general.architecture", first) != first for header in headers):
        raise BadModel(f"The parts of {parts[0]} are not of one model: get them again, into a folder of their own.")


def _key(parts: Sequence[Path], fetched: Sequence[Fetched]) -> str:
    """By the parts' SHA-256 where they are known, else by what the file system says of them."""
    facts: list[object] = [RULES]
    if fetched:
        facts += [part.sha256 for part in fetched]
    else:
        for path in parts:
            found = path.stat()
            facts.append([str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _join(parts: Sequence[Path], headers: Sequence[Header], path: Path, progress: ProgressMaker) -> None:
    total = sum(part.stat().st_size for part in parts)
    with (
        contextlib.ExitStack() as stack,
        explained(path, total),
        progress(f"Joining {path.name}", total, "B") as shown,
        replacing(path) as output,
    ):
        sources = [stack.enter_context(open_raw(part)) for part in parts]
        alignment = int(headers[0].values.get("general.alignment", DEFAULT_ALIGNMENT))
        write_all(output, _joined_header(sources, headers, alignment))
        for source, header in zip(sources, headers, strict=True):
            for place in header.names.values():
                _copy(source, header.data_offset + place.offset, place.size, output)
                write_all(output, bytes(-output.tell() % alignment))
                shown.update(output.tell())
        shown.update(total)


def _joined_header(sources: Sequence[io.FileIO], headers: Sequence[Header], alignment: int) -> bytes:
    """The header of the joined file, padded to where the tensors begin: every entry byte by byte as it was."""
    first = headers[0]
    entries = [_bytes(sources[0], *place) for key, place in first.places.items() if not key.startswith("split.")]
    tensors, position = [], 0
    for source, header in zip(sources, headers, strict=True):
        for place in header.names.values():
            said = _bytes(source, place.start, place.stop - 8)  # all but where it lay
            tensors.append(said + struct.pack("<Q", position))
            position += -(-place.size // alignment) * alignment
    head = struct.pack("<4sIQQ", MAGIC, first.version, len(tensors), len(entries))
    head += b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % alignment)


def _bytes(source: io.FileIO, start: int, stop: int) -> bytes:
    source.seek(start)
    return source.read(stop - start) or b""


def _copy(source: io.FileIO, offset: int, size: int, output: io.FileIO) -> None:
    source.seek(offset)
    while size:
        chunk = source.read(min(size, CHUNK))
        if not chunk:
            raise BadModel(f"{source.name} became shorter while it was read: join its parts again.")
        write_all(output, chunk)
        size -= len(chunk)
