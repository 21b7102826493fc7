"""The launcher for Windows, under Wine: what the runtime gets, what comes back, and the cache."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from runners import Runner
from solofile.builder.launcher import build_launcher
from synthetic_bundle import Content, Run, Synthetic, write_bundle
from zig_cc import WINDOWS, zig_cc

TARGET = "windows-x86_64"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def windows_launcher() -> bytes:
    """The launcher."""
    return build_launcher(TARGET).read_bytes()


@pytest.fixture(scope="module")
def windows_probe(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A program that stands in for the runtime."""
    output = tmp_path_factory.mktemp("probe") / "probe.exe"
    return zig_cc(output, "-municode", HERE / "windows_probe.c", triple=WINDOWS).read_bytes()


@pytest.fixture
def windows_bundle(tmp_path: Path, windows_launcher: bytes, windows_probe: bytes) -> Synthetic:
    """A whole bundle with the probe in it."""
    files = {
        "solofile-runtime.exe": Content(windows_probe, 0o755),
        "lib/deep/empty": Content(b""),
        "lib/text.txt": Content("räksmörgås\n".encode()),
        "native/llama.dll": Content(b"\0" * 70_000, 0o755),
    }
    return write_bundle(tmp_path / "probe.exe", windows_launcher, files, target=TARGET)


def start(wine: Runner, bundle: Synthetic, cache: Path, *words: str) -> Run:
    """Start the bundle and wait for its end."""
    done = wine.run(bundle.path, *words, cache=cache, timeout=60)
    return Run(done.returncode, done.stdout.replace("\r\n", "\n"), done.stderr)


def test_words_and_exit_codes_are_passed_on(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    words = [
        "show",
        "--name",
        "with space",
        "",
        "ünï 模型",
        'a "quoted" word',
        "back\\slash\\",
        'both\\" and \\\\"',
        "*.txt",
    ]
    started = start(wine, windows_bundle, cache, *words)
    assert started.arguments == [wine.path(windows_bundle.path), *words]
    assert (started.code, started.err) == (0, "")
    for code in (1, 2, 42, 255):
        assert start(wine, windows_bundle, cache, "exit", str(code)).code == code


def test_the_runtime_is_told_where_things_are(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    seen = start(wine, windows_bundle, cache).environment
    assert seen["SOLOFILE_BUNDLE"] == wine.path(windows_bundle.path)
    assert seen["SOLOFILE_CACHE_DIR"] == wine.path(cache)
    assert int(seen["SOLOFILE_LAUNCHER_PID"]) > 0


def test_the_environment_is_scrubbed_in_any_case(
    wine: Runner, windows_bundle: Synthetic, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PythonPath", "PYTHONHOME", "vk_layer_path", "GGML_BACKEND_PATH", "SOLOFILE_CRASH"):
        monkeypatch.setenv(name, "evil")
    monkeypatch.setenv("MYPYTHONPATH", "kept")
    seen = start(wine, windows_bundle, cache).environment
    assert not {name for name, value in seen.items() if value == "evil"}
    assert seen["MYPYTHONPATH"] == "kept"


def test_the_pack_is_whole_and_made_once(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    assert start(wine, windows_bundle, cache).code == 0
    root = cache / "packs" / windows_bundle.digest
    before = {path: path.stat().st_ino for path in root.rglob("*") if path.is_file()}
    assert {path.relative_to(root).as_posix() for path in before} == set(windows_bundle.files)
    for path in before:
        assert path.read_bytes() == windows_bundle.files[path.relative_to(root).as_posix()].data
        assert path.stat().st_mode & 0o222 == 0
        assert int(path.stat().st_mtime) == 315_532_800
    assert start(wine, windows_bundle, cache).code == 0
    assert {path: path.stat().st_ino for path in root.rglob("*") if path.is_file()} == before
    assert not [path for path in (cache / "packs").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("damage", ["cut", "touched", "gone"])
def test_a_damaged_pack_is_made_again(wine: Runner, windows_bundle: Synthetic, cache: Path, damage: str) -> None:
    assert start(wine, windows_bundle, cache).code == 0
    file = cache / "packs" / windows_bundle.digest / "lib" / "text.txt"
    file.chmod(0o644)
    if damage == "cut":
        file.write_bytes(b"cut")
    elif damage == "gone":
        file.unlink()
    else:
        os.utime(file)
    started = start(wine, windows_bundle, cache)
    assert started.code == 0
    assert "was damaged and is made again." in started.err
    assert file.read_bytes() == windows_bundle.files["lib/text.txt"].data
    assert start(wine, windows_bundle, cache).err == ""


def test_two_first_starts_at_once(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    command = wine.command(windows_bundle.path, "exit", "7")
    quiet = subprocess.DEVNULL
    started = [
        subprocess.Popen(command, env=wine.environment(cache), stdin=quiet, stdout=quiet, stderr=quiet)
        for _ in range(4)
    ]
    assert [process.wait(60) for process in started] == [7] * 4
    root = cache / "packs" / windows_bundle.digest
    assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == set(
        windows_bundle.files
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("die-once", "c0000005"), "SIGSEGV"),
        (("die-once", "c000001d"), "SIGILL"),
        (("die-once", "c0000409"), "SIGABRT"),
        (("die-once", "3"), "SIGABRT"),
        (("touch",), "SIGSEGV"),
    ],
)
def test_a_crash_is_noted_and_the_runtime_started_once_more(
    wine: Runner, windows_bundle: Synthetic, cache: Path, words: tuple[str, ...], name: str
) -> None:
    started = start(wine, windows_bundle, cache, *words)
    assert started.code == 0, started.err
    assert f"the runtime crashed ({name}), noted in " in started.err
    assert started.environment["SOLOFILE_CRASH"] == name
    notes = list((cache / "state").glob("crash-*.txt"))
    assert len(notes) == 1 and f"signal: {name}" in notes[0].read_text()


def test_a_second_crash_is_the_end(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    ended = start(wine, windows_bundle, cache, "die", "c0000005")
    assert ended.code == 1
    assert "The runtime crashed again (SIGSEGV)" in ended.err


def test_nothing_outlives_a_killed_launcher(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    process = subprocess.Popen(
        wine.command(windows_bundle.path, "wait"), env=wine.environment(cache), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        process.kill()
        assert process.stdout.read() == ""  # the probe had the other end of the pipe


def test_the_folder_of_a_user_of_any_name(wine: Runner, windows_bundle: Synthetic) -> None:
    home = Path(wine.settings["WINEPREFIX"]) / "drive_c" / "users" / "Jürgen Müller 模型"
    (home / "Local").mkdir(parents=True)
    key = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer"
    for folders in ("User Shell Folders", "Shell Folders"):
        value = r"C:\users\Jürgen Müller 模型\Local"
        set_value = ("add", rf"{key}\{folders}", "/v", "Local AppData", "/d", value, "/f")
        assert wine.run(Path("reg"), *set_value).returncode == 0
    # What a user's variables are is settled when the session begins.
    subprocess.run(["wineserver", "-k"], env=wine.environment(), check=False, timeout=60)
    done = wine.run(windows_bundle.path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (home / "Local" / "solofile" / "packs" / windows_bundle.digest / "lib" / "text.txt").is_file()


def test_long_paths(wine: Runner, windows_bundle: Synthetic, tmp_path: Path) -> None:
    cache = tmp_path.joinpath(*["a folder with a name of some length"] * 7)
    started = start(wine, windows_bundle, cache, "exit", "5")
    root = cache / "packs" / windows_bundle.digest
    assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == set(
        windows_bundle.files
    )
    if "cannot be started" in started.err:
        pytest.skip("it is unpacked there; this Wine starts no program from a path of more than 260 characters")
    assert (started.code, started.err) == (5, "")


def test_a_bundle_for_others_is_refused(
    wine: Runner, windows_launcher: bytes, windows_probe: bytes, cache: Path, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "b.exe", windows_launcher, {"solofile-runtime": Content(windows_probe)})
    ended = start(wine, bundle, cache)
    assert ended.code == 2
    assert "holds no runtime for windows-x86_64; build it again with --target windows-x86_64." in ended.err


def test_flipped_bytes_are_noticed(wine: Runner, windows_bundle: Synthetic, cache: Path) -> None:
    member = windows_bundle.members[f"runtime/{TARGET}/lib/text.txt"]
    windows_bundle.flip(member.data_offset + 3)
    ended = start(wine, windows_bundle, cache)
    assert ended.code == 2
    assert "is damaged: " in ended.err
    assert not (cache / "packs" / windows_bundle.digest).exists()
