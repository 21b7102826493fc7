"""The bundle's own file: its end, its directory and single members, read as strictly as the runtime does."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from solofile.runtime.archive import STORED, Member, local_header
from solofile.runtime.ending import behind_size, check_digest, check_version, damaged, read_directory, read_tail
from solofile.runtime.errors import InputError
from solofile.runtime.raw_file import advise, read_at

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

CHUNK = 1 << 20
MAX_MANIFEST = 4 << 20


class BundleFile(NamedTuple):
    """An open bundle: its members by path in file order, and the digest in its comment."""

    path: str
    descriptor: int
    members: Mapping[str, Member]
    digest: str


def open_bundle(path: str) -> BundleFile:
    """Open the bundle at ``path``. Raises InputError, DamagedBundle."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        return _opened(path, descriptor)
    except OSError as error:
        raise InputError(
            f"The bundle's own file {path} cannot be read ({error.strerror}): start it from where it can be."
        ) from error


def _opened(path: str, descriptor: int) -> BundleFile:
    advise(descriptor, "POSIX_FADV_RANDOM")  # or the kernel reads ahead, into the model that lies before
    size = os.fstat(descriptor).st_size
    size -= behind_size(read_tail(descriptor, size))
    tail = read_tail(descriptor, size)
    check_version(path, tail)
    directory = read_directory(path, descriptor, tail, size)
    last = directory.members[-1]
    if last.method != STORED or last.size > MAX_MANIFEST:
        raise damaged(path, "its manifest is not where it must be")
    check_digest(path, directory.comment, read_at(descriptor, last.size, last.data_offset), directory.raw)
    return BundleFile(path, descriptor, {member.path: member for member in directory.members}, directory.digest)


def chunks(bundle: BundleFile, member: Member) -> Iterator[bytes]:
    """The bytes of a member, its header checked, at most 1 MiB at a time. Raises DamagedBundle."""
    header = local_header(member)
    if read_at(bundle.descriptor, len(header), member.header_offset) != header:
        raise damaged(bundle.path, f"the header of {member.path} disagrees with the directory")
    size = 0
    for chunk in _inflated(bundle, member):
        size += len(chunk)
        if size > member.size:
            break
        yield chunk
    if size != member.size:
        raise damaged(bundle.path, f"{member.path} is not of the size that the directory says")


def _inflated(bundle: BundleFile, member: Member) -> Iterator[bytes]:
    if member.method == STORED:
        yield from _stored(bundle, member)
        return
    inflater = zlib.decompressobj(-15)
    try:
        for chunk in _stored(bundle, member):
            while chunk and not inflater.eof:
                yield inflater.decompress(chunk, CHUNK)
                chunk = inflater.unconsumed_tail
    except zlib.error as error:
        raise damaged(bundle.path, f"{member.path} does not decompress") from error
    if not inflater.eof or inflater.unused_data:
        raise damaged(bundle.path, f"{member.path} does not end where its compressed bytes do")


def _stored(bundle: BundleFile, member: Member) -> Iterator[bytes]:
    offset, end = member.data_offset, member.end
    while offset < end:
        chunk = read_at(bundle.descriptor, min(CHUNK, end - offset), offset)
        if not chunk:
            raise damaged(bundle.path, f"{member.path} is cut short")
        offset += len(chunk)
        yield chunk
