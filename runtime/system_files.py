"""Reading the small files of ``/proc`` and ``/sys``: a missing one is empty, since a system need not have any."""

from __future__ import annotations

import os

Cpus = frozenset[int]


def read(root: str, path: str, limit: int = 4096) -> str:
    """The start of the file ``path`` below ``root``, from one read, or an empty text."""
    return read_bytes(root, path, limit).decode("utf-8", "replace")


def read_bytes(root: str, path: str, limit: int = 4096, *, whole: bool = False) -> bytes:
    """The start of a file, or nothing; ``whole``: read on until its end or ``limit``.

    Most of these files come whole from the first read. Those made of many records, such as ``/proc/self/mountinfo``,
    come a page at a time.
    """
    try:
        descriptor = os.open(f"{root.rstrip('/')}/{path}", os.O_RDONLY)
    except OSError:
        return b""
    try:
        data = os.read(descriptor, limit)
        while whole and len(data) < limit and (more := os.read(descriptor, limit - len(data))):
            data += more
        return data
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def read_number(root: str, path: str) -> int | None:
    """The number that a file holds; None when it holds none."""
    return number(read(root, path))


def number(text: str) -> int | None:
    """``4096\\n`` as a number, with or without a sign; None for anything else."""
    text = text.strip()
    return int(text) if text.removeprefix("-").isdecimal() else None


def names(root: str, path: str) -> list[str]:
    """What a folder holds, sorted; nothing when there is no such folder."""
    try:
        return sorted(os.listdir(f"{root.rstrip('/')}/{path}"))  # noqa: PTH208 - no pathlib here
    except OSError:
        return []


def link_name(root: str, path: str) -> str:
    """The last part of what a link points to (the driver that ``…/driver`` names), or an empty text."""
    try:
        return os.path.basename(os.readlink(f"{root.rstrip('/')}/{path}"))  # noqa: PTH115, PTH119 - no pathlib here
    except OSError:
        return ""


def exists(root: str, path: str) -> bool:
    """Is there anything at ``path``?"""
    return os.path.exists(f"{root.rstrip('/')}/{path}")  # noqa: PTH110


def parse_cpu_list(text: str) -> Cpus:
    """Read a list such as ``0-3,8`` of Linux; what is no such list gives nothing."""
    cpus: set[int] = set()
    for span in text.strip().split(","):
        first, _, last = span.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def read_cpu_list(root: str, path: str) -> Cpus:
    """The CPUs (or the memory nodes) that a file lists."""
    return parse_cpu_list(read(root, path))


def parse_fields(text: str) -> dict[str, str]:
    """Lines of ``key: value``, as in ``/proc/meminfo`` and ``/proc/self/status``."""
    fields = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields[key.strip()] = value.strip()
    return fields


def parse_kilobytes(fields: dict[str, str], key: str) -> int | None:
    """The bytes of a field such as ``MemTotal:  8 kB``."""
    amount, _, _ = fields.get(key, "").partition(" ")
    return int(amount) * 1024 if amount.isdecimal() else None
