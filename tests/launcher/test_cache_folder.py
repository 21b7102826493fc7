"""Which folder is taken for the cache, and what is said about the others."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from synthetic_bundle import Run, Synthetic, run

REMEDY = "set SOLOFILE_CACHE to a folder of your own with 1 MB free"
STRANGER = 54321


def refused(started: Run, reason: str) -> None:
    """SOLOFILE_CACHE was refused with this reason, in one line."""
    assert started.code == 1
    assert started.out == ""
    assert reason in started.err
    assert REMEDY in started.err
    assert started.err.count("\n") == 1


def test_everything_is_for_this_user_alone(bundle: Synthetic, tmp_path: Path) -> None:
    os.umask(os.umask(0o077))  # whatever the caller's is, the modes are set
    assert run([bundle.path], {"SOLOFILE_CACHE": tmp_path / "a" / "cache"}, umask=0).code == 0
    for name in ("a", "a/cache", "a/cache/packs", "a/cache/state"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700, name


def test_xdg_before_home(bundle: Synthetic, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    xdg = run([bundle.path], {"XDG_CACHE_HOME": tmp_path / "xdg", "HOME": tmp_path / "home"})
    assert xdg.environment["SOLOFILE_CACHE_DIR"] == str(tmp_path / "xdg/solofile")
    home = run([bundle.path], {"XDG_CACHE_HOME": "relative", "HOME": tmp_path / "home"})
    assert home.environment["SOLOFILE_CACHE_DIR"] == str(tmp_path / "home/.cache/solofile")
    assert (xdg.err, home.err) == ("", "")
    empty = run([bundle.path], {"SOLOFILE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": tmp_path / "home"})
    assert empty.environment["SOLOFILE_CACHE_DIR"] == str(tmp_path / "home/.cache/solofile")


def test_a_link_is_refused(bundle: Synthetic, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    cache.symlink_to("real")
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache}), f"{cache} is a symbolic link")
    refused(run([bundle.path], {"SOLOFILE_CACHE": f"{cache}/"}), f"{cache} is a symbolic link")
    assert list((tmp_path / "real").iterdir()) == []


def test_a_linked_packs_folder_is_refused(bundle: Synthetic, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    cache.mkdir(mode=0o700)
    (cache / "packs").symlink_to(tmp_path / "real")
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache}), f"{cache}/packs is a symbolic link")


def test_a_file_is_refused(bundle: Synthetic, cache: Path) -> None:
    cache.write_text("")
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache}), f"{cache} is not a folder")
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache / "below"}), "a part of its path is not a folder")


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_folder_that_others_can_write_is_refused(bundle: Synthetic, cache: Path, mode: int) -> None:
    cache.mkdir()
    cache.chmod(mode)
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache}), f"others can write to {cache} (mode {mode:04o}")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("need_root")
def test_a_folder_of_another_user_is_refused(bundle: Synthetic, cache: Path) -> None:
    cache.mkdir(mode=0o700)
    os.chown(cache, STRANGER, STRANGER)
    refused(run([bundle.path], {"SOLOFILE_CACHE": cache}), f"{cache} belongs to user {STRANGER} and this is user 0")


def test_a_folder_that_cannot_be_written_is_refused(bundle: Synthetic, open_folder: Path) -> None:
    folder = open_folder / "closed"
    folder.mkdir()
    shutil.copy(bundle.path, open_folder / "b.exe")
    user = {"user": STRANGER, "group": STRANGER} if os.geteuid() == 0 else {}
    folder.chmod(0o555)
    started = run([open_folder / "b.exe"], {"SOLOFILE_CACHE": folder / "cache"}, **user)
    refused(started, "it cannot be created (permission denied)")


def test_noexec_is_noticed(bundle: Synthetic, mount: Callable[[str], Path]) -> None:
    folder = mount("noexec,mode=700")
    refused(run([bundle.path], {"SOLOFILE_CACHE": folder}), "it is on a file system mounted noexec")
    refused(run([bundle.path], {"SOLOFILE_CACHE": folder / "new"}), "it is on a file system mounted noexec")
    assert list(folder.iterdir()) == []


def test_noexec_home_is_passed_over(bundle: Synthetic, mount: Callable[[str], Path], tmp_path: Path) -> None:
    xdg = mount("noexec,mode=700")
    (tmp_path / "home").mkdir()
    started = run([bundle.path], {"XDG_CACHE_HOME": xdg, "HOME": tmp_path / "home"})
    assert started.code == 0
    assert started.environment["SOLOFILE_CACHE_DIR"] == str(tmp_path / "home/.cache/solofile")
    assert started.err == (
        f"solofile: the cache folder {xdg}/solofile is passed over: it is on a file system mounted noexec, "
        "no program can be started from it.\n"
    )


def test_a_read_only_disk(bundle: Synthetic, mount: Callable[[str], Path]) -> None:
    folder = mount("mode=700")
    os.system(f"mount -o remount,ro '{folder}'")
    refused(run([bundle.path], {"SOLOFILE_CACHE": folder}), "(read-only file system)")
    refused(run([bundle.path], {"SOLOFILE_CACHE": folder / "new"}), "(read-only file system)")


def test_a_read_only_disk_with_the_pack_on_it_serves(bundle: Synthetic, mount: Callable[[str], Path]) -> None:
    folder = mount("mode=700")
    assert run([bundle.path], {"SOLOFILE_CACHE": folder}).code == 0
    os.system(f"mount -o remount,ro '{folder}'")
    started = run([bundle.path], {"SOLOFILE_CACHE": folder})
    assert (started.code, started.err) == (0, "")
    next(folder.glob("packs/*.lock")).parent.stat()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Where a user without a home is sent."""
    folder = Path(f"/var/tmp/solofile-{STRANGER}")
    assert not folder.exists(), "left over from elsewhere"
    yield folder
    os.system(f"chmod -R u+w '{folder}'; rm -rf '{folder}'")


@pytest.mark.usefixtures("need_root")
def test_no_home_at_all(bundle: Synthetic, open_folder: Path, shared_folder: Path) -> None:
    shutil.copy(bundle.path, open_folder / "b.exe")
    started = run([open_folder / "b.exe"], {}, user=STRANGER, group=STRANGER)
    assert (started.code, started.err) == (0, "")
    assert started.environment["SOLOFILE_CACHE_DIR"] == str(shared_folder)
    assert stat.S_IMODE(shared_folder.stat().st_mode) == 0o700


@pytest.mark.usefixtures("need_root")
def test_a_squatted_shared_folder_is_passed_over(bundle: Synthetic, open_folder: Path, shared_folder: Path) -> None:
    shutil.copy(bundle.path, open_folder / "b.exe")
    shared_folder.mkdir(mode=0o777)
    os.chown(shared_folder, 54322, 54322)
    env = {"HOME": "/no/such/home"}
    started = run([open_folder / "b.exe"], env, user=STRANGER, group=STRANGER)
    second = Path(f"/tmp/solofile-{STRANGER}")
    try:
        assert started.code == 0
        assert started.environment["SOLOFILE_CACHE_DIR"] == str(second)
        lines = started.err.splitlines()
        assert lines[0].endswith("is passed over: its home folder cannot be reached (no such file or folder).")
        assert lines[1].endswith(f"{shared_folder} belongs to user 54322 and this is user {STRANGER}.")
        assert len(lines) == 2
    finally:
        os.system(f"chmod -R u+w '{second}'; rm -rf '{second}'")


def run_with_users(users: str, folder: Path, command: list[str | Path], env: dict[str, str | Path]) -> Run:
    """Run a program in a world whose user database is ``users``."""
    (folder / "users").write_text(users)
    script = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'
    started = run(["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, "sh", folder / "users", *command], env)
    if "unshare" in started.err or "mount:" in started.err:
        pytest.skip("mount namespaces are not allowed here")
    return started


@pytest.mark.usefixtures("need_root")
def test_home_from_the_user_database(bundle: Synthetic, tmp_path: Path) -> None:
    (tmp_path / "listed").mkdir()
    users = f"other:x:7:7::/nowhere:/bin/sh\nroot:x:0:0:root:{tmp_path}/listed:/bin/sh\n"
    started = run_with_users(users, tmp_path, [bundle.path], {})
    assert (started.code, started.err) == (0, "")
    assert started.environment["SOLOFILE_CACHE_DIR"] == f"{tmp_path}/listed/.cache/solofile"


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.usefixtures("need_root")
def test_root_with_the_home_of_another_user(bundle: Synthetic, tmp_path: Path, made: bool) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    own.mkdir()
    (home / ".cache/solofile" if made else home).mkdir(parents=True)
    for path in (home, *home.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    before = sorted(home.rglob("*"))
    started = run_with_users(f"root:x:0:0:root:{own}:/bin/sh\n", tmp_path, [bundle.path], {"HOME": home})
    assert started.code == 0
    assert started.environment["SOLOFILE_CACHE_DIR"] == f"{own}/.cache/solofile"
    assert f"{home}/.cache/solofile is passed over: " in started.err
    assert f"belongs to user {STRANGER} and this is user 0" in started.err
    assert sorted(home.rglob("*")) == before
