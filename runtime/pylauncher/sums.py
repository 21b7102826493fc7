"""The list of the files that belong into one folder of the cache, ``runtime/<name>.sums``. Its SHA-256 names the
folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from solofile.runtime.archive import Member
from solofile.runtime.ending import damaged, sums_path
from solofile.runtime.errors import InputError
from solofile.runtime.pylauncher.bundle_file import BundleFile, chunks

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

MAX_TEXT = 16 << 20
_LINE = re.compile(r"([0-9a-f]{64}) ([0-9]{1,18}) ([0-7]{4}) (.{1,1024})")


class File(NamedTuple):
    """One file: its path in the folder, what it must be, and where it lies in the bundle."""

    path: str
    sha256: str
    executable: bool
    member: Member


class Group(NamedTuple):
    """The files of one folder, sorted; ``digest`` names it."""

    name: str
    digest: str
    files: Sequence[File]

    @property
    def megabytes(self) -> int:
        """What it takes, in millions of bytes, rounded up."""
        return sum(file.member.size for file in self.files) // 1_000_000 + 1


def group(bundle: BundleFile, name: str) -> Group:
    """The group of that name: a target's, or that of the Python modules. Raises InputError, DamagedBundle."""
    listed = bundle.members.get(sums_path(name))
    if listed is None:
        raise InputError(f"{bundle.path} holds nothing for {name}: build it again with --target {name}.")
    if listed.size > MAX_TEXT:
        raise damaged(bundle.path, f"{listed.path} is too long")
    text = b"".join(chunks(bundle, listed))
    prefix = f"runtime/{name}/"
    members = [member for path, member in bundle.members.items() if path.startswith(prefix)]
    files = _parse(text, members, len(prefix))
    if files is None:
        raise damaged(bundle.path, f"{listed.path} does not describe its files")
    return Group(name, hashlib.sha256(text).hexdigest(), files)


def _parse(text: bytes, members: Sequence[Member], prefix: int) -> list[File] | None:
    """None where a line is malformed, or not that of the member in its place. Paths are safe: the directory's are."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        return None
    if lines.pop() or len(lines) != len(members):
        return None
    files = []
    for line, member in zip(lines, members, strict=True):
        found = _LINE.fullmatch(line)
        if not found or found[4] != member.path[prefix:] or int(found[2]) != member.size:
            return None
        mode = int(found[3], 8)
        if mode != member.mode & 0o7777:
            return None
        files.append(File(found[4], found[1], bool(mode & 0o111), member))
    return files
