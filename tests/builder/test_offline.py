"""With the pack and the model there, no command touches the network; without the pack the build says what it lacks.

Run in a network namespace in which there is nothing, under strace: an attempt that fails quietly would be seen too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

ALONE = (
    ["unshare", "--net"] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
)
TRACED = ["strace", "-f", "-qq", "-e", "trace=%network"]


def allowed(command: list[str]) -> bool:
    if not shutil.which(command[0]):
        return False
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(not allowed(ALONE), reason="the system gives no network namespaces"),
    pytest.mark.usefixtures("folder"),
]


def offline(*words: str | Path, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    program = "import sys; from solofile.builder.__main__ import run; sys.exit(run())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*ALONE, *(prefix or []), sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)


def sockets(log: Path) -> list[str]:
    """What a program has asked of the network; sockets of the machine itself do not count."""
    return [line for line in log.read_text().splitlines() if "AF_INET" in line or "AF_PACKET" in line]


@pytest.mark.skipif(not allowed(TRACED), reason="strace is not there, or may not trace")
def test_no_network_is_touched(gguf_path: Path, pack_path: Path, tmp_path: Path) -> None:
    for number, words in enumerate(
        (
            ("build", gguf_path, "--pack", pack_path, "-o", "old.exe"),
            ("set", "old.exe", "--title", "New", "-o", "new.exe"),
            ("upgrade", "old.exe", "--pack", pack_path, "-o", "up.exe"),
            ("build", "--from", "old.exe", "--pack", pack_path, "-o", "from.exe"),
            ("verify", "new.exe"),
            ("inspect", "new.exe", "--json"),
            ("extract", "new.exe", "parts"),
            ("recipe", "list"),
            ("keygen", "-o", "k.key", "--unencrypted"),
            ("sign", "new.exe", "--key", "k.key"),
            ("verify", "new.exe", "--public-key", "k.pub"),
        )
    ):
        log = tmp_path / f"{number}.log"
        done = offline(*words, prefix=[*TRACED, "-o", str(log)])
        assert done.returncode == 0, done.stderr
        assert sockets(log) == [], words


@pytest.mark.skipif(not allowed(TRACED), reason="strace is not there, or may not trace")
def test_an_attempt_would_be_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = offline(
        "build", "http://192.0.2.1/m.gguf", "--sha256", "0" * 64, "--name", "n", prefix=[*TRACED, "-o", str(log)]
    )
    assert done.returncode == 2
    assert "could not be fetched" in done.stderr
    assert sockets(log)


def test_without_the_pack(gguf_path: Path, folder: Path, build_cache: Path) -> None:
    """One sentence that says what is missing and what helps; neither an output nor half a download is left."""
    done = offline("build", gguf_path, "-o", "x.exe", "--progress", "none")
    assert done.returncode == 2
    assert done.stderr.startswith("solofile: ")
    assert len(done.stderr.splitlines()) == 1
    assert "pip could not fetch " in done.stderr and "which this build has to have" in done.stderr
    assert "or --pack" in done.stderr
    assert list(folder.iterdir()) == []
    left = [path for path in build_cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert [path for path in left if path.parent.name != "tried"] == []  # that the model is sound is worth a note


@pytest.mark.native
def test_with_what_the_cache_holds(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where solofile finds the pack itself. Its libraries try the model, which so has to be one."""
    gguf_path = write_tiny_model(tmp_path / "tiny.gguf")
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(pack.parents[2]))
    log = tmp_path / "log"
    traced = [*TRACED, "-o", str(log)] if allowed(TRACED) else []
    done = offline("build", gguf_path, "-o", "x.exe", prefix=traced)
    assert done.returncode == 0, done.stderr
    assert not traced or sockets(log) == []
    given = offline("build", gguf_path, "-o", "y.exe", "--name", "x", "--pack", pack)
    assert given.returncode == 0, given.stderr
    assert Path("x.exe").read_bytes() == Path("y.exe").read_bytes()
