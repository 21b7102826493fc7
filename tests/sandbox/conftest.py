"""What an escape reaches for, and the runtime in a child that tries."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parent / "escape_driver.py"

Escape = Callable[..., dict[str, Any]]


@pytest.fixture
def escape(smollm2_bundle: Path, native_dir: Path, tmp_path: Path) -> Iterator[Escape]:
    """Runs the driver with a bundle's command line; its answers. With `--no-sandbox` among the words nothing is kept
    back, which shows that the attempts are none that fail by themselves."""
    with ExitStack() as stack:
        facts = surroundings(tmp_path, stack)
        cache, bundle = tmp_path / "cache", tmp_path / "bundle.exe"
        shutil.copy(smollm2_bundle, bundle)  # an attempt that succeeds damages it
        environment = {
            **os.environ, "SOLOFILE_BUNDLE": str(bundle), "SOLOFILE_CACHE_DIR": str(cache),
            "SOLOFILE_NATIVE_DIR": str(native_dir), "HOME": facts["home"],
        }  # fmt: skip
        cache.mkdir(mode=0o700)

        def run(*words: str) -> dict[str, Any]:
            reading, writing = os.pipe()
            bundled = [*cache.rglob("*.so")]
            more = {"answer": writing, "library": str(bundled[0] if bundled else cache / "kernels" / "x.so")}
            path = tmp_path / "facts.json"
            path.write_text(json.dumps({**facts, **more, "confined": "--no-sandbox" not in words}))
            command = [sys.executable, str(DRIVER), str(path), *words]
            with subprocess.Popen(
                command, env=environment, pass_fds=(writing, facts["terminal"]), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            ) as process:  # fmt: skip
                os.close(writing)
                with os.fdopen(reading) as answer:
                    text = answer.read()
                _, errors = process.communicate(timeout=120)
            assert text, errors
            found: dict[str, Any] = json.loads(text)
            return {**found, "errors": errors}

        yield run


def surroundings(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """A home with a key, somebody to be attacked, places to connect to, a terminal, a library from elsewhere."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    key = home / ".ssh" / "id_ed25519"
    key.write_text("secret")
    tcp, udp = stack.enter_context(socket.create_server(("127.0.0.1", 0))), stack.enter_context(udp_server())
    unix = stack.enter_context(socket.socket(socket.AF_UNIX))
    unix.bind(str(folder / "daemon"))
    unix.listen()
    victim = stack.enter_context(subprocess.Popen(["sleep", "600"]))
    stack.callback(victim.kill)
    terminal, other = pty.openpty()
    stack.callback(os.close, terminal)
    stack.callback(os.close, other)
    return {
        "home": str(home), "key": str(key), "beside": str(folder / "beside"), "victim": victim.pid,
        "tcp": tcp.getsockname(), "udp": udp.getsockname(), "unix": str(folder / "daemon"), "terminal": other,
        "foreign": foreign_library(),
    }  # fmt: skip


def udp_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    return server


def foreign_library() -> str:
    """A library of the system that Python does not load."""
    folders = [Path("/usr/lib") / f"{os.uname().machine}-linux-gnu", Path("/usr/lib64"), Path("/usr/lib")]
    names = ("libnss_compat.so.2", "libBrokenLocale.so.1", "libthread_db.so.1", "libanl.so.1")
    return str(next(folder / name for folder in folders for name in names if (folder / name).exists()))
