"""A Vulkan loader that crashes, hangs or fails when it is told to; else it hands on to the real one."""

from __future__ import annotations

import atexit
import ctypes.util
import shutil
import tempfile
from pathlib import Path

from namespaces import instead_of
from zig_cc import SHARED, zig_cc

SOURCE = Path(__file__).with_name("stub_loader.c")
FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")


def real_loader() -> Path | None:
    """The link ``libvulkan.so.1`` of this system."""
    links = (Path(folder, "libvulkan.so.1") for folder in FOLDERS)
    return next((link for link in links if ctypes.util.find_library("vulkan") and link.exists()), None)


class StubLoader:
    """``prefix`` goes before the command of a program that gets this loader in place of the system's."""

    def __init__(self, folder: Path) -> None:
        found = real_loader()
        assert found is not None
        reached = _within_reach()
        self._control = reached / "control"
        real = shutil.copy(found.resolve(), reached / "libvulkan-real.so")
        library = folder / "libvulkan.so.1"
        _compile(library, CONTROL=self._control, REAL=real)
        self.prefix = instead_of(found.resolve(), library)

    def tell(self, when: str, what: str, count: int = 0) -> None:
        """From now on, ``what`` (crash, abort, hang, fail) comes at ``when``: load, create or submit.

        ``count`` calls of that kind still go well first, counted from the start of each process. Programs that run
        already are told as well.
        """
        temporary = self._control.with_suffix(".new")
        temporary.write_text(f"{when} {what} {count}\n")
        temporary.replace(self._control)

    def calm(self) -> None:
        """From now on everything is handed on."""
        self._control.unlink(missing_ok=True)


def _within_reach() -> Path:
    """A folder that the sandbox lets drivers read, for the loader that stands in for one; gone at the end."""
    folder = Path(tempfile.mkdtemp(dir="/opt", prefix="solofile-test-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _compile(output: Path, **paths: Path | str) -> None:
    defined = (f'-D{name}="{path}"' for name, path in paths.items())
    zig_cc(output, *SHARED, "-Wl,-soname,libvulkan.so.1", *defined, SOURCE, "-ldl")
