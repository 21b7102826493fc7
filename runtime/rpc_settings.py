"""What the command line says of several machines: ``--rpc``, ``--rpc-worker``, and the secret in front of both."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime.errors import InputError
from solofile.runtime.rpc_handshake import LEAST_SECRET

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.options import Given
else:
    from solofile.runtime.record import NamedTuple

PORT = 50052
"""That of llama.cpp's rpc-server."""

MOST = 16
"""llama.cpp's GGML_RPC_MAX_SERVERS."""

VARIABLE = "SOLOFILE_RPC_SECRET"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Endpoint(NamedTuple):
    """Where a worker is."""

    host: str
    port: int

    @property
    def label(self) -> str:
        """For llama.cpp, which takes what follows the first colon for the port."""
        return f"{self.host.replace(':', '-')}:{self.port}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Shared(NamedTuple):
    """A start that shares the layers out over ``workers``."""

    workers: tuple[Endpoint, ...]
    secret_file: str = ""


class Working(NamedTuple):
    """A start that computes for other machines."""

    hosts: tuple[str, ...] = LOOPBACK[:1]
    port: int = PORT
    secret_file: str = ""
    no_auth: bool = False


def endpoints(text: str) -> tuple[Endpoint, ...]:
    """The workers in a list with commas. Raises InputError for what is no address, or comes twice."""
    found: list[Endpoint] = []
    for word in (part.strip() for part in text.split(",")):
        if not word:
            continue
        one = _endpoint(word)
        if one.label in {other.label for other in found}:
            raise InputError(f"--rpc names the worker {one} twice: leave one out.")
        found.append(one)
    if not found or len(found) > MOST:
        raise InputError(f"--rpc {text!r} names {len(found)} workers: give it 1 to {MOST}, as HOST:PORT with commas.")
    return tuple(found)


def _endpoint(word: str) -> Endpoint:
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        port = rest.removeprefix(":") if bracket and rest.startswith(":") else ("" if bracket and not rest else "x")
    elif word.count(":") > 1:
        host, port = word, ""
    else:
        host, _, port = word.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else (PORT if not port else 0)
    odd = any(letter.isspace() or letter in "/@[]" for letter in host) or (":" in host and not _is_ipv6(host))
    if not host or odd or not 0 < number < 65_536:
        raise InputError(f"--rpc {word!r} is no address: give HOST:PORT, as --rpc-worker printed it.")
    return Endpoint(host, number)


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return False
    return True


def without(value: str, gone: Endpoint) -> str:
    """The list with commas without one of its workers; empty where none is left."""
    return ",".join(str(one) for one in endpoints(value) if one != gone)


def secret(file: str, environ: Mapping[str, str]) -> str:
    """The secret of both sides, from the file or else the environment; empty where neither is given.

    Never from the command line, which everybody on the machine can read. Raises InputError for a file that cannot be
    read, and a secret that could be guessed.
    """
    if file:
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise InputError(f"{file} cannot be read ({why}): give --rpc-secret-file a text file.") from error
        source = file
    elif VARIABLE in environ:
        text, source = environ[VARIABLE].strip(), VARIABLE
    else:
        return ""
    if len(text) < LEAST_SECRET:
        raise InputError(
            f"The secret in {source} has {len(text)} characters and could be guessed: give it {LEAST_SECRET} or more, "
            "best random ones."
        )
    return text


def check_hosts(hosts: Sequence[str], secret: str, *, no_auth: bool) -> None:
    """Raises InputError where a worker would compute for whoever reaches its port without having been told to."""
    if secret and no_auth:
        raise InputError("A secret and --no-auth ask for different things: give one of them.")
    open_to = [host for host in hosts if host not in LOOPBACK]
    if open_to and not secret and not no_auth:
        raise InputError(
            f"--host {open_to[0]} lets other machines in, and there is no secret: give --rpc-secret-file, or --no-auth "
            "where everybody may use this one."
        )


def words_without(words: Sequence[Given], gone: Endpoint) -> list[str]:
    """A command line that asks for the same without one of the workers, and without what only fits all of them."""
    kept: list[str] = []
    left = ""
    for one in words:
        key = one.option.key
        if key == "--rpc":
            left = without(one.values[0], gone)
            kept += ["--rpc", left] if left else []
        elif key == "-ts" or (key == "-dev" and "RPC" in one.values[0].upper()):
            continue
        else:
            kept += one.words()
    if not left and "--rpc-secret-file" in kept:
        at = kept.index("--rpc-secret-file")
        del kept[at : at + 2]
    return kept
