"""The workers that ``--rpc`` names, as the machine with the model sees them: found, checked, connected to, lost."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from solofile.runtime import rpc_channel, rpc_native
from solofile.runtime.errors import InputError
from solofile.runtime.rpc_handshake import COMPUTE, LOOK, Facts, HandshakeError, key_of
from solofile.runtime.rpc_splice import splice

if TYPE_CHECKING:
    from solofile.runtime.rpc_channel import Channel
    from solofile.runtime.rpc_settings import Endpoint

CONNECTING = 5.0
"""Seconds until somebody answers at all."""

Lost = Callable[["Endpoint", str], None]
"""Told of a worker that went away, and how; nothing is computed with it from then on."""


class Workers:
    """Some workers, each proven to be one by the handshake; ``facts`` are what they said of themselves."""

    def __init__(self, facts: Mapping[Endpoint, Facts], key: bytes, context: ssl.SSLContext) -> None:
        self.facts = dict(facts)
        self._key, self._context = key, context
        self._labels = {one.label: one for one in self.facts}
        self._lost: tuple[Endpoint, str] | None = None
        self._told: Lost | None = None
        self._lock = threading.Lock()

    @property
    def labels(self) -> tuple[str, ...]:
        """The workers as llama.cpp is told of them, in their order."""
        return tuple(self._labels)

    @property
    def devices(self) -> tuple[str, ...]:
        """Their devices, as llama.cpp names them."""
        return tuple(f"RPC{number}" for number in range(sum(len(one.devices) for one in self.facts.values())))

    def connect(self, host: str, port: int) -> int:
        """A socket for llama.cpp to the worker that it knows by this name; `NO_SOCKET` where it cannot be had."""
        endpoint = self._labels[f"{host}:{port}"]
        try:
            channel, facts = call(endpoint, self._key, COMPUTE, self._context)
        except InputError as error:
            self._lose(endpoint, str(error))
            return rpc_native.NO_SOCKET
        if facts.busy:
            channel.socket.close()
            self._lose(endpoint, f"The worker {endpoint} computes for another machine: wait for that, or leave it out.")
            return rpc_native.NO_SOCKET
        theirs, ours = socket.socketpair()
        work = (endpoint, ours, channel.socket)
        threading.Thread(target=self._pass_on, args=work, name="solofile-rpc", daemon=True).start()
        return theirs.detach()

    def when_lost(self, tell: Lost) -> None:
        """Have ``tell`` called, from any thread, when a worker goes away; at once where one has."""
        with self._lock:
            self._told = tell
            lost = self._lost
        if lost is not None:
            tell(*lost)

    def _pass_on(self, endpoint: Endpoint, local: socket.socket, remote: ssl.SSLSocket) -> None:
        if not splice(local, remote):
            # The local end stays open: llama.cpp aborts the process when it finds it closed, and waits as it is.
            self._lose(endpoint, f"The worker {endpoint} is gone.")
            return
        local.close()
        remote.close()

    def _lose(self, endpoint: Endpoint, how: str) -> None:
        with self._lock:
            if self._lost is not None:
                return
            self._lost = (endpoint, how)
            tell = self._told
        if tell is not None:
            tell(endpoint, how)


def find(endpoints: tuple[Endpoint, ...], secret: str, commit: str) -> Workers:
    """Ask each of the workers who it is. Raises InputError where one is not there, not to be trusted, or another."""
    key, context = key_of(secret), rpc_channel.context()
    facts = {}
    for one in endpoints:
        channel, facts[one] = call(one, key, LOOK, context)
        channel.socket.close()
        _check(one, facts[one], commit)
    return Workers(facts, key, context)


def call(endpoint: Endpoint, key: bytes, purpose: int, context: ssl.SSLContext) -> tuple[Channel, Facts]:
    """A channel to a worker after the handshake. Raises InputError: unreachable, no worker, another secret."""
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECTING)
    except OSError as error:
        why = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise InputError(
            f"The worker {endpoint} cannot be reached ({why}): start it there with --rpc-worker, or correct --rpc."
        ) from error
    try:
        deadline = time.monotonic() + rpc_channel.PATIENCE
        channel = rpc_channel.secured(sock, context, server=False, deadline=deadline)
        # A worker lets one machine in after the other, and the one before may be about to go.
        return channel, rpc_channel.introduce(channel, key, purpose, deadline + rpc_channel.PATIENCE)
    except HandshakeError as error:
        sock.close()
        raise InputError(f"The worker {endpoint} {error}.") from error
    except OSError as error:
        sock.close()
        why = "it says nothing" if isinstance(error, TimeoutError) else "it speaks another language"
        raise InputError(
            f"What answers at {endpoint} is no worker of a bundle ({why}): give --rpc the address that --rpc-worker "
            "printed."
        ) from error


def _check(endpoint: Endpoint, facts: Facts, commit: str) -> None:
    if facts.commit != commit:
        raise InputError(
            f"The worker {endpoint} runs llama.cpp {facts.commit[:7]} (solofile {facts.solofile}) and this bundle "
            f"{commit[:7]}: start the same bundle on both machines."
        )
