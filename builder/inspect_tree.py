"""Every part of a bundle with its sizes and its SHA-256, as a tree of folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from solofile.runtime.container import Bundle
from solofile.runtime.manifest import MANIFEST_NAME, Part

_HEAD = ("bytes", "in the file", "SHA-256", "part")


def tree(bundle: Bundle) -> str:
    """The table that ``solofile inspect --tree`` prints, the manifest itself included."""
    rows = [_HEAD, *_rows([*bundle.parts.values(), manifest_part(bundle)])]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = (
        f"{size:>{widths[0]}}  {stored:>{widths[1]}}  {sha256:<64}  {name}".rstrip()
        for size, stored, sha256, name in rows
    )
    return "\n".join(lines) + "\n"


def manifest_part(bundle: Bundle) -> Part:
    """The manifest as a part, which it cannot name itself."""
    member = bundle.members[MANIFEST_NAME]
    sha256 = hashlib.sha256(bundle.manifest_bytes).hexdigest()
    return Part(MANIFEST_NAME, member.data_offset, member.size, member.stored, sha256)


def _rows(parts: list[Part]) -> Iterator[tuple[str, str, str, str]]:
    """A row for each part, and one for each folder before the first part in it."""
    opened: list[str] = []
    for part in parts:
        *folders, name = part.path.split("/")
        common = 0
        while common < min(len(opened), len(folders)) and opened[common] == folders[common]:
            common += 1
        for depth in range(common, len(folders)):
            yield "", "", "", f"{'  ' * depth}{folders[depth]}/"
        opened = folders
        yield str(part.size), str(part.stored), part.sha256, f"{'  ' * len(folders)}{name}"
