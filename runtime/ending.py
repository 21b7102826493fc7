"""How a bundle ends (FORMAT.md): the comment of its archive, and what may lie behind that.

Kept apart from the rest of the format, since a launcher in Python reads no more than this.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from solofile.runtime.archive import END_SIZE, ArchiveError, End, Member, end_records, parse_directory, parse_end
from solofile.runtime.errors import DamagedBundle, InputError
from solofile.runtime.raw_file import read_at

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

FORMAT = 1
COMMENT_MAGIC = b"solofile "
COMMENT_PREFIX = COMMENT_MAGIC + str(FORMAT).encode() + b" "
COMMENT_SIZE = len(COMMENT_PREFIX) + 64
TAIL_SIZE = END_SIZE + COMMENT_SIZE

BEHIND_MAGIC = b"solofile behind "
"""How the comment of the ZIP behind the archive begins; ten digits follow, the bytes of that ZIP."""

MAX_BEHIND = 16 << 20
_DIGITS = 10
_PLAIN_END = struct.Struct("<4s4H2IH")
_BEHIND_COMMENT = len(BEHIND_MAGIC) + _DIGITS
BEHIND_END = _PLAIN_END.size + _BEHIND_COMMENT
"""Bytes of the end record of such a ZIP, its comment included."""


def comment_of(manifest: bytes, directory: bytes) -> bytes:
    """The comment of the end record: the magic, the format version and the digest over manifest and directory."""
    return COMMENT_PREFIX + hashlib.sha256(manifest + directory).hexdigest().encode()


def sums_path(target: str) -> str:
    """The member that lists a target's runtime files with their SHA-256; its own SHA-256 is the pack's digest."""
    return f"runtime/{target}.sums"


def damaged(path: str, what: str) -> DamagedBundle:
    """The error for the bundle at ``path``, with the remedy."""
    return DamagedBundle(f"{path} is damaged: {what}; copy or download it again.")


def check_version(path: str, tail: bytes) -> None:
    """Tell a bundle of a newer format, whose end may be of another length, from a damaged one."""
    version = tail[tail.rfind(COMMENT_MAGIC) + len(COMMENT_MAGIC) :].split(b" ")[0] if COMMENT_MAGIC in tail else b""
    if version.isdigit() and len(version) < 10 and int(version) > FORMAT:
        raise InputError(
            f"{path} was built by a newer solofile (format {int(version)}, this one reads {FORMAT}): "
            "use that version to read it."
        )


class Directory(NamedTuple):
    """The directory of an archive: its members in file order, its bytes, and the comment that closes the file."""

    members: tuple[Member, ...]
    raw: bytes
    comment: bytes

    @property
    def digest(self) -> str:
        """The one in the comment, which stands for the whole file once it was compared (`check_digest`)."""
        return self.comment[len(COMMENT_PREFIX) :].decode()


def read_tail(descriptor: int, size: int) -> bytes:
    """The last bytes of what ends at ``size``: as many as the end of an archive has."""
    return read_at(descriptor, TAIL_SIZE, max(0, size - TAIL_SIZE)) if size > 0 else b""


def read_directory(path: str, descriptor: int, tail: bytes, size: int) -> Directory:
    """The directory of the archive that ends at ``size``, with ``tail``. Raises DamagedBundle."""
    try:
        end = parse_end(tail, size)
        raw = read_at(descriptor, end.directory_size, end.directory_offset)
        return Directory(parse_directory(raw, end), raw, end.comment)
    except ArchiveError as error:
        raise damaged(path, str(error)) from error


def check_digest(path: str, comment: bytes, manifest: bytes, directory: bytes) -> None:
    """The comment names the format and holds the digest over manifest and directory."""
    if not comment.startswith(COMMENT_PREFIX):
        raise damaged(path, "its comment does not name the format")
    if comment != comment_of(manifest, directory):
        raise damaged(path, "its directory, its manifest or the digest over them was changed")


def behind_size(tail: bytes) -> int:
    """Bytes of the ZIP behind the archive, by the last bytes of the file; 0 where there is none."""
    record = tail[-BEHIND_END:]
    number = record[-_DIGITS:]
    if len(record) < BEHIND_END or not record.startswith(b"PK\5\6") or not number.isdigit():
        return 0
    if record[-_BEHIND_COMMENT:-_DIGITS] != BEHIND_MAGIC or not BEHIND_END <= int(number) <= MAX_BEHIND:
        return 0
    return int(number)


def behind_end(entries: int, directory_size: int, directory_offset: int, before: int) -> bytes:
    """The end record of the ZIP behind the archive, of which ``before`` bytes come before this record.

    Those of ZIP64 come first only where the directory lies behind 4 GiB: Python before 3.13 knows none.
    """
    large = b""
    if directory_offset >= 0xFFFF_FFFF:
        large = end_records(End(entries, directory_offset, directory_size, b""))[: -_PLAIN_END.size]
    comment = BEHIND_MAGIC + str(before + len(large) + BEHIND_END).zfill(_DIGITS).encode()
    offset = min(directory_offset, 0xFFFF_FFFF)
    plain = _PLAIN_END.pack(b"PK\5\6", 0, 0, entries, entries, directory_size, offset, len(comment))
    return large + plain + comment
