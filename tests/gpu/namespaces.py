"""Puts something in the way of a program without its knowing: in a mount namespace of its own, as root.

A bundle drops every variable that names a library, so this is how the tests give it a Vulkan loader that misbehaves,
or take the loader or the drivers away. ``prefix`` goes before the command.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_SHELL = ["unshare", "--mount", "sh", "-e", "-c"]


def instead_of(target: Path, stand_in: Path) -> list[str]:
    """The prefix for a command that finds ``stand_in`` where ``target`` is."""
    script = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    return [*_SHELL, script, "sh", str(stand_in), str(target)]


def without(target: Path, work: Path) -> list[str]:
    """The prefix for a command that does not find ``target``, a file or a link; ``work`` is an empty folder."""
    script = (
        'mount -t tmpfs tmpfs "$2"; mkdir "$2/upper" "$2/work"; mknod "$2/upper/${1##*/}" c 0 0; '
        'mount -t overlay overlay -o "lowerdir=${1%/*},upperdir=$2/upper,workdir=$2/work" "${1%/*}"; '
        'shift 2; exec "$@"'
    )
    return [*_SHELL, script, "sh", str(target), str(work)]


def emptied(folder: Path) -> list[str]:
    """The prefix for a command that finds nothing in ``folder``."""
    return [*_SHELL, 'mount -t tmpfs tmpfs "$1"; shift; exec "$@"', "sh", str(folder)]


def works(prefix: list[str]) -> bool:
    """Whether this system allows it: root, mount namespaces, the file systems."""
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
