"""Vulkan as it is installed: its loader and the files that name its drivers, found without loading any of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from solofile.runtime.gpu_environment import home_folder
from solofile.runtime.system_files import names, read_bytes

LOADER = "libvulkan.so.1"
_FOLDERS = ("usr/lib64", "usr/lib", "usr/local/lib", "run/opengl-driver/lib", "usr/lib/wsl/lib")
_CACHE_BYTES = 16 << 20


def loaders(root: str = "/", library: str = LOADER) -> list[str]:
    """Where Vulkan's loader (or another ``library``) is, below ``root``: those that the system's own list of libraries
    has, or in the usual folders of systems that keep no such list."""
    listed = parse_library_cache(read_bytes(root, "etc/ld.so.cache", _CACHE_BYTES, whole=True), library)
    usual = (f"{folder}/{library}" for folder in _FOLDERS)
    return [path for path in dict.fromkeys((*listed, *usual)) if _stamp(root, path)]


def parse_library_cache(data: bytes, library: str) -> list[str]:
    """The paths in ``ld.so.cache`` (a table, then texts that end in a zero) that are of that library."""
    name = f"/{library}\0".encode()
    paths = []
    end = data.find(name)
    while end >= 0:
        start = data.rfind(b"\0", 0, end) + 1
        paths.append((data[start:end] + name[:-1]).decode("utf-8", "replace").lstrip("/"))
        end = data.find(name, end + 1)
    return paths


def driver_folders(root: str = "/") -> Iterator[str]:
    """Where the loader looks for files that name drivers (LoaderDriverInterface.md of the Vulkan loader), in a process
    with the environment of gpu_environment.py."""
    home = home_folder(root).strip("/")
    if home:
        yield from (f"{home}/.config/vulkan/icd.d", f"{home}/.local/share/vulkan/icd.d")
    for folder in ("etc/xdg", "etc", "usr/local/share", "usr/share", "run/opengl-driver/share"):
        yield f"{folder}/vulkan/icd.d"


def stamps(root: str = "/") -> list[str]:
    """A line for each file of Vulkan: path, size and time of change. A driver that comes, goes or changes shows."""
    paths = loaders(root)
    for folder in driver_folders(root):
        paths += [f"{folder}/{name}" for name in names(root, folder) if name.endswith(".json")]
    return [stamp for path in dict.fromkeys(paths) if (stamp := _stamp(root, path))]


def _stamp(root: str, path: str) -> str:
    try:
        found = os.stat(f"{root.rstrip('/')}/{path}")  # noqa: PTH116 - no pathlib here
    except OSError:
        return ""
    return f"{path} {found.st_size} {found.st_mtime_ns}"
