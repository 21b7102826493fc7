"""What of the environment the libraries of GPUs get to see: nothing that names code for them.

The launcher drops the variables that name a library (environment.zig). HOME and those of the desktop it leaves, since
a browser that is to show the page needs them. But Vulkan's loader looks below them for drivers and layers, and drivers
for code that they compiled earlier; so they are changed in the C library's own environment right before the first of
these libraries loads. Whoever needs the others (browser.py) has a copy from before (cli.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from solofile.runtime.system_files import read_bytes

_USERS_BYTES = 1 << 20

DRIVERS = "drivers"
"""The folder of the cache in which drivers keep what they have compiled."""


def cleaned(environ: Mapping[str, str], root: str = "/") -> dict[str, str]:
    """The environment for a process in which GPU libraries load.

    HOME is what the system's list of users says, and what drivers compile is kept in the cache, for which nobody else's
    word counts and which nobody else can write.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("XDG_") and name != "HOME"}
    home = home_folder(root)
    if home:
        kept["HOME"] = home
    cache = environ.get("SOLOFILE_CACHE_DIR")
    if cache:
        kept["XDG_CACHE_HOME"] = f"{cache}/{DRIVERS}"  # Mesa's and NVIDIA's shaders
        kept["CUDA_CACHE_PATH"] = f"{cache}/{DRIVERS}/cuda"
    return kept


def clean() -> None:
    """Clean the environment of this process, as C sees it."""
    wanted = cleaned(os.environ)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


def home_folder(root: str = "/") -> str:
    """This user's home folder by the system's list of users; empty where that does not have one."""
    user = str(os.getuid()) if hasattr(os, "getuid") else ""
    users = read_bytes(root, "etc/passwd", _USERS_BYTES, whole=True).decode("utf-8", "surrogateescape")
    for line in users.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2] == user and fields[5].startswith("/"):
            return fields[5]
    return ""
