"""The page's place: the port that a bundle takes again, and the running copy that a second double-click finds.

A browser keeps conversations by address and port, so the page is to be where it was. For each bundle the cache's state/
holds ``page-<16 hex digits>.json``, readable by this user alone:

    {"format": 1, "port": 8080,
     "running": {"url", "host", "port", "tls", "prefix", "process", "words": digest, "secret": hex}}

Whether the copy that is named there still runs is not believed but asked: it proves that it knows the secret.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime import state_files
from solofile.runtime.control import proof
from solofile.runtime.locks import Lock
from solofile.runtime.ports import FIRST_PORT, Listener, bind_sockets

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.server_settings import ServerSettings
else:
    from solofile.runtime.record import NamedTuple

FORMAT = 1
KEPT_FILES = 64
ANSWER_SECONDS = 5.0
"""How long a running copy may take to prove itself; while it starts, it is busy."""

_LIMIT = 1 << 16
_PATIENCE = 5.0
_FIELDS = {
    "url": str, "host": str, "port": int, "tls": bool, "prefix": str, "process": int, "words": str, "secret": str,
}  # fmt: skip

Record = dict[str, Any]
Ask = Callable[[Record, str], str | None]


class Place(NamedTuple):
    """Where the page is: ``running`` is the address of the copy that runs already, else the sockets are ours.

    ``moved`` says that the port is not the one where the conversations are; ``note`` that nothing could be kept.
    """

    listeners: list[Listener]
    secret: str = ""
    running: str = ""
    moved: dict[str, Any] | None = None
    note: str = ""


def file_path(cache: Path, digest: str) -> Path:
    """The file of the bundle with this digest."""
    return cache / "state" / f"page-{digest[:16]}.json"


def take(
    path: Path, settings: ServerSettings, words: Sequence[str], *, first: int = FIRST_PORT, ask: Ask | None = None
) -> Place:
    """Find the copy that runs with the same ``words`` on its command line, or take the port of last time.

    ``first`` is the port of the first time. One start at a time: the next one finds what this one wrote. Raises
    InputError where no port can be had.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        lock = Lock(path)
    except OSError as error:
        listeners = bind_sockets(settings.hosts, first, fixed=False, reuse_port=settings.reuse_port)
        return Place(listeners, note=_not_kept(path, error))
    try:
        lock.seize(patience=_PATIENCE)
        return _take(path, settings, digest_of(words), first, ask or asked)
    finally:
        lock.close()


def _take(path: Path, settings: ServerSettings, words: str, first: int, ask: Ask) -> Place:
    record = read(path)
    running = record.get("running")
    alive = running is not None and is_alive(running, ask)
    if running is not None and alive and running["words"] == words:
        return Place([], running=running["url"])
    wanted = record.get("port", first)
    listeners = bind_sockets(settings.hosts, wanted, fixed=False, reuse_port=settings.reuse_port)
    port = next((one.port for one in listeners if one.port), 0)
    moved = None
    if "port" in record and port != wanted:
        who = "another copy of this bundle" if alive and running and running["port"] == wanted else "another program"
        moved = {"wanted": wanted, "got": port, "reason": f"Port {wanted} is taken by {who}."}
    secret = secrets.token_hex(16)
    mine = {
        "url": listeners[0].url(tls=settings.tls, prefix=settings.api_prefix),
        "host": _reachable(listeners[0].host), "port": port, "tls": settings.tls, "prefix": settings.api_prefix,
        "process": os.getpid(), "words": words, "secret": secret,
    }  # fmt: skip
    # A port that is taken today is wanted again tomorrow: the conversations are there.
    news = {"port": wanted if moved else port, "running": running if alive else mine}
    try:
        write(path, news)
    except OSError as error:
        return Place(listeners, moved=moved, note=_not_kept(path, error))
    return Place(listeners, "" if alive else secret, moved=moved)


def _not_kept(path: Path, error: OSError) -> str:
    return f"The port cannot be kept in {path} ({error.strerror or error}): the next start may take another one."


def digest_of(words: Sequence[str]) -> str:
    """What tells command lines apart; they may hold a key, which is not written down."""
    import hashlib

    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


def release(path: Path, secret: str) -> None:
    """This copy ends: name it no longer, but keep its port. What cannot be written is found out by asking anyway."""
    if not secret:
        return
    with suppress(OSError):
        lock = Lock(path)
        try:
            lock.seize(patience=_PATIENCE)
            record = read(path)
            if record.get("running", {}).get("secret") == secret:
                write(path, {"port": record["port"]})
        finally:
            lock.close()


def read(path: Path) -> Record:
    """What is kept, without what is not as it was written; empty where there is nothing. Raises nothing."""
    try:
        found = json.loads(state_files.load(path, _LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or found.get("format") != FORMAT or not _is_port(found.get("port")):
        return {}
    record = {"port": found["port"]}
    return record | {"running": found["running"]} if _is_sound(found.get("running")) else record


def _is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def _is_sound(running: Any) -> bool:
    return (
        isinstance(running, dict)
        and all(type(running.get(name)) is kind for name, kind in _FIELDS.items())
        and _is_port(running["port"])
        and bool(running["secret"])
        and running["url"].startswith(("http://", "https://"))
    )


def write(path: Path, record: Record) -> None:
    """Replace the file; OSError where that cannot be."""
    state_files.write(path, {"format": FORMAT, **record}, kind="page-*.json", kept=KEPT_FILES)


def is_alive(running: Record, ask: Ask) -> bool:
    """Does the copy run? One whose port takes connections but does not answer yet runs if its process does."""
    challenge = secrets.token_hex(16)
    try:
        answer = ask(running, challenge)
    except TimeoutError:
        return _process_runs(running["process"])
    except (OSError, ValueError):
        return False
    return answer is not None and secrets.compare_digest(answer, proof(running["secret"], challenge))


def _process_runs(process: int) -> bool:
    if process <= 0:
        return False
    if os.name == "nt":
        from solofile.runtime import windows_calls

        return windows_calls.is_running(process)
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def asked(running: Record, challenge: str) -> str | None:
    """What the copy answers to the challenge; OSError (or TimeoutError) where nothing does, None for something else."""
    import http.client

    host, port = running["host"], running["port"]
    # Refused at once where nobody listens; the rest costs imports.
    socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    connection: http.client.HTTPConnection
    if running["tls"]:
        import ssl

        # Whose certificate it is does not matter: what it proves is the secret.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", f"{running['prefix']}/solofile/instance?challenge={challenge}")
        answer = connection.getresponse()
        found = json.loads(answer.read(_LIMIT)) if answer.status == 200 else None
    except http.client.HTTPException:
        return None
    finally:
        connection.close()
    proven = found.get("proof") if isinstance(found, dict) else None
    return proven if isinstance(proven, str) else None


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host).strip("[]")
