"""The strict reader of a bundle (FORMAT.md), run at each start.

It reads the end records, the directory and the manifest, compares them with the digest in the file's comment and with
one another, and nothing else: no page of a part is touched before that part is asked for.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType

from solofile.runtime import authenticode, beside
from solofile.runtime.archive import STORED, Member, local_header
from solofile.runtime.ending import (
    COMMENT_PREFIX,
    COMMENT_SIZE,
    TAIL_SIZE,
    behind_size,
    check_digest,
    check_version,
    comment_of,
    damaged,
    read_directory,
    read_tail,
    sums_path,
)
from solofile.runtime.errors import DamagedBundle, InputError, UnknownName
from solofile.runtime.layout import PADDING_PREFIX, check_behind, check_models, check_parts, check_roots
from solofile.runtime.manifest import LAUNCHER_PART, MANIFEST_NAME, MAX_MANIFEST, Manifest, Part
from solofile.runtime.raw_file import advise, read_at

__all__ = ["COMMENT_PREFIX", "COMMENT_SIZE", "PADDING_PREFIX", "TAIL_SIZE", "Bundle", "comment_of", "sums_path"]

CHUNK = 1 << 20


class Bundle:
    """An open bundle: ``manifest``, ``parts`` and ``members`` by path, in file order, and the bytes of each part.

    ``digest`` is the one in the file's comment: it stands for the whole file. ``certificates`` is where a signature for
    Windows lies, None where there is none.
    """

    def __init__(
        self,
        path: str,
        descriptor: int,
        members: Mapping[str, Member],
        manifest: Manifest,
        manifest_bytes: bytes,
        digest: str,
        certificates: authenticode.Table | None = None,
    ) -> None:
        self.path = path
        self.digest = digest
        self.file_size = os.fstat(descriptor).st_size
        self.manifest = manifest
        self.manifest_bytes = manifest_bytes
        self.members = MappingProxyType(dict(members))
        self.parts = MappingProxyType({part.path: part for part in (*manifest.parts, *beside.parts(manifest))})
        self._beside = {one.path: one for one in manifest.beside}
        self.certificates = certificates
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open and check the bundle at ``path``.

        Raises DamagedBundle with a sentence that says what is damaged, InputError when it cannot be opened or is of a
        newer format.
        """
        name = os.fspath(path)
        try:
            descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise InputError(f"{name} cannot be opened: {error.strerror}.") from error
        try:
            return _open(name, descriptor)
        except OSError as error:
            os.close(descriptor)
            raise InputError(f"{name} cannot be read: {error.strerror}.") from error
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, part: str | Part, *, limit: int = 256 << 20) -> bytes:
        """The whole of a small part, checked against its SHA-256. Parts over ``limit`` bytes are refused."""
        found = self.part(part)
        if found.size > limit:
            raise InputError(f"{found.path} of {self.path} has {found.size} bytes: read it with open_part.")
        return b"".join(self.open_part(found))

    def open_part(self, part: str | Part, on_packed: Callable[[bytes], object] | None = None) -> Iterator[bytes]:
        """The bytes of a part in chunks of at most 1 MiB; DamagedBundle comes, at the latest, after the last one.

        ``on_packed`` is given the bytes of a deflated part as they lie in the file.
        """
        found = self.part(part)
        if found.path in self._beside:
            return self._verified(found, beside.chunks(self.path, self._beside[found.path]))
        if found.path == LAUNCHER_PART:
            chunks: Iterator[bytes] = self._stored_bytes(found.path, found.offset, found.stored)
            if self.certificates is not None:
                chunks = authenticode.unsigned(self.certificates, chunks)
        else:
            member = self._checked(found.path)
            chunks = self._stored_bytes(found.path, member.data_offset, member.stored)
            if member.method != STORED:
                chunks = self._inflated(found, _told(chunks, on_packed) if on_packed else chunks)
        return self._verified(found, chunks)

    def data_offset(self, part: str | Part) -> int:
        """Offset in the file of a part's first byte, its local header checked; what is mapped in place starts here."""
        found = self.part(part)
        return 0 if found.path == LAUNCHER_PART else self._checked(found.path).data_offset

    def place(self, part: str | Part) -> tuple[Path, int]:
        """The file in which a part lies as it is, and the offset of its first byte there."""
        found = self.part(part)
        if found.path in self._beside:
            return beside.place(self.path, self._beside[found.path]), 0
        return Path(self.path), self.data_offset(found)

    def part(self, part: str | Part) -> Part:
        """The part of that path, or UnknownName with the nearest."""
        if isinstance(part, Part):
            return part
        if part not in self.parts:
            raise UnknownName("part", part, self.parts, where=self.path)
        return self.parts[part]

    def check_headers(self) -> None:
        """Compare each local header with the directory: reads a page a member, so not done at each start."""
        for path in self.members:
            self._checked(path)

    def whole_file(self) -> Iterator[bytes]:
        """All bytes of the file, unchecked, in chunks of at most 1 MiB."""
        return self._stored_bytes("the file", 0, self.file_size)

    def bytes_at(self, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of the file as they are, in chunks of at most 1 MiB."""
        return self._stored_bytes("the file", offset, length)

    @property
    def archive_end(self) -> int:
        """Offset behind the archive: where the ZIP for a Python begins, if there is one."""
        return self.file_size - (self.manifest.behind.size if self.manifest.behind else 0)

    def read_in_order(self) -> None:
        """Tell the system that the file is about to be read from end to end, so that reading ahead pays."""
        advise(self._descriptor, "POSIX_FADV_SEQUENTIAL")

    def fileno(self) -> int:
        """The descriptor of the open file, for those who copy from it."""
        return self._descriptor

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, path: str) -> Member:
        member = self.members[path]
        header = local_header(member)
        if read_at(self._descriptor, len(header), member.header_offset) != header:
            raise damaged(self.path, f"the header of {path} disagrees with the directory")
        return member

    def _stored_bytes(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        while length:
            chunk = read_at(self._descriptor, min(length, CHUNK), offset)
            if not chunk:
                raise damaged(self.path, f"{path} is cut short")
            offset += len(chunk)
            length -= len(chunk)
            yield chunk

    def _inflated(self, part: Part, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The inflated bytes of ``chunks``; stops as soon as more come out than there should be."""
        inflater = zlib.decompressobj(-15)
        left = part.size
        try:
            for chunk in chunks:
                while chunk and not inflater.eof:
                    out = inflater.decompress(chunk, CHUNK)
                    left -= len(out)
                    if left < 0:
                        raise damaged(self.path, f"{part.path} is longer than the manifest says")
                    if out:
                        yield out
                    chunk = inflater.unconsumed_tail
        except zlib.error as error:
            raise damaged(self.path, f"{part.path} does not decompress") from error
        if not inflater.eof or inflater.unused_data:
            raise damaged(self.path, f"{part.path} does not end where its compressed bytes do")

    def _verified(self, part: Part, chunks: Iterator[bytes]) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if size != part.size:
            raise damaged(self.path, f"{part.path} has {size} bytes in place of {part.size}")
        if digest.hexdigest() != part.sha256:
            raise damaged(self.path, f"the contents of {part.path} are not what was built (its SHA-256 differs)")


def _told(chunks: Iterator[bytes], listener: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        listener(chunk)
        yield chunk


def _open(path: str, descriptor: int) -> Bundle:
    # Without this the kernel reads ahead around the directory, into the pages of the model that lies before it.
    advise(descriptor, "POSIX_FADV_RANDOM")
    size = os.fstat(descriptor).st_size
    tail = read_tail(descriptor, size)
    certificates = None
    behind = behind_size(tail)
    if behind:
        size -= behind
        tail = read_tail(descriptor, size)
    elif not tail.startswith(b"PK\6\6"):
        certificates = authenticode.find(read_at(descriptor, authenticode.HEADER, 0), size)
        if certificates is not None:
            size, tail = _end_before(descriptor, certificates)
    check_version(path, tail)
    if not tail.startswith(b"PK\6\6"):
        raise DamagedBundle(
            f"{path} is no bundle, or was cut short: it does not end with a bundle's end record; "
            "copy or download it again."
        )
    directory = read_directory(path, descriptor, tail, size)
    manifest_bytes = _read_manifest(path, descriptor, directory.members[-1])
    check_digest(path, directory.comment, manifest_bytes, directory.raw)
    manifest = Manifest.from_json(manifest_bytes, where=path)
    by_path = {member.path: member for member in directory.members}
    check_roots(path, directory.members)
    check_parts(path, directory.members, manifest)
    check_models(path, manifest, by_path)
    check_behind(path, manifest, behind)
    beside.check(path, manifest)
    return Bundle(path, descriptor, by_path, manifest, manifest_bytes, directory.digest, certificates)


def _end_before(descriptor: int, certificates: authenticode.Table) -> tuple[int, bytes]:
    """Where the archive of a signed file ends, and its last bytes; they are followed by few zeros at most."""
    length = min(TAIL_SIZE + authenticode.PADDING, certificates.offset)
    raw = read_at(descriptor, length, certificates.offset - length)
    kept = raw[: -authenticode.PADDING] + raw[-authenticode.PADDING :].rstrip(b"\0")
    return certificates.offset - len(raw) + len(kept), kept[-TAIL_SIZE:]


def _read_manifest(path: str, descriptor: int, member: Member) -> bytes:
    if member.path != MANIFEST_NAME:
        raise damaged(path, f"its last part is {member.path} in place of {MANIFEST_NAME}")
    if member.size > MAX_MANIFEST or member.stored > MAX_MANIFEST:
        raise damaged(path, f"its manifest claims {member.size} bytes, more than there can be")
    raw = read_at(descriptor, member.end - member.header_offset, member.header_offset)
    header = local_header(member)
    if not raw.startswith(header):
        raise damaged(path, f"the header of {MANIFEST_NAME} disagrees with the directory")
    data = raw[len(header) :]
    if member.method != STORED:
        try:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
        except zlib.error as error:
            raise damaged(path, "its manifest does not decompress") from error
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise damaged(path, "its manifest was changed")
    return data
