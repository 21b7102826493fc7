"""The shader compiler and the headers of ``vulkan_kit`` as Debian packages, unpacked into the build cache.

They are not installed, so they do not meet what the system has. The compiler is newer than that of most systems, which
is worth much to GPUs: its older releases know no cooperative matrices. So it comes with its own loader and C library.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from pathlib import Path

from solofile.builder import apt
from solofile.builder.hashing import file_sha256
from solofile.builder.paths import cache_folder, locked, made_at
from solofile.builder.progress import ticking

SUITE = "trixie"
PACKAGES = {
    "glslc": ("2025.2-1", "e05374965709159303041b104d4a26022d6ac5eb8296450364d66ae864a20367"),
    "libshaderc1": ("2025.2-1", "2a67c8f784c65e1aa0d251819c020917405b490fbb543c6a73a52a631e476463"),
    "libvulkan-dev": ("1.4.309.0-1", "8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a"),
    "spirv-headers": ("1.6.1+1.4.309.0-1", "dc18db866d63680351c40ac6b6bece34cb52da64a7799ce1cc4f16f6bff4d064"),
}
"""The packages by name, with version and SHA-256: all that decides what a build makes."""
COMPANIONS = ("libc6", "libstdc++6", "libgcc-s1")
"""What the compiler runs with: of any version, since nothing of it gets into a build."""

_LIBRARIES = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libshaderc.so.1")
_LOADER = "ld-linux-x86-64.so.2"
_RUN = f'#!/bin/sh\nlib="${{0%/*}}/lib"\nexec "$lib/{_LOADER}" --library-path "$lib" "$lib/glslc" "$@"\n'

ORIGIN = f"Debian's glslc {PACKAGES['glslc'][0]} and Vulkan headers {PACKAGES['libvulkan-dev'][0].partition('-')[0]}"


def can_run() -> bool:
    """Whether the packages are for a machine like this one."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def key() -> str:
    """Stands for the packages, as 12 hex digits."""
    return hashlib.sha256(repr(sorted(PACKAGES.items())).encode()).hexdigest()[:12]


def fetch(folder: Path) -> bool:
    """Lay the packages out in ``folder``: ``include/``, ``glslc``, ``copyright``. False, said why, if that fails."""
    if folder.is_dir():
        return True
    if not apt.available():
        return False
    with locked(folder.with_name(f"{folder.name}.lock")):
        if folder.is_dir():
            return True
        label = f"Fetching glslc and Vulkan's headers of Debian's {SUITE}"
        with ticking(label) as shown, tempfile.TemporaryDirectory(dir=cache_folder("tools")) as temporary:
            work, root = Path(temporary), Path(temporary, "root")
            pinned = [f"{name}={version}" for name, (version, _) in PACKAGES.items()]
            apt.download_from(SUITE, [*pinned, *COMPANIONS], work)
            problem = _unpack_all(work, root)
            if problem:
                shown.note(f"{problem}, so the system's own glslc and headers are looked for.")
                return False
            _lay_out(root, folder)
    return True


def _unpack_all(work: Path, root: Path) -> str:
    """Check and unpack every package; what is wrong, or nothing."""
    for name in (*PACKAGES, *COMPANIONS):
        version, digest = PACKAGES.get(name, ("", ""))
        package = next(work.glob(f"{name}_*.deb"), None)
        if package is None:
            return f"apt could not fetch {' '.join((name, version)).strip()} of Debian's {SUITE}"
        if digest and file_sha256(package) != digest:
            return f"{package.name} is not the file that is pinned (by its SHA-256)"
        if not apt.unpack(package, root):
            return f"{package.name} could not be unpacked"
    return ""


def _lay_out(root: Path, folder: Path) -> None:
    system = root / "usr"
    libraries = system / "lib" / "x86_64-linux-gnu"
    with made_at(folder) as made:
        for name in ("vulkan", "vk_video", "spirv"):
            shutil.copytree(system / "include" / name, made / "include" / name)
        (made / "lib").mkdir()
        for name in (*_LIBRARIES, _LOADER):
            shutil.copy2((libraries / name).resolve(), made / "lib" / name)
        shutil.copy2(system / "bin" / "glslc", made / "lib" / "glslc")
        shutil.copy2(system / "share" / "doc" / "libvulkan-dev" / "copyright", made / "copyright")
        (made / "glslc").write_text(_RUN)
        (made / "glslc").chmod(0o755)
