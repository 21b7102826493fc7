"""Where trees of control groups are mounted and what of them is to be seen there, from ``/proc/self/mountinfo``.

Asked only where a group is not in the usual place: that list is long on a host of containers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from solofile.runtime.control_groups import Group, group_at
from solofile.runtime.system_files import read_bytes

_MOST_BYTES = 4 << 20


class Mount(NamedTuple):
    """A mounted tree of control groups: the group that it shows as its root, where it is, and its controllers."""

    shown: str
    folder: str
    first: bool
    controllers: frozenset[str]


def read_mounts(root: str = "/") -> list[Mount]:
    """The trees that this process sees."""
    return parse_mounts(read_bytes(root, "proc/self/mountinfo", _MOST_BYTES, whole=True).decode("utf-8", "replace"))


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The trees of control groups in ``/proc/self/mountinfo`` (proc(5): fields, a dash, type, source, options)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - cgroup")
        fields, kinds = before.split(" "), after.split(" ")
        if dash and len(fields) > 4 and len(kinds) > 2:
            options = frozenset(kinds[2].split(","))
            mounts.append(Mount(_plain(fields[3]), _plain(fields[4]).strip("/"), kinds[0] == "", options))
    return mounts


def _plain(field: str) -> str:
    """A path of mountinfo, where a space is written ``\\040``."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def locate(first: bool, controllers: str, path: str, mounts: Iterable[Mount]) -> Group | None:
    """Where the group ``path`` is to be seen; None when no mount shows anything that limits it.

    Of several mounts the one that shows most of the groups above counts. A path that no mount shows belongs to a
    container whose mount was made by somebody else: then the mount's own root is the best that is known.
    """
    wanted = set(controllers.split(","))
    trees = [mount for mount in mounts if mount.first == first and (not first or wanted & mount.controllers)]
    below = [(mount, inner) for mount in trees if (inner := _inside(path, mount.shown)) is not None]
    if below:
        mount, inner = max(below, key=lambda found: len(found[1]))
        return group_at(first, controllers, mount.folder, inner)
    # "/../x" is outside of the namespace that this process sees, so nothing that it sees is above it.
    return group_at(first, controllers, trees[0].folder, "") if trees and not path.startswith("/..") else None


def _inside(path: str, shown: str) -> str | None:
    """What is left of ``path`` below the group ``shown``; None when it is elsewhere."""
    shown = shown.rstrip("/")
    inner = path.rstrip("/").removeprefix(shown)
    is_below = f"{path.rstrip('/')}/".startswith(f"{shown}/") and ".." not in inner.split("/")
    return inner if is_below else None
