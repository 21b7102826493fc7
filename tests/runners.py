"""How the programs of a target are run here: by themselves, under Wine, or under QEMU's emulation of a CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import binfmt
from solofile.runtime.hardware import target as host_target

_WINES = ("wine64", "/usr/lib/wine/wine64", "wine")


@dataclass(frozen=True)
class Runner:
    """One way. ``kernels`` are those that its tests put into a bundle, ``patience`` how much longer all takes."""

    name: str
    target: str
    kernels: str
    wrapper: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    lack: str = ""
    patience: float = 1.0

    @property
    def is_windows(self) -> bool:
        return self.target.startswith("windows")

    def command(self, program: Path, *words: str) -> list[str]:
        """What starts ``program`` here."""
        return [*self.wrapper, str(program), *words]

    def environment(self, cache: Path | None = None) -> dict[str, str]:
        """The environment for it; without ``cache`` the bundle finds a place by itself."""
        environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | dict(self.settings)
        return environment | ({"SOLOFILE_CACHE": self.path(cache)} if cache else {})

    def path(self, path: Path) -> str:
        """A path of this machine as the program says it."""
        return "Z:" + str(path).replace("/", "\\") if self.is_windows else str(path)

    def run(
        self, program: Path, *words: str, cache: Path | None = None, text: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with ``text`` on its standard input. Pipes: Wine has no use for files of this system."""
        given = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        return subprocess.run(
            self.command(program, *words), env=self.environment(cache), capture_output=True, text=True, check=False,
            timeout=timeout * self.patience, **given,
        )  # type: ignore[call-overload, no-any-return]  # fmt: skip


def _wine() -> Runner:
    program = next((found for name in _WINES if (found := shutil.which(name))), "")
    lack = "" if program and shutil.which("wineserver") else "needs Wine (Debian packages wine and wine64)"
    quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe="}
    return Runner("wine", "windows-x86_64", "x64,haswell", (program,), quiet, lack, 2.0)


def _qemu() -> Runner:
    # The launcher starts the runtime: the kernel has to know what to do with a program for another CPU.
    return Runner(
        "qemu", "linux-aarch64", "armv8.0_1,armv8.2_1", (shutil.which("qemu-aarch64-static") or "",),
        {"QEMU_LD_PREFIX": str(binfmt.SYSTEM)}, binfmt.register(), 10.0,
    )  # fmt: skip


def all_runners() -> Sequence[Runner]:
    """Those that tests go through; ``lack`` says why one cannot be used here."""
    return (Runner("native", host_target(), "x64,haswell" if "x86" in host_target() else "host"), _wine(), _qemu())


@contextmanager
def with_windows(runner: Runner, folder: Path) -> Iterator[Runner]:
    """Wine with a Windows of its own in ``folder``, none of whose processes outlives this."""
    settings = {**runner.settings, "WINEPREFIX": str(folder / "wine")}
    made = Runner(runner.name, runner.target, runner.kernels, runner.wrapper, settings, patience=runner.patience)
    environment = made.environment()
    subprocess.run(made.command(Path("wineboot"), "-i"), env=environment, capture_output=True, check=True, timeout=300)
    try:
        yield made
    finally:
        subprocess.run(["wineserver", "-k"], env=environment, check=False, timeout=60)
