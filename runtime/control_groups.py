"""What Linux's control groups (containers, services, batch systems) leave to this process.

A limit on any group above counts, and what the other processes of that group use counts as well. Both kinds of control
groups are read, also side by side (cgroups(7)). Where the path in ``/proc/self/cgroup`` is not below the usual mount,
``/proc/self/mountinfo`` tells how the two belong together (a container sees its own group as the root of the mount).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from solofile.runtime.system_files import exists, number, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.group_mounts import Mount

MOUNT = "sys/fs/cgroup"
_UNLIMITED = 1 << 60  # the first kind has no word for it, but a number near 2**63

_Amount = TypeVar("_Amount", int, float)


class Limits(NamedTuple):
    """What the groups leave: CPUs (1.5: one and a half), the smallest limit of memory, the bytes of memory and of swap
    that can still be had below all limits. None where nothing limits."""

    quota: float | None = None
    memory_limit: int | None = None
    memory_available: int | None = None
    swap_available: int | None = None


class Group(NamedTuple):
    """A control group: ``first`` of the first kind? ``controllers`` as its line names them; ``folder`` below the root
    of the file system; ``depth`` folders of it lie below the mount."""

    first: bool
    controllers: str
    folder: str
    depth: int

    def has(self, controller: str) -> bool:
        """Is this where ``controller`` may limit something?"""
        return not self.first or controller in self.controllers.split(",")

    @property
    def folders(self) -> Iterator[str]:
        """The group's folder and those above it, up to the mount."""
        folder = self.folder
        for _ in range(self.depth + 1):
            yield folder
            folder = folder.rpartition("/")[0]


def read_limits(root: str = "/") -> Limits:
    """The limits that this process runs under."""
    groups = find_groups(root)
    memory = [found for group in groups if group.has("memory") for found in _memory_limits(group, root)]
    return Limits(
        _least(_quota(group.first, folder, root) for group in groups if group.has("cpu") for folder in group.folders),
        _least(limits.memory_limit for limits in memory),
        _least(limits.memory_available for limits in memory),
        _least(limits.swap_available for limits in memory),
    )


def find_groups(root: str = "/") -> list[Group]:
    """The groups of this process that may limit CPUs or memory."""
    groups = []
    mounts: list[Mount] | None = None
    for line in read(root, "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        first = bool(controllers)
        if first and not {"cpu", "memory"} & set(controllers.split(",")):
            continue
        usual = group_at(first, controllers, f"{MOUNT}/{controllers}" if first else MOUNT, path)
        if ".." not in path and exists(root, f"{usual.folder}/cgroup.procs"):
            groups.append(usual)
            continue
        from solofile.runtime.group_mounts import locate, read_mounts

        mounts = read_mounts(root) if mounts is None else mounts
        found = locate(first, controllers, path, mounts) if mounts else usual
        groups += [found] if found else []
    return groups


def group_at(first: bool, controllers: str, mount: str, path: str) -> Group:
    """The group ``path`` below the folder ``mount``."""
    inner = path.strip("/")
    return Group(first, controllers, f"{mount}/{inner}".rstrip("/"), len(inner.split("/")) if inner else 0)


def _quota(first: bool, folder: str, root: str) -> float | None:
    if not first:
        return parse_cpu_max(read(root, f"{folder}/cpu.max"))
    quota, period = (read(root, f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return parse_cpu_max(f"{quota} {period}")


def parse_cpu_max(text: str) -> float | None:
    """Read ``200000 100000`` (2 CPUs) or ``max 100000`` (no limit), microseconds of a period."""
    words = text.split()
    if len(words) != 2 or not words[0].isdecimal() or not words[1].isdecimal() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _memory_limits(group: Group, root: str) -> Iterator[Limits]:
    for folder in group.folders:
        yield _first_kind(folder, root, folder == group.folder) if group.first else _second_kind(folder, root)


def _second_kind(folder: str, root: str) -> Limits:
    # Above memory.high the kernel takes pages away from the group and makes it wait: nobody wants to live there.
    limit = _least(read_number(root, f"{folder}/memory.{name}") for name in ("max", "high"))
    swap = read_number(root, f"{folder}/memory.swap.max")
    used = _stat(read(root, f"{folder}/memory.stat", 1 << 16)) if limit is not None else {}
    cache = sum(used.get(key, 0) for key in ("inactive_file", "active_file", "slab_reclaimable"))
    return Limits(
        memory_limit=limit,
        memory_available=_left(limit, read_number(root, f"{folder}/memory.current"), cache),
        swap_available=_left(swap, read_number(root, f"{folder}/memory.swap.current"), 0),
    )


def _first_kind(folder: str, root: str, own: bool) -> Limits:
    """As above. The statistics of its own group also name the smallest limit above, which a container may not see."""
    limit = _limited(read_number(root, f"{folder}/memory.limit_in_bytes"))
    stat = _stat(read(root, f"{folder}/memory.stat", 1 << 16)) if own or limit is not None else {}
    limit = _least([limit, _limited(stat.get("hierarchical_memory_limit"))])
    if limit is None:
        return Limits()
    cache = sum(stat.get(key, 0) for key in ("total_inactive_file", "total_active_file"))
    memory = _left(limit, read_number(root, f"{folder}/memory.usage_in_bytes"), cache)
    both = _limited(read_number(root, f"{folder}/memory.memsw.limit_in_bytes"))
    swap = _left(both, read_number(root, f"{folder}/memory.memsw.usage_in_bytes"), cache)
    return Limits(None, limit, memory, None if swap is None else max(0, swap - (memory or 0)))


def _limited(limit: int | None) -> int | None:
    return None if limit is None or not 0 <= limit < _UNLIMITED else limit


def _left(limit: int | None, used: int | None, reclaimable: int) -> int | None:
    """What may still be taken: what caches files can be had again."""
    return None if limit is None else min(limit, max(0, limit - (used or 0) + reclaimable))


def _stat(text: str) -> dict[str, int]:
    """``memory.stat``: lines of a name and a number."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: amount for name, _, value in pairs if (amount := number(value)) is not None}


def _least(amounts: Iterable[_Amount | None]) -> _Amount | None:
    return min((amount for amount in amounts if amount is not None), default=None)
