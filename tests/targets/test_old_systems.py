"""A Linux bundle where little is there: the oldest Debian to be had, a bare root with its glibc, one with musl."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from solofile.builder import apt
from solofile.runtime.hardware import target

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(target() != "linux-x86_64", reason="the roots are for x86-64"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
]

SUITE = "bullseye"
"""The oldest that Debian's mirrors still have, with glibc 2.31."""
QUESTION = ("-p", "What is the capital of France?", "-n", "8")


@pytest.fixture(scope="module")
def old_debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minimal system of that suite."""
    mirror = next(iter(apt.mirrors()), None)
    if not shutil.which("debootstrap") or not mirror:
        pytest.skip("needs the Debian package debootstrap and a mirror that apt is set up with")
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["debootstrap", "--variant=minbase", f"--keyring={apt.KEYRING}", SUITE, str(root), mirror]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode:
        pytest.skip(f"debootstrap could not get {SUITE}: {done.stdout.splitlines()[-1:]}")
    return root


@contextmanager
def with_proc(root: Path) -> Iterator[None]:
    (root / "proc").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(root / "proc")], check=True)


def run_in(root: Path, bundle: Path, *words: str) -> subprocess.CompletedProcess[str]:
    shutil.copy2(bundle, root / "model.exe")
    (root / "home").mkdir(exist_ok=True)
    command = [shutil.which("chroot") or "chroot", str(root), "/model.exe", *words]
    environment = {"HOME": "/home", "PATH": "/bin"}
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def test_an_old_debian(old_debian: Path, smollm2_bundle: Path) -> None:
    assert (old_debian / "lib" / "x86_64-linux-gnu" / "libc-2.31.so").is_file()
    with with_proc(old_debian):
        done = run_in(old_debian, smollm2_bundle, *QUESTION)
        assert done.stdout.strip() == "The capital of France is Paris.", done.stderr
        assert done.returncode == 0
        verified = run_in(old_debian, smollm2_bundle, "--verify")
        assert verified.returncode == 0, verified.stderr


def test_nothing_but_its_glibc(old_debian: Path, smollm2_bundle: Path, tmp_path: Path) -> None:
    """No libgcc, no libstdc++, no zlib, no OpenSSL, no shell."""
    libraries = tmp_path / "lib" / "x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libc", "libm", "libdl", "librt", "libutil", "libpthread"):
        for path in (old_debian / "lib" / "x86_64-linux-gnu").glob(f"{name}.so.*"):
            shutil.copyfile(path, libraries / path.name)
            (libraries / path.name).chmod(0o755)
    loader = old_debian / "lib" / "x86_64-linux-gnu" / "ld-2.31.so"
    for folder in ("lib64", "dev"):
        (tmp_path / folder).mkdir()
    os.mknod(tmp_path / "dev" / "urandom", stat.S_IFCHR | 0o666, os.makedev(1, 9))
    shutil.copy2(loader, tmp_path / "lib64" / "ld-linux-x86-64.so.2")
    with with_proc(tmp_path):
        done = run_in(tmp_path, smollm2_bundle, *QUESTION)
    assert done.stdout.strip() == "The capital of France is Paris.", done.stderr
    assert done.returncode == 0


def test_a_system_with_musl(smollm2_bundle: Path, tmp_path: Path) -> None:
    """As Alpine is: the launcher, which needs no C library, says what is missing and where to get it."""
    musl, busybox = Path("/lib/ld-musl-x86_64.so.1"), shutil.which("busybox")
    if not musl.exists() or not busybox:
        pytest.skip("needs the Debian packages musl and busybox-static")
    for folder in ("bin", "lib"):
        (tmp_path / folder).mkdir()
    shutil.copy2(busybox, tmp_path / "bin" / "sh")
    shutil.copyfile(musl.resolve(), tmp_path / "lib" / musl.name)
    (tmp_path / "lib" / musl.name).chmod(0o755)
    shutil.copy2(smollm2_bundle, tmp_path / "model.exe")
    for words in ("-p x", "--version", "--doctor"):
        command = ["chroot", str(tmp_path), "/bin/sh", "-c", f"HOME=/ /model.exe {words}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "solofile: This system has no glibc (/lib64/ld-linux-x86-64.so.2 is missing), which the bundle needs: run "
            "it on a system with glibc, such as Debian, Ubuntu, Fedora or openSUSE, or in a container of one (Alpine "
            "and others with musl have none).\n"
        )
