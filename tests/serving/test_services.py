"""The examples for systemd, launchd and Windows: they are well-formed, and what they start is a server that works."""

from __future__ import annotations

import ctypes
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Running, free_port, wait_healthy

pytestmark = pytest.mark.e2e

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
NOBODY = 65534
PR_SET_MDWE = 65
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian package systemd)"
)


def unit_values(serving: Path, name: str) -> list[str]:
    """What the unit sets ``name`` to."""
    return re.findall(rf"^{name}=(.*)$", (serving / "llm.service").read_text(), re.MULTILINE)


def words_of(serving: Path, kind: str) -> list[str]:
    """The command line of an example."""
    if kind == "systemd":
        return shlex.split(unit_values(serving, "ExecStart")[0])
    if kind == "launchd":
        words: list[str] = plistlib.loads((serving / "com.example.llm.plist").read_bytes())["ProgramArguments"]
        return words
    found = ElementTree.parse(serving / "llm-task.xml").getroot().find(f".//{TASK}Exec")
    assert found is not None
    return [found.findtext(f"{TASK}Command", ""), *found.findtext(f"{TASK}Arguments", "").split()]


@contextmanager
def started(command: list[str], cache: Path, port: int, **how: object) -> Iterator[Running]:
    """The server of ``command``, with nothing in its environment but its cache."""
    environment = {"SOLOFILE_CACHE": str(cache), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, env=environment, cwd="/", text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **how,
    ) as process:  # type: ignore[call-overload]  # fmt: skip
        running = Running(process, port)
        try:
            wait_healthy(running)
            yield running
        finally:
            process.terminate()
            _, running.errors = process.communicate(timeout=30)


@pytest.mark.parametrize("kind", ["systemd", "launchd", "windows"])
def test_what_is_started_serves_who_has_a_key(serving: Path, smollm2_bundle: Path, tmp_path: Path, kind: str) -> None:
    words = words_of(serving, kind)
    keys = tmp_path / "keys"
    keys.write_text("sesame\n")
    port = free_port()
    here = {"8080": str(port), words[words.index("--api-key-file") + 1]: str(keys)}
    command = [str(smollm2_bundle), *(here.get(word, word) for word in words[1:])]
    with started(command, tmp_path / "cache", port) as running:
        body = {"prompt": "Hello", "n_predict": 2}
        assert running.request("POST", "/completion", body)[0] == 401
        assert running.request("POST", "/completion", body, Authorization="Bearer sesame")[0] == 200
    assert running.process.returncode in (0, 128 + 15)


@needs_systemd
def test_systemd_takes_the_unit(serving: Path, smollm2_bundle: Path, tmp_path: Path) -> None:
    unit = tmp_path / "llm.service"
    text = (serving / "llm.service").read_text()
    assert "/opt/llm/model.exe" in text
    unit.write_text(text.replace("/opt/llm/model.exe", str(smollm2_bundle)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    about_it = [line for line in done.stderr.splitlines() if "llm.service" in line]
    assert (done.returncode, about_it) == (0, []), done.stderr
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stdout.splitlines()[-1]


def allowed_calls(groups: list[str]) -> set[str]:
    """The system calls in systemd's groups."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter", *groups]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.strip() for line in listed.splitlines() if line.startswith("    ") and "#" not in line}
    inner = sorted(name for name in names if name.startswith("@"))
    return (names - set(inner)) | (allowed_calls(inner) if inner else set())


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (Debian package strace)")
def test_the_unit_allows_what_it_calls(serving: Path, smollm2_bundle: Path, tmp_path: Path) -> None:
    filters = " ".join(unit_values(serving, "SystemCallFilter")).split()
    groups = [word for word in filters if word.startswith("@")]
    summary, port = tmp_path / "summary", free_port()
    strace = ["strace", "-f", "-qq", "-c", "-U", "name", "-o", str(summary)]
    command = [*strace, str(smollm2_bundle), "--server", "--port", str(port)]
    with started(command, tmp_path / "cache", port) as running:
        running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})
        os.kill(running.model_pid(), 15)  # the launcher: strace writes its summary when that has ended
        running.process.wait(60)
    called = set(re.findall(r"^\s*([a-z_0-9]+)\s*$", summary.read_text(), re.MULTILINE)) - {"syscall", "name", "total"}
    assert {"openat", "mmap", "accept4"} <= called
    assert called <= allowed_calls([*groups, "@default"]) | set(filters)


def deny_executable_memory() -> None:
    """As MemoryDenyWriteExecute= does, here and in all that is started."""
    if ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0:
        raise OSError("no PR_SET_MDWE")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_it_runs_as_nobody_and_makes_no_memory_executable(serving: Path, smollm2_bundle: Path, tmp_path: Path) -> None:
    assert unit_values(serving, "MemoryDenyWriteExecute") == ["yes"]
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        pytest.skip("the kernel has no PR_SET_MDWE (Linux 6.3)")
    port = free_port()
    for folder in [tmp_path, *list(tmp_path.parents)[:3]]:
        folder.chmod(folder.stat().st_mode | 0o011)
    bundle, cache = tmp_path / "model.exe", tmp_path / "cache"
    bundle.hardlink_to(smollm2_bundle)
    cache.mkdir(0o700)
    os.chown(cache, NOBODY, NOBODY)
    command = [str(bundle), "--server", "--port", str(port)]
    how = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "preexec_fn": deny_executable_memory}
    with started(command, cache / "solofile", port, **how) as running:
        assert running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})["tokens_predicted"] == 4


def test_launchd_takes_the_daemon(serving: Path) -> None:
    """What launchd.plist(5) asks of one; there is no launchd here to say so."""
    text = (serving / "com.example.llm.plist").read_bytes()
    daemon = plistlib.loads(text, fmt=plistlib.FMT_XML)
    assert daemon["Label"] == "com.example.llm"
    assert daemon["RunAtLoad"] is True
    assert daemon["KeepAlive"] == {"SuccessfulExit": False}
    assert daemon["UserName"] != "root"
    assert daemon["ExitTimeOut"] >= 30
    assert daemon["Umask"] == 0o077
    assert all(isinstance(word, str) for word in daemon["ProgramArguments"])
    assert Path(daemon["ProgramArguments"][0]).is_absolute()


def test_windows_takes_the_task(serving: Path) -> None:
    """The parts that Task Scheduler asks for, and that nothing ends the task by itself; there is no Windows here."""
    text = (serving / "llm-task.xml").read_bytes()
    assert text.isascii()  # whatever reads it, in whatever code page
    task = ElementTree.fromstring(text)
    assert task.tag == f"{TASK}Task"
    principal = task.find(f"{TASK}Principals/{TASK}Principal")
    actions = task.find(f"{TASK}Actions")
    assert principal is not None and actions is not None
    assert principal.get("id") == actions.get("Context")
    assert principal.findtext(f"{TASK}UserId") == "S-1-5-19"  # LOCAL SERVICE
    assert task.find(f"{TASK}Triggers/{TASK}BootTrigger") is not None
    settings = {entry.tag.removeprefix(TASK): entry.text for entry in task.findall(f"{TASK}Settings/*")}
    assert settings["ExecutionTimeLimit"] == "PT0S"
    assert settings["StopIfGoingOnBatteries"] == settings["DisallowStartIfOnBatteries"] == "false"
