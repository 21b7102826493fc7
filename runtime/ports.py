"""The listening sockets, taken before anything slow is imported.

A bundle takes its port first and imports Flask and loads the model afterwards: a browser that comes early waits in the
listen queue instead of being refused, and a taken port is known after milliseconds.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from solofile.runtime.errors import InputError

FIRST_PORT = 8080
"""llama-server's default, and where the search for a free port begins."""

TRIED_PORTS = 100
BACKLOG = 512
"""llama-server's listen queue: a burst of clients larger than the slots waits instead of being reset."""

_TAKEN = {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, getattr(errno, "WSAEACCES", errno.EACCES)}


@dataclass(frozen=True)
class Listener:
    """A socket that listens. ``note`` says that another port than the usual one was taken and why, else empty."""

    socket: socket.socket
    host: str
    port: int
    note: str = ""

    @property
    def unix_path(self) -> str | None:
        """The path, where this is a Unix socket."""
        return self.host if is_unix(self.host) else None

    def url(self, *, tls: bool = False, prefix: str = "") -> str:
        """What a person types into a browser; any-address hosts are named as this machine."""
        if self.unix_path is not None:
            return f"unix://{self.unix_path}"
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        shown = f"[{name}]" if ":" in name and not name.startswith("[") else name
        return f"{'https' if tls else 'http'}://{shown}:{self.port}{prefix}/"


def is_unix(host: str) -> bool:
    """Whether ``host`` is the path of a Unix socket, as llama-server spells it."""
    return host.endswith(".sock")


def bind_socket(host: str, port: int = FIRST_PORT, *, fixed: bool = True, reuse_port: bool = False) -> Listener:
    """Listen on ``host``:``port``; port 0 lets the system choose.

    With ``fixed`` a taken port is an `InputError` that names it. Without, the next free one of the following
    `TRIED_PORTS` is taken and `Listener.note` says so.
    """
    if is_unix(host):
        return Listener(_listen_unix(host), host, 0)
    family = _family(host, port)
    taken: OSError | None = None
    for candidate in [port] if fixed or port == 0 else range(port, min(port + TRIED_PORTS, 65536)):
        try:
            sock = _listen(family, host, candidate, reuse_port=reuse_port)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise _refusal(host, candidate, error) from error
            taken = error
            continue
        actual = int(sock.getsockname()[1])
        note = "" if taken is None else f"Port {port} is taken by another program, so port {actual} is used."
        return Listener(sock, host, actual, note)
    if fixed or port == 0:
        raise _refusal(host, port, taken or OSError("no port"))
    last = min(port + TRIED_PORTS, 65536) - 1
    raise InputError(f"All ports from {port} to {last} of {host} are taken: name a free one with --port.")


def bind_sockets(
    hosts: tuple[str, ...], port: int = FIRST_PORT, *, fixed: bool = True, reuse_port: bool = False
) -> list[Listener]:
    """Listen on every host, all TCP ones on one port; either all of them or none."""
    if port == 0 and len([host for host in hosts if not is_unix(host)]) > 1:
        raise InputError("--port 0 cannot be used with several addresses: name a port.")
    listeners: list[Listener] = []
    try:
        for host in hosts:
            if chosen := next((listener.port for listener in listeners if listener.port), 0):
                port, fixed = chosen, True
            listeners.append(bind_socket(host, port, fixed=fixed, reuse_port=reuse_port))
    except InputError:
        close_all(listeners)
        raise
    return listeners


def close_all(listeners: list[Listener]) -> None:
    """Close the sockets and remove the paths of Unix ones."""
    for listener in listeners:
        listener.socket.close()
        if listener.unix_path is not None:
            with suppress(OSError):
                _remove(listener.unix_path)


def _remove(path: str) -> None:
    from solofile.runtime import errands

    errand = errands.running()
    if errand is None:
        Path(path).unlink()
    else:
        errand.run(errands.UNLINK, {"path": path})


def _family(host: str, port: int) -> socket.AddressFamily:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise InputError(f"{host} is no address of this machine: give --host an IP address or name of it.") from error
    return found[0][0]


def _listen(family: socket.AddressFamily, host: str, port: int, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _set_options(sock, reuse_port=reuse_port)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket, *, reuse_port: bool) -> None:
    if sys.platform == "win32":
        # There SO_REUSEADDR would let two programs share a port and get each other's clients.
        if not reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        return
    # A port whose last connections are in TIME_WAIT is free for us.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listen_unix(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise InputError(f"This system has no Unix sockets, so {path} cannot be listened on: give --host an address.")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o177)  # the socket is this user's alone from its first moment
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise InputError(f"The socket {path} cannot be made ({error.strerror}): give --host another path.") from error
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; anything else at ``path`` stays and fails the bind."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            return


def _refusal(host: str, port: int, error: OSError) -> InputError:
    if error.errno in _TAKEN:
        return InputError(f"Port {port} of {host} is taken: stop the program that uses it, or give another --port.")
    if error.errno in _FORBIDDEN:
        return InputError(f"Port {port} of {host} needs more rights than this user has: give a --port above 1023.")
    if error.errno == errno.EADDRNOTAVAIL:
        return InputError(f"{host} is no address of this machine: give --host an address that it has.")
    reason = error.strerror or str(error)
    return InputError(f"Port {port} of {host} cannot be opened ({reason}): give another --port or --host.")
