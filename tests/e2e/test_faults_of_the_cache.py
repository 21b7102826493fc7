"""What is remembered is spoilt, cannot be written, or is written by two at once: the bundle answers, and says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import View, left_behind, view
from running import QUESTION, serve
from solofile.runtime import remembered
from tiny_model import write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="needs Linux")]

ASK = ["-p", QUESTION, "-n", "8", "--temp", "0"]
NOBODY = 65534
ROOM = 160 << 20
"""Bytes of a file system that holds the pack and one CPU variant."""

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="solofile-faults-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cache(place: Path) -> Iterator[Path]:
    """A cache that remembers nothing, and in which nothing is left behind."""
    shutil.rmtree(place / "cache/state", ignore_errors=True)
    yield place / "cache"
    assert left_behind(place / "cache") == []


@pytest.fixture
def start(smollm2_bundle: Path, cache: Path) -> Start:
    """Runs the bundle to its end, which must be an answer."""

    def start(*words: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [*(prefix or []), str(smollm2_bundle), *ASK, *words]
        done = subprocess.run(
            command, env={**os.environ, "SOLOFILE_CACHE": str(cache)}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Paris" in done.stdout
        return done

    return start


def book(cache: Path) -> Path:
    """The one file of what is remembered."""
    [path] = (cache / "state").glob("choice-*.json")
    return path


def is_whole(path: Path) -> bool:
    """Is it as the program writes it, and does it say that a variant was tried?"""
    document, sentence = remembered.read(path)
    return not sentence and "ok" in [one["status"] for one in document["probes"].values()]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def no_json(path: Path) -> None:
    path.write_bytes(os.urandom(500))


def other_types(path: Path) -> None:
    document = json.loads(path.read_text())
    document["probes"] = {name: {**one, "status": 7, "result": "x"} for name, one in document["probes"].items()}
    path.write_text(json.dumps(document))


def changed(path: Path) -> None:
    """Of the right shape: a variant that works is said to crash."""
    path.write_text(path.read_text().replace('"ok"', '"crashed"'))


def huge(path: Path) -> None:
    path.write_text('{"format": 1, "more": "' + "x" * (64 << 20) + '"}')


def empty(path: Path) -> None:
    path.write_bytes(b"")


def link(path: Path) -> None:
    """To a sound file elsewhere, which is not to be read or changed."""
    elsewhere = path.parents[1] / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILT = "{path} is not as it was written, so what earlier starts measured is found out again.\n"
UNREADABLE = "What earlier starts measured cannot be read from {path} ({why}).\n"
NOT_KEPT = "What was measured cannot be kept in {path} ({why}): the next start does it again.\n"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (truncated, SPOILT), (no_json, SPOILT), (other_types, SPOILT), (changed, SPOILT), (huge, SPOILT),
        (empty, SPOILT), (pipe, SPOILT), (link, UNREADABLE.replace("{why}", "Too many levels of symbolic links")),
    ],
)  # fmt: skip
def test_a_spoilt_file(start: Start, cache: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    assert start().stderr == ""
    path = book(cache)
    assert is_whole(path)
    spoil(path)
    elsewhere = {one: one.read_bytes() for one in cache.glob("*.json")}
    assert start().stderr == sentence.format(path=path)
    assert is_whole(book(cache)) and not book(cache).is_symlink()
    assert {one: one.read_bytes() for one in elsewhere} == elsewhere
    assert start().stderr == ""


def test_a_folder_in_its_place(start: Start, cache: Path) -> None:
    """It may be somebody's: it stays, and each start says so."""
    assert start().stderr == ""
    path = book(cache)
    path.unlink()
    (path / "mine").mkdir(parents=True)
    why = "Is a directory"
    for _ in range(2):
        assert start().stderr == UNREADABLE.format(path=path, why=why) + NOT_KEPT.format(path=path, why=why)
    assert (path / "mine").is_dir()


@pytest.fixture
def nobodys(place: Path) -> Iterator[Path]:
    """The same of a user without any rights."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to be another user")
    cache = place / "nobodys"
    cache.mkdir(exist_ok=True)
    os.chown(cache, NOBODY, NOBODY)
    shutil.rmtree(cache / "state", ignore_errors=True)
    yield cache
    assert left_behind(cache) == []


@pytest.fixture
def nobody(smollm2_bundle: Path, place: Path, nobodys: Path) -> Start:
    """Runs the bundle as that user."""
    cache = nobodys
    if not (place / "bundle.exe").exists():
        shutil.copy2(smollm2_bundle, place / "bundle.exe")
        (place / "bundle.exe").chmod(0o755)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        done = subprocess.run(
            [*user, place / "bundle.exe", *ASK, *words], env={**os.environ, "SOLOFILE_CACHE": str(cache)}, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Paris" in done.stdout
        return done

    return run


@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o000), (0, 0o600)])
def test_a_file_that_may_not_be_read(nobody: Start, nobodys: Path, owner: int, mode: int) -> None:
    assert nobody().stderr == ""
    path = book(nobodys)
    path.chmod(mode)
    os.chown(path, owner, owner)
    assert nobody().stderr == UNREADABLE.format(path=path, why="Permission denied")
    assert (path.stat().st_uid, is_whole(path)) == (NOBODY, True)
    assert nobody().stderr == ""


def test_a_cache_whose_folders_may_not_be_written(nobody: Start, nobodys: Path) -> None:
    cache = nobodys
    assert nobody().stderr == ""
    path = book(cache)
    folders = [cache, *(one for one in cache.iterdir() if one.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    assert nobody().stderr == ""  # all is known
    path.unlink()
    sentence = NOT_KEPT.format(path=path, why="Permission denied")
    assert [nobody().stderr for _ in range(2)] == [sentence] * 2
    assert list((cache / "state").glob("choice-*.json")) == []
    for folder in folders:
        folder.chmod(0o700)
    assert nobody().stderr == ""


@pytest.fixture
def mounts() -> None:
    """Skips where nothing can be mounted."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or done.returncode:
        pytest.skip("needs root and mount namespaces")


@pytest.mark.usefixtures("mounts")
def test_a_read_only_file_system(start: Start, cache: Path) -> None:
    assert start().stderr == ""
    path = book(cache)
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"'
    with view(script, cache) as inside:
        assert start(prefix=inside.prefix).stderr == ""
        path.unlink()  # from outside, where it can be written
        sentence = NOT_KEPT.format(path=path, why="Read-only file system")
        assert [start(prefix=inside.prefix).stderr for _ in range(2)] == [sentence] * 2
    assert start().stderr == ""
    assert is_whole(book(cache))


@pytest.fixture
def small_disk(mounts: None, cache: Path) -> Iterator[View]:
    """Where the cache is a small file system of its own."""
    assert mounts is None
    cache.mkdir(exist_ok=True)
    with view(f'mount -t tmpfs -o size={ROOM},mode=0700 tmpfs "$1"', cache) as inside:
        yield inside
        assert left_behind(cache, inside.path(cache)) == []


def fill(folder: Path) -> Path:
    """Write a file until the disk is full."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_full_disk(start: Start, cache: Path, small_disk: View) -> None:
    assert start(prefix=small_disk.prefix).stderr == ""
    seen = small_disk.path(cache)
    name = book(seen).name
    book(seen).unlink()
    filler = fill(seen)
    sentence = NOT_KEPT.format(path=cache / "state" / name, why="No space left on device")
    assert [start(prefix=small_disk.prefix).stderr for _ in range(2)] == [sentence] * 2
    filler.unlink()
    assert start(prefix=small_disk.prefix).stderr == ""
    assert is_whole(book(seen))


def test_a_full_disk_keeps_what_was_remembered(start: Start, cache: Path, small_disk: View) -> None:
    assert start(prefix=small_disk.prefix).stderr == ""
    seen = small_disk.path(cache)
    before = book(seen).read_bytes()
    fill(seen)
    assert start(prefix=small_disk.prefix).stderr == ""
    done = start("--calibrate", prefix=small_disk.prefix)
    sentence = NOT_KEPT.format(path=cache / "state" / book(seen).name, why="No space left on device")
    assert set(done.stderr.splitlines(keepends=True)) == {sentence}
    assert book(seen).read_bytes() == before


def test_a_disk_without_room_for_the_kernels(smollm2_bundle: Path, cache: Path, start: Start, small_disk: View) -> None:
    """Without them nothing can compute: one sentence that says what to do."""
    assert start(prefix=small_disk.prefix).stderr == ""
    seen = small_disk.path(cache)
    shutil.rmtree(seen / "kernels")
    fill(seen)
    environment = {**os.environ, "SOLOFILE_CACHE": str(cache)}
    command = [*small_disk.prefix, str(smollm2_bundle), *ASK]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{cache}/kernels/") and done.stderr.count("\n") == 1
    assert "cannot be written (No space left on device): make room there, or set SOLOFILE_CACHE" in done.stderr


@pytest.fixture
def tiny_bundle(pack: Path, solofile: list[str], place: Path) -> Path:
    """Another model with the same pack: what both remember is in one file."""
    output, model = place / "tiny.exe", write_tiny_model(place / "tiny.gguf")
    command = [*solofile, "build", str(model), "-o", str(output), "--pack", str(pack)]
    subprocess.run(command, check=True, timeout=300)
    return output


def test_two_at_once(smollm2_bundle: Path, tiny_bundle: Path, cache: Path) -> None:
    """Both calibrate into the same file; it has both in the end.

    Of each it has at least that it was used: a calibration that another one disturbs does not count (findings.py).
    """
    environment = {**os.environ, "SOLOFILE_CACHE": str(cache)}
    bundles = (smollm2_bundle, tiny_bundle)
    models = [part["sha256"][:16] for part in map(model_part, bundles)]
    for _ in range(3):
        command = ["--server", "--calibrate"]
        with serve([bundles[0], *command], environment) as one, serve([bundles[1], *command], environment) as two:
            end = time.monotonic() + 30
            while known_models(cache) != set(models) and time.monotonic() < end:
                time.sleep(0.1)
            for running in (one, two):
                assert running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})["content"]
        assert is_whole(book(cache))
        assert known_models(cache) == set(models)
        assert "cannot be kept" not in one.errors + two.errors
        book(cache).unlink()


def known_models(cache: Path) -> set[str]:
    """The models of which something is remembered."""
    books = list((cache / "state").glob("choice-*.json"))
    return set(remembered.read(books[0])[0].get("models", {})) if books else set()


def model_part(bundle: Path) -> dict[str, Any]:
    """What the bundle's manifest says of its model's file."""
    with zipfile.ZipFile(bundle) as archive:
        parts: list[dict[str, Any]] = json.loads(archive.read("solofile.json"))["parts"]
    return next(part for part in parts if part["path"].endswith(".gguf"))
