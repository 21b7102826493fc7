"""The launcher in Python (runtime/pylauncher/): started from zipapps and in the stand-in for a Cosmopolitan Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from damaging import flip

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("builder", "container")]

from bundles import TARGET, make_pack, pack_files  # noqa: E402
from ggufs import write_gguf  # noqa: E402
from pythons import NEW, OLD  # noqa: E402
from solofile.builder.packfile import PackSource  # noqa: E402
from solofile.runtime.container import Bundle  # noqa: E402
from solofile.runtime.errors import InputError  # noqa: E402
from solofile.runtime.hardware import target as host_target  # noqa: E402
from solofile.runtime.pylauncher import crash, environment, machine, places  # noqa: E402
from solofile.runtime.pylauncher.ed25519 import is_signed  # noqa: E402
from started_by_python import TELLING, build, build_ape, start, tiny_modules  # noqa: E402

ON_LINUX = pytest.mark.skipif(host_target() != TARGET, reason=f"the tiny bundles are for {TARGET}")
ZIG = Path(__file__).parents[2] / "runtime" / "launcher" / "environment.zig"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A zipapp, and the other form, whose frozen runtime is the same script."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLOFILE_BUILD_CACHE", str(folder / "build cache"))
        tiny_modules(patch, folder)
        script = f"#!{sys.executable}\n{TELLING}".encode()
        program = f"runtime/{TARGET}/solofile-runtime"
        files = [one for one in pack_files() if one.path != program] + [PackSource(program, script, 0o755)]
        make_pack(folder / "pack.zip", files).close()
        model = write_gguf(folder / "model.gguf")
        pyz = build(folder / "m.pyz", model, folder / "pack.zip", "--format", "pyz")
        return {"pyz": pyz, "ape": build_ape(folder / "m.exe", model, folder / "pack.zip")}


@pytest.fixture(params=["pyz", "ape"])
def bundle(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Path:
    return bundles[request.param]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@ON_LINUX
def test_the_runtime_is_told_where_things_are(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "Zwischenspeicher 模型"
    words = ["-p", "ünï 模型", "--", "-x", ""]
    found = told(start(bundle, *words, cache=cache))
    assert found["argv"] == words
    assert found["told"]["SOLOFILE_BUNDLE"] == str(bundle)
    assert found["told"]["SOLOFILE_CACHE_DIR"] == str(cache)
    assert Path(found["file"]).is_relative_to(cache / "packs")
    with Bundle.open(bundle) as opened:
        pack, behind = opened.manifest.targets[TARGET].pack, opened.manifest.behind
    assert behind is not None
    native = cache / "packs" / pack / "native"
    assert (native / "libllama.so").stat().st_mode & 0o777 == 0o555
    if behind.python:
        assert found["told"]["SOLOFILE_NATIVE_DIR"] == str(native)
        assert Path(found["file"]) == cache / "packs" / behind.python / "solofile_start.py"
        assert found["prefix"] == str(cache / "pycode" / behind.python)
        assert (found["isolated"], found["no_site"], found["python"]) == (1, 1, sys.executable)
        assert not [path for path in found["path"] if "site-packages" in path]


@ON_LINUX
@pytest.mark.parametrize("python", NEW.values(), ids=[f"{major}.{minor}" for major, minor in NEW])
def test_every_python_starts_a_zipapp(python: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    found = told(start(bundles["pyz"], "--x", cache=tmp_path / "cache", python=python))
    assert found["argv"] == ["--x"]


@pytest.mark.parametrize("python", OLD.values(), ids=[f"{major}.{minor}" for major, minor in OLD])
def test_an_older_python_is_told(python: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    done = start(bundles["pyz"], cache=tmp_path / "cache", python=python)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"solofile: this file needs Python 3\.10 or newer and .* is 3\.\d: .*\n", done.stderr)


@ON_LINUX
def test_it_starts_by_its_name_from_anywhere(bundles: dict[str, Path], tmp_path: Path) -> None:
    """By the line at its beginning, through a link, with a name that says nothing."""
    link = tmp_path / "ein Verweis"
    link.symlink_to(bundles["pyz"])
    world = {**os.environ, "SOLOFILE_CACHE": "cache"}
    done = subprocess.run([f"./{link.name}", "a"], cwd=tmp_path, env=world, capture_output=True, text=True, check=False)
    assert told(done)["told"]["SOLOFILE_BUNDLE"] == str(link)
    assert (tmp_path / "cache" / "packs").is_dir()


@ON_LINUX
def test_nothing_of_the_environment_names_code(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "json.py").write_text("raise SystemExit('planted')")
    (tmp_path / "solofile.py").write_text("raise SystemExit('planted')")
    planted = {"PYTHONPATH": str(tmp_path / "planted")} if bundle.suffix == ".exe" else {}
    names = {"LLAMA_ARG_RPC": "x", "GGML_BACKEND_PATH": "x", "SOLOFILE_CHILD": "probe", "LD_AUDIT": ""} | planted
    world = {**os.environ, **names, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    command = ["sh" if bundle.suffix == ".exe" else sys.executable, str(bundle)]
    done = subprocess.run(command, env=world, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not set(told(done)["environment"]) & names.keys()


def test_the_lists_are_those_of_the_other_launcher() -> None:
    text = ZIG.read_text("utf-8")
    lists = {
        name: set(re.findall(r'"([A-Z0-9a-z_]+)"', text[text.index(f"const {name} = ") :].partition("};")[0]))
        for name in ("dropped", "dropped_prefixes", "kept")
    }
    assert lists["dropped"] == environment.DROPPED
    assert lists["dropped_prefixes"] <= set(environment.DROPPED_PREFIXES)
    assert lists["kept"] == environment.KEPT


@ON_LINUX
def test_a_second_start_unpacks_nothing(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    places = []
    for _ in range(2):
        told(start(bundle, cache=cache))
        files = [path for path in (cache / "packs").rglob("*") if path.suffix != ".lock"]
        places.append({(str(path), path.stat().st_ino, path.stat().st_ctime_ns) for path in files})
    assert places[0] == places[1]
    assert not list((cache / "packs").glob(".tmp-*"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in (cache / "packs").glob("*/**/*"))


@ON_LINUX
def test_a_read_only_cache_serves_where_all_is_there(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    told(start(bundle, cache=cache))
    for lock in (cache / "packs").glob("*.lock"):
        lock.unlink()
    image = tmp_path / "image"
    image.mkdir()
    mount = ["unshare", "--mount", "--map-root-user"] if os.geteuid() else ["unshare", "--mount"]
    script = 'mount --bind "$1" "$2" && mount -o remount,ro,bind "$2" && shift 2 && exec "$@"'
    starter = "sh" if bundle.suffix == ".exe" else sys.executable
    command = [*mount, "sh", "-c", script, "sh", str(cache), str(image), starter, str(bundle)]
    world = {**os.environ, "SOLOFILE_CACHE": str(image)}
    done = subprocess.run(command, env=world, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("the system lets nobody mount here")
    assert told(done)["told"]["SOLOFILE_CACHE_DIR"] == str(image)


@ON_LINUX
@pytest.mark.parametrize("damage", ["cut", "touched", "mode", "link", "gone"])
def test_a_damaged_folder_is_made_again(damage: str, bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    told(start(bundle, cache=cache))
    file = next((cache / "packs").glob("*/native/libllama.so"))
    file.parent.chmod(0o700)
    file.chmod(0o600)
    if damage == "cut":
        os.truncate(file, 10)
        os.utime(file, (315_532_800, 315_532_800))
    elif damage == "touched":
        os.utime(file)
    elif damage != "mode":
        file.unlink()
    if damage == "link":
        file.symlink_to("/dev/null")
    if damage in ("cut", "touched"):
        file.chmod(0o555)
    file.parent.chmod(0o555)
    done = start(bundle, cache=cache)
    assert done.returncode == 0
    assert "was damaged and is made again" in done.stderr
    assert file.stat().st_size == len(b"llama" * 4000)
    told(start(bundle, cache=cache))


@ON_LINUX
def test_what_a_killed_start_left_goes(bundles: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Bundle.open(bundles["pyz"]) as opened:
        behind = opened.manifest.behind
    assert behind is not None and behind.python is not None
    left = [cache / "packs" / f".tmp-{behind.python}-{name}" for name in ("99999999", "99999999-old")]
    for path in left:
        (path / "sub").mkdir(parents=True)
        (path / "sub").chmod(0o555)
    cache.chmod(0o700)
    (cache / "packs").chmod(0o700)
    told(start(bundles["pyz"], cache=cache))
    assert not [path for path in left if path.exists()]


@ON_LINUX
def test_two_first_starts_at_once(bundle: Path, tmp_path: Path) -> None:
    starter = "sh" if bundle.suffix == ".exe" else sys.executable
    world = {**os.environ, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([starter, str(bundle)], env=world, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for one in running:
        out, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, ""), errors
        json.loads(out)
    assert not list((tmp_path / "cache" / "packs").glob(".tmp-*"))


@ON_LINUX
def test_a_changed_byte_is_refused_before_anything_runs(bundle: Path, tmp_path: Path) -> None:
    with Bundle.open(bundle) as opened:
        last, parts = opened.members["solofile.json"], opened.parts
        library = next(part for path, part in parts.items() if path.endswith("libllama.so"))
    copy = tmp_path / bundle.name
    for place, says in (
        (last.data_offset + 5, "its directory, its manifest or the digest over them was changed"),
        (last.end + 50, "its directory"),
        (library.offset + library.stored // 2, "libllama.so"),
        (library.offset - 3, "the header of"),
    ):
        shutil.copy2(bundle, copy)
        flip(copy, place, 0x55)
        done = start(copy, cache=tmp_path / "cache")
        assert (done.returncode, done.stdout) == (2, ""), place
        assert says in done.stderr and "copy or download it again" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not list((tmp_path / "cache").glob("packs/*/native"))


@ON_LINUX
def test_a_bundle_for_another_machine(bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["setarch", "i686", "sh" if bundle.suffix == ".exe" else sys.executable, str(bundle)],
        env={**os.environ, "SOLOFILE_CACHE": str(tmp_path / "cache")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"solofile: This file has no program for linux-i686, only for {TARGET}: get one for it.\n"
    assert not (tmp_path / "cache").exists()


@ON_LINUX
def test_the_exit_code_is_passed_on(bundle: Path, tmp_path: Path) -> None:
    assert start(bundle, "--three", cache=tmp_path / "cache").returncode == 3


@ON_LINUX
def test_a_crash_is_noted_and_tried_once_more(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    done = start(bundle, "-p", "secret", "--crash", "--key=secret", cache=cache)
    assert done.returncode == 0
    assert [json.loads(line)["told"].get("SOLOFILE_CRASH") for line in done.stdout.splitlines()] == [None, "SIGSEGV"]
    assert "the runtime crashed (SIGSEGV), noted in" in done.stderr and "it is started once more" in done.stderr
    (note,) = (cache / "state").glob("crash-*.txt")
    text = note.read_text()
    assert "signal: SIGSEGV" in text and "options: -p --crash --key\n" in text and "secret" not in text
    done = start(bundle, "--crash", "--always", cache=cache)
    assert done.returncode == 1
    assert "The runtime crashed again (SIGSEGV), noted in" in done.stderr.splitlines()[-1]


@ON_LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_are_passed_on(number: signal.Signals, bundle: Path, tmp_path: Path) -> None:
    """SIGTERM is answered by the runtime; the others end it."""
    starter = "sh" if bundle.suffix == ".exe" else sys.executable
    world = {**os.environ, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen([starter, str(bundle), "--wait"], env=world, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        child = json.loads(launcher.stdout.readline())["pid"]
        assert launcher.stdout.readline() == "ready\n"
        os.kill(launcher.pid, number)
        code = launcher.wait(timeout=20)
    assert code == (7 if number == signal.SIGTERM else 128 + number)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@ON_LINUX
def test_the_runtime_ends_with_a_launcher_that_is_killed(bundles: dict[str, Path], tmp_path: Path) -> None:
    world = {**os.environ, "SOLOFILE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(bundles["pyz"]), "--wait"]
    with subprocess.Popen(command, env=world, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        child = json.loads(launcher.stdout.readline())["pid"]
        assert launcher.stdout.readline() == "ready\n"
        launcher.kill()
        launcher.wait(timeout=20)
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


@ON_LINUX
def test_a_folder_that_others_can_write_is_not_trusted(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    done = start(bundle, cache=cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"SOLOFILE_CACHE={cache} cannot be used: others can write to {cache} (mode 0777" in done.stderr
    cache.rmdir()
    (tmp_path / "real").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "real")
    assert "is a symbolic link" in start(bundle, cache=cache).stderr
    assert not list((tmp_path / "real").glob("packs/*/*"))


@ON_LINUX
def test_the_user_s_own_folder_is_the_default(bundle: Path, tmp_path: Path) -> None:
    world = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""}
    (tmp_path / "home").mkdir()
    done = start(bundle, cache=None, SOLOFILE_CACHE="", **world)
    assert told(done)["told"]["SOLOFILE_CACHE_DIR"] == str(tmp_path / "home" / ".cache" / "solofile")


def test_where_the_cache_can_be() -> None:
    def paths(environ: dict[str, str], system: str, home: str = "/root") -> list[str]:
        return [one.path for one in places.candidates(environ, system, 7, home)]

    shared = ["/var/tmp/solofile-7", "/tmp/solofile-7"]
    assert paths({"XDG_CACHE_HOME": "/x", "HOME": "/h/"}, "linux") == [
        "/x/solofile", "/h/.cache/solofile", "/root/.cache/solofile", *shared
    ]  # fmt: skip
    assert paths({"XDG_CACHE_HOME": "x", "HOME": "/root"}, "linux") == ["/root/.cache/solofile", *shared]
    assert paths({"HOME": "/Users/a"}, "macos", "")[0] == "/Users/a/Library/Caches/solofile"
    windows = {"LOCALAPPDATA": "C:\\L", "USERPROFILE": "C:\\U", "TEMP": "C:\\T"}
    assert paths(windows, "windows") == ["C:\\L\\solofile", "C:\\U\\AppData\\Local\\solofile", "C:\\T\\solofile"]


def test_which_target_a_machine_is() -> None:
    there = ["linux-x86_64", "macos-aarch64", "windows-x86_64"]
    assert machine.target_of("Linux", "x86_64", there) == "linux-x86_64"
    assert machine.target_of("Darwin", "arm64", there) == "macos-aarch64"
    assert machine.target_of("windows", "AMD64", there) == "windows-x86_64"
    assert machine.target_of("Windows NT", "x86_64", there) == "windows-x86_64"
    with pytest.raises(InputError, match="has no program for linux-aarch64, only for linux-x86_64, macos-aarch64"):
        machine.target_of("Linux", "aarch64", there)
    with pytest.raises(InputError, match="freebsd-x86_64"):
        machine.target_of("FreeBSD", "amd64", there)


def test_paths_of_a_cosmopolitan_program_on_windows() -> None:
    assert machine.windows_path("/C/Users/Jörg/m.exe") == "C:\\Users\\Jörg\\m.exe"
    assert machine.windows_path("C:\\x") == "C:\\x"


def test_a_python_that_cannot_load_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine, "_has_glibc", lambda: False)
    with pytest.raises(InputError, match="is not linked with glibc, which the bundle's libraries need"):
        machine.check_python()
    monkeypatch.setattr(machine, "_has_glibc", lambda: True)
    machine.check_python()
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with pytest.raises(InputError, match="is a 32-bit Python"):
        machine.check_python()


def test_crash_notes_do_not_replace_one_another(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    notes = {crash.note(str(tmp_path), "b", [], "SIGABRT") for _ in range(3)}
    assert len(notes) == 3 == len(list((tmp_path / "state").iterdir()))
    assert ", not noted in" in crash.note(str(tmp_path / "none"), "b", [], "SIGABRT")


def test_signatures() -> None:
    """Those of PyNaCl, and none that is changed."""
    from nacl.signing import SigningKey

    for seed in range(3):
        key = SigningKey(bytes([seed] * 32))
        message = os.urandom(seed * 100)
        made, public = key.sign(message).signature, bytes(key.verify_key)
        assert is_signed(message, made, public)
        assert not is_signed(message + b"x", made, public)
        assert not is_signed(message, made, bytes(SigningKey(b"x" * 32).verify_key))
        for place in (0, 31, 32, 63):
            assert not is_signed(message, made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :], public)
    order = 2**252 + 27742317777372353535851937790883648493
    larger = (int.from_bytes(made[32:], "little") + order).to_bytes(32, "little")
    assert not is_signed(message, made[:32] + larger, public), "RFC 8032 wants the smaller number"
    assert not is_signed(message, made[:63], public)
    assert not is_signed(message, b"\xff" * 64, b"\xff" * 32)


@ON_LINUX
def test_a_signature_can_be_required(bundle: Path, tmp_path: Path) -> None:
    from solofile.builder.cli import main

    key, copy = tmp_path / "k", tmp_path / bundle.name
    shutil.copy2(bundle, copy)
    assert main(["keygen", "-o", str(key), "--unencrypted"]) == 0
    public = key.with_suffix(".pub").read_text().splitlines()[1]
    cache = tmp_path / "cache"
    done = start(copy, "--require-signature", public, cache=cache)
    assert done.returncode == 2 and "cannot be read (No such file" in done.stderr
    assert main(["sign", str(copy), "--key", str(key)]) == 0
    assert "--require_signature=" in told(start(copy, f"--require_signature={public}", cache=cache))["argv"][0]
    done = start(copy, "--public-key", public, cache=cache)
    assert done.returncode == 0 and "signed with the given key: timestamp:" in done.stderr
    assert main(["keygen", "-o", str(tmp_path / "other"), "--unencrypted"]) == 0
    other = (tmp_path / "other.pub").read_text().splitlines()[1]
    assert "was not made with the key" in start(copy, "--require-signature", other, cache=cache).stderr
    assert "needs a public key of minisign" in start(copy, "--require-signature", "x", cache=cache).stderr
    assert main(["set", str(copy), "-o", str(copy), "--title", "New"]) == 0
    assert "is of another file than this one" in start(copy, "--require-signature", public, cache=cache).stderr
