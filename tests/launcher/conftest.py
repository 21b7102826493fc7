"""The launcher, compiled once, before a synthetic bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from solofile.builder.launcher import build_launcher
from synthetic_bundle import TARGET, Synthetic, probe_files, write_bundle
from zig_cc import zig_cc

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def launcher() -> Path:
    """The launcher for this machine."""
    return build_launcher(TARGET)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A static program that stands in for the runtime."""
    output = tmp_path_factory.mktemp("probe") / "probe"
    return zig_cc(output, HERE / "probe.c", triple="x86_64-linux-musl").read_bytes()


@pytest.fixture
def bundle(tmp_path: Path, launcher: Path, probe: bytes) -> Synthetic:
    """A whole bundle with the probe in it."""
    return write_bundle(tmp_path / "probe.exe", launcher.read_bytes(), probe_files(probe))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder that does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def need_root() -> None:
    """Skip where mounts and other users are out of reach."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for mounts and other users")


@pytest.fixture
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with the given options and returns its folder."""
    request.getfixturevalue("need_root")
    folders: list[Path] = []

    def mount_one(options: str) -> Path:
        folder = tmp_path / f"mount{len(folders)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False)
        if done.returncode:
            pytest.skip("mounts are not allowed here")
        folders.append(folder)
        return folder

    yield mount_one
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="solofile-test-"))
    folder.chmod(0o755)
    yield folder
    for path in (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()):
        path.chmod(0o755)
    shutil.rmtree(folder)
