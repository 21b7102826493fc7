"""How the HTTP server behaves: one frozen dataclass, checked when made.

The options are llama-server's where it has them. Its own HTTP layer is not in a bundle, so what they mean is done here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from solofile.runtime.auth import Key

MAX_BODY = 100 * 1024 * 1024
"""Bytes of a request's body: llama-server's limit (cpp-httplib's default). A picture of 75 MB fits, as base64."""

QUEUE = 256
DRAIN_SECONDS = 8.0
"""Less than the 10 seconds after which Docker kills what it asked to end."""

ACCESS_LOG_BYTES = 100 * 1024 * 1024

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-fA-F:.]+\]|[^/\[\]:@\s]+)(:\d{1,5})?", re.IGNORECASE)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Icon:
    """The bundle's icon: its bytes, their media type, and what a browser asks with whether its copy is still right."""

    data: bytes
    kind: str
    tag: str


@dataclass(frozen=True)
class About:
    """What the page says of the bundle; ``system_prompt`` starts every chat there.

    ``facts`` are the further fields of ``/solofile/about`` (about.py), of which the status shows some while the model
    loads.
    """

    name: str
    title: str = ""
    system_prompt: str | None = None
    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    icon: Icon | None = None


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the HTTP server; `InputError` where they do not fit.

    ``hosts``: addresses, names or Unix sockets (``*.sock``). ``allow_origins``: origins of other sites whose pages may
    use the API; ``*`` means every one, ``localhost`` every origin on this machine. ``timeout``: seconds of silence in
    the middle of a request after which the connection is given up. ``threads``: threads kept for requests, 0 for a
    number that fits. ``max_body``: bytes. ``static_folder``: files to serve in place of the page.

    ``keys``: those of --api-key-file, with their limits, beside ``api_keys``. ``queue``: requests that may wait for
    the model. ``max_seconds`` and ``max_tokens`` of an answer, 0 for no limit. ``drain_seconds``: how long answers
    under way may take when the server is asked to end. ``access_log``: its file, of ``access_log_bytes`` at most.
    ``otlp_endpoint``: the address of a collector of traces.
    """

    hosts: tuple[str, ...] = ("127.0.0.1",)
    api_keys: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    cors_methods: str = "GET, POST, DELETE, OPTIONS"
    cors_headers: str = "*"
    cors_credentials: bool = False
    api_prefix: str = ""
    timeout: int = 3600
    threads: int = 0
    reuse_port: bool = False
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    max_body: int = MAX_BODY
    page: bool = True
    static_folder: Path | None = None
    keys: tuple[Key, ...] = ()
    open_to_all: bool = False
    queue: int = QUEUE
    max_seconds: float = 0.0
    max_tokens: int = 0
    drain_seconds: float = DRAIN_SECONDS
    access_log: Path | None = None
    access_log_bytes: int = ACCESS_LOG_BYTES
    otlp_endpoint: str = ""

    def __post_init__(self) -> None:
        """Check every field that has a wrong value."""
        self._check_numbers()
        self._check_names()
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise InputError("TLS needs both files: give --ssl-cert-file and --ssl-key-file.")
        if self.static_folder is not None and not self.static_folder.is_dir():
            raise InputError(f"{self.static_folder} is no folder: give --path a folder of files to serve.")

    def _check_numbers(self) -> None:
        if self.timeout < 1:
            raise InputError(f"--timeout {self.timeout} is too short: give it 1 second or more.")
        if not -1 <= self.threads <= 1024:
            raise InputError(f"--threads-http {self.threads} cannot be: give it 1 to 1024, or -1 for what fits.")
        if self.max_body < 1:
            raise InputError(f"A body limit of {self.max_body} bytes lets nothing in: give it 1 or more.")
        for option, value in (
            ("--queue", self.queue),
            ("--max-seconds", self.max_seconds),
            ("--max-tokens", self.max_tokens),
            ("--drain-seconds", self.drain_seconds),
        ):
            if not 0 <= value < 2**31:
                raise InputError(f"{option} {value:g} cannot be: give it 0 or more.")
        if self.access_log_bytes < 1:
            raise InputError("--access-log-mb needs 1 or more: give it the megabytes of one file.")

    def _check_names(self) -> None:
        if not self.hosts or not all(self.hosts):
            raise InputError("--host needs an address: give it one, for example 127.0.0.1.")
        if any(not key or not key.isprintable() or key != key.strip() for key in self.api_keys):
            raise InputError("An API key is empty or has spaces around or control characters: give a plain --api-key.")
        if not _PREFIX.fullmatch(self.api_prefix):
            raise InputError(
                f"--api-prefix {self.api_prefix} cannot be: begin it with a slash and end it without one, as in /llm."
            )
        for origin in self.allow_origins:
            if origin not in {"*", "localhost"} and not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"--allow-origin {origin} is no origin: give scheme, host and port only, as in https://example.org."
                )

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.ssl_cert_file is not None

    @property
    def locked(self) -> bool:
        """Whether a key is needed."""
        return bool(self.api_keys or self.keys)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return all(is_loopback(host) for host in self.hosts)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (an address, a name, or the path of a Unix socket) is reached from this machine alone."""
    if host in {"localhost", "::1"} or host.endswith(".sock"):
        return True
    return re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
