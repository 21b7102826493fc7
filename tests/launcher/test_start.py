"""What the runtime gets from the launcher, and what comes back."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from synthetic_bundle import PROGRAM, Content, Synthetic, run, write_bundle


def test_arguments_and_exit_code_are_passed_on(bundle: Synthetic, cache: Path) -> None:
    started = run([bundle.path, "show", "--name", "with space", "", "ünï", "-n=1"], {"SOLOFILE_CACHE": cache})
    assert started.arguments == [str(bundle.path), "show", "--name", "with space", "", "ünï", "-n=1"]
    assert (started.code, started.err) == (0, "")
    for code in (0, 1, 2, 42, 255):
        assert run([bundle.path, "exit", str(code)], {"SOLOFILE_CACHE": cache}).code == code


def test_the_runtime_is_told_where_things_are(bundle: Synthetic, cache: Path, tmp_path: Path) -> None:
    started = run([bundle.path], {"SOLOFILE_CACHE": cache, "LANG": "C"}, cwd=tmp_path)
    assert started.environment == {
        "SOLOFILE_CACHE": str(cache),
        "LANG": "C",
        "SOLOFILE_BUNDLE": str(bundle.path),
        "SOLOFILE_CACHE_DIR": str(cache),
        "SOLOFILE_LAUNCHER_PID": started.fact("parent"),
    }
    assert started.fact("cwd") == str(tmp_path)


def test_link_spaces_letters_and_another_folder(bundle: Synthetic, cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit Ümläuten 模型"
    folder.mkdir()
    copy = folder / "mödel mit Leerzeichen.exe"
    shutil.copy(bundle.path, copy)
    (tmp_path / "links").mkdir()
    link, second = tmp_path / "links" / "link", tmp_path / "links" / "second"
    link.symlink_to(copy)
    second.symlink_to("link")
    for command in (link, second, Path("../links/second")):
        started = run([command, "show"], {"SOLOFILE_CACHE": cache}, cwd=folder)
        assert started.code == 0, started.err
        assert started.arguments == [str(copy), "show"]
        assert started.environment["SOLOFILE_BUNDLE"] == str(copy)


def test_a_relative_cache_is_made_absolute(bundle: Synthetic, tmp_path: Path) -> None:
    started = run([bundle.path], {"SOLOFILE_CACHE": "my cache/"}, cwd=tmp_path)
    assert started.environment["SOLOFILE_CACHE_DIR"] == str(tmp_path / "my cache")


@pytest.mark.usefixtures("need_root")
def test_without_proc(bundle: Synthetic, cache: Path) -> None:
    link = bundle.path.with_name("a link")
    link.symlink_to(bundle.path.name)
    script = 'mount -t tmpfs none /proc && cd "$1" && exec "./a link" show'
    command: list[str | Path] = ["unshare", "-m", "sh", "-c", script, "sh", bundle.path.parent]
    started = run(command, {"SOLOFILE_CACHE": cache, "PATH": os.environ["PATH"]})
    if "unshare" in started.err or "mount" in started.err:
        pytest.skip("mount namespaces are not allowed here")
    assert started.code == 0, started.err
    assert started.environment["SOLOFILE_BUNDLE"] == str(bundle.path)


HOSTILE = {
    "LD_PRELOAD": "/tmp/evil.so",
    "LD_AUDIT": "/tmp/evil.so",
    "LD_LIBRARY_PATH": "/tmp:/usr/lib",
    "GCONV_PATH": "/tmp",
    "OPENSSL_CONF": "/tmp/evil.cnf",
    "GGML_BACKEND_PATH": "/tmp/evil.so",
    "GGML_VK_DISABLE_F16": "1",
    "VK_ICD_FILENAMES": "/tmp/evil.json",
    "VK_DRIVER_FILES": "/tmp/evil.json",
    "VK_ADD_DRIVER_FILES": "/tmp/evil.json",
    "VK_LAYER_PATH": "/tmp",
    "VK_INSTANCE_LAYERS": "VK_LAYER_evil",
    "LIBGL_DRIVERS_PATH": "/tmp",
    "GBM_BACKENDS_PATH": "/tmp",
    "LIBVA_DRIVERS_PATH": "/tmp",
    "MESA_SHADER_CACHE_DIR": "/tmp",
    "MESA_GLSL_CACHE_DIR": "/tmp",
    "MESA_DISK_CACHE_READ_ONLY_FOZ_DBS": "evil",
    "AMD_SHADER_DISK_CACHE_PATH": "/tmp",
    "__GL_SHADER_DISK_CACHE_PATH": "/tmp",
    "OCL_ICD_FILENAMES": "/tmp/evil.so",
    "OCL_ICD_VENDORS": "/tmp",
    "CUDA_PATH": "/tmp",
    "CUDA_INJECTION64_PATH": "/tmp/evil.so",
    "HSA_TOOLS_LIB": "/tmp/evil.so",
    "LLAMA_ARG_RPC": "10.0.0.1:1",
    "LLAMA_ARG_MODEL": "x",
    "LLAMA_API_KEY": "secret",
    "_MEIPASS2": "/tmp",
    "_PYI_ARCHIVE_FILE": "/tmp/x",
    "_PYI_SPLASH_IPC": "1",
    "PYTHONPATH": "/tmp",
    "PYTHONHOME": "/tmp",
    "PYTHONSTARTUP": "/tmp/x.py",
    "SOLOFILE_BUNDLE": "/tmp/other",
    "SOLOFILE_CACHE_DIR": "/tmp/other",
    "SOLOFILE_CHILD": "probe",
    "SOLOFILE_CRASH": "SIGSEGV",
    "SOLOFILE_LAUNCHER_PID": "1",
}
HARMLESS = {
    "LLAMA_OTHER": "1",
    "MYPYTHONPATH": "kept",
    "LD_LIBRARY_PATH_ORIG": "",
    "TERM": "xterm",
    "EMPTY": "",
    "GGML_VK_VISIBLE_DEVICES": "0",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "HIP_VISIBLE_DEVICES": "0",
    "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
    "MY_VK_LAYER_PATH": "kept",
    "HOME": "/home/user",
    "XDG_DATA_DIRS": "/tmp",
}


def test_the_environment_is_scrubbed(bundle: Synthetic, cache: Path) -> None:
    seen = run([bundle.path], {**HOSTILE, **HARMLESS, "SOLOFILE_CACHE": cache}).environment
    assert {name: seen.get(name) for name in HARMLESS} == HARMLESS
    ours = {"SOLOFILE_BUNDLE", "SOLOFILE_CACHE_DIR", "SOLOFILE_LAUNCHER_PID"}
    assert {name for name in HOSTILE if name in seen} == ours
    assert all(seen[name] != HOSTILE[name] for name in ours)


@pytest.mark.parametrize("search_path", ["::.:../planted", "{folder}", "$ORIGIN/../../bin/planted:{folder}"])
def test_a_planted_library_is_not_loaded(launcher: Path, cache: Path, tmp_path: Path, search_path: str) -> None:
    script = Content(b"#!/bin/sh\necho the runtime ran\n", 0o755)
    bundle = write_bundle(tmp_path / "script.exe", launcher.read_bytes(), {PROGRAM: script})
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "libc.so.6").write_bytes(b"not a library")
    env: dict[str, str | Path] = {"LD_LIBRARY_PATH": search_path.format(folder=planted), "SOLOFILE_CACHE": cache}
    control = run(["/bin/sh", "-c", "echo ran"], env, cwd=planted)
    if control.code == 0:
        pytest.skip("this system's shell is static")
    started = run([bundle.path], env, cwd=planted)
    assert (started.code, started.out, started.err) == (0, "the runtime ran\n", "")


def ready(process: subprocess.Popen[str]) -> int:
    """The process number of the probe, once it has its handlers."""
    assert process.stdout is not None
    words = process.stdout.readline().split()
    assert words[0] == "ready"
    return int(words[1])


def start(bundle: Synthetic, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    """A bundle in the background."""
    command = [str(bundle.path), *arguments]
    return subprocess.Popen(command, env={"SOLOFILE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True)


def test_signals_are_forwarded(bundle: Synthetic, cache: Path) -> None:
    with start(bundle, cache, "signals") as process:
        ready(process)
        assert process.stdout is not None
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT):
            process.send_signal(number)
            assert process.stdout.readline() == f"got {int(number):02}\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "got 15\n"
        assert process.wait(10) == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGALRM])
def test_a_killed_runtime_gives_128_and_the_signal(bundle: Synthetic, cache: Path, number: signal.Signals) -> None:
    ended = run([bundle.path, "die", str(int(number))], {"SOLOFILE_CACHE": cache})
    assert (ended.code, ended.err) == (128 + number, "")


@pytest.mark.skipif(not Path("/dev/pts/ptmx").exists(), reason="needs terminals (a mounted /dev/pts)")
def test_ctrl_c_reaches_the_runtime_once(bundle: Synthetic, cache: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execve(bundle.path, [str(bundle.path), "signals"], {"SOLOFILE_CACHE": str(cache)})
    seen = read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    seen += read_until(terminal, b"got 02")
    time.sleep(0.3)
    os.kill(child, signal.SIGTERM)
    seen += read_until(terminal, b"got 15")
    assert seen.count(b"got 02") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    os.close(terminal)


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows up to and with ``text``."""
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1024)
    return seen


def test_the_runtime_dies_with_a_killed_launcher(bundle: Synthetic, cache: Path) -> None:
    with start(bundle, cache, "signals") as process:
        ready(process)
        assert process.stdout is not None
        process.kill()
        # SIGTERM comes from the kernel; the probe says so and ends, which closes its side of the pipe.
        assert process.stdout.read() == "got 15\n"


def test_inherited_signal_settings_do_no_harm(bundle: Synthetic, cache: Path) -> None:
    env: dict[str, str | Path] = {"SOLOFILE_CACHE": cache}

    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    ended = run([bundle.path, "exit", "3"], env, preexec_fn=ignore)
    assert ended.code == 3
    assert run([bundle.path, "blocked"], env).out == ""
    assert run([bundle.path, "blocked"], env, preexec_fn=ignore).out == f"blocked {int(signal.SIGUSR1)}\n"


def test_a_runtime_that_may_not_be_executed(launcher: Path, probe: bytes, cache: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), {PROGRAM: Content(probe, 0o644)})
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 1
    assert "may not be executed" in ended.err
    assert "set SOLOFILE_CACHE to a folder that programs can be started from" in ended.err


def test_a_system_without_the_loader(launcher: Path, cache: Path, tmp_path: Path) -> None:
    script = Content(b"#!/no/such/loader\n", 0o755)
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), {PROGRAM: script})
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 1
    assert "This system has no glibc (/lib64/ld-linux-x86-64.so.2 is missing)" in ended.err
