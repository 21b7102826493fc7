"""Runs the runtime in its usual order, and tries to get out of it as soon as the sandbox is complete.

    python escape_driver.py FACTS.json WORD…

The words are a bundle's command line, the environment what a launcher sets. What came of each attempt is printed as
JSON: the name of the error, ``done`` where nothing kept it back. Attempts are made on the main thread and on another.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text()) if __name__ == "__main__" else {}
LIBC = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> None:
    if LIBC.syscall(number, *(ctypes.c_long(one) for one in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")


def read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def write(path: str) -> None:
    with Path(path).open("ab") as file:
        file.write(b"x")


def connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect(address)
        sock.send(b"x")


def bind() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def mapped(protection: int) -> None:
    mmap.mmap(-1, 4096, prot=protection).close()


def protect() -> None:
    """Make memory that was written to executable, as code that is injected would."""
    LIBC.mmap.restype, LIBC.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 4]
    LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    place = LIBC.mmap(None, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if LIBC.mprotect(place, 4096, 5):
        raise OSError(ctypes.get_errno(), "")


def library(path: str) -> None:
    """A library that is not there yet; the C library has no number of the error to tell."""
    try:
        ctypes.CDLL(path)
    except OSError as error:
        code = errno.EPERM if "failed to map segment" in str(error) else errno.EACCES if "denied" in str(error) else 0
        raise OSError(code, str(error)) from error


def type_into_terminal() -> None:
    """The shell that a program was started from would run it."""
    fcntl.ioctl(FACTS["terminal"], termios.TIOCSTI, b"x")


def attach(process: int) -> None:
    if LIBC.ptrace(16, process, 0, 0):  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "")
    os.waitpid(process, 0)
    LIBC.ptrace(17, process, 0, 0)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read ~/.ssh": lambda: read(FACTS["key"]),
    "list the home folder": lambda: list(Path(FACTS["home"]).iterdir()),
    "read /etc/shadow": lambda: read("/etc/shadow"),
    "read another process's environment": lambda: read(f"/proc/{FACTS['victim']}/environ"),
    "write beside the bundle": lambda: write(FACTS["beside"]),
    "write to the bundle": lambda: write(os.environ["SOLOFILE_BUNDLE"]),
    "write to the home folder": lambda: write(f"{FACTS['home']}/.bashrc"),
    "write to what is unpacked": lambda: write(FACTS["library"]),
    "change the mode of a file": lambda: Path(FACTS["key"]).chmod(0o644),
    "connect out by TCP": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, tuple(FACTS["tcp"])),
    "connect out by UDP": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, tuple(FACTS["udp"])),
    "connect to a Unix socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, FACTS["unix"]),
    "listen on another port": bind,
    "exec a shell": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]) if FACTS["confined"] else None,
    "start a program": lambda: subprocess.run(["/bin/true"], check=True),
    "spawn a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "fork": fork,
    "ptrace another process": lambda: attach(FACTS["victim"]),
    "signal another process": lambda: os.kill(FACTS["victim"], signal.SIGCONT),
    "load a library": lambda: library(FACTS["foreign"]),
    "map executable memory": lambda: mapped(mmap.PROT_READ | mmap.PROT_EXEC),
    "make memory executable": protect,
    "make a file in memory": lambda: os.close(os.memfd_create("x")),
    "type into the terminal": type_into_terminal,
    "use io_uring": lambda: call(425, 0, 0),
}
"""Each is a way out; `FACTS` says where the test has put what they reach for."""

STAYS: dict[str, Callable[[], object]] = {
    "write the state": lambda: write(f"{os.environ['SOLOFILE_CACHE_DIR']}/state/mine"),
    "read the bundle": lambda: read(os.environ["SOLOFILE_BUNDLE"]),
    "start a thread": lambda: threading.Thread(target=int).start(),
}
"""What a start goes on to need."""


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    except BaseException as error:
        return repr(error)
    return "done"


def attempts() -> dict[str, str]:
    return {name: outcome(attempt) for name, attempt in {**ATTEMPTS, **STAYS}.items()}


def threads() -> list[dict[str, str]]:
    """What the kernel says of each thread."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        lines = (line.partition(":") for line in (task / "status").read_text().splitlines())
        fields = {name: value.strip() for name, _, value in lines}
        found.append({name: fields[name] for name in ("NoNewPrivs", "Seccomp")})
    return found


def tell() -> None:
    answers: dict[str, Any] = {"main": attempts(), "threads": threads()}
    other = threading.Thread(target=lambda: answers.update(other=attempts()))
    other.start()
    other.join()
    with os.fdopen(FACTS["answer"], "w") as out:
        out.write(json.dumps(answers))
    os._exit(0)


def main() -> None:
    from solofile.runtime import boot, cli, rpc_worker

    seal = boot.Started.seal

    def sealed(self: boot.Started) -> list[str]:
        found = seal(self)
        tell()
        return found

    boot.Started.seal = sealed  # type: ignore[method-assign]
    rpc_worker.wait = tell
    os._exit(cli.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
