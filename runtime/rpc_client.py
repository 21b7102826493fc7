"""The workers that ``--rpc`` names, as the machine with the model sees them: found, checked, connected to, lost."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import rpc_channel, rpc_native, rpc_pulse
from solofile.runtime.errors import InputError
from solofile.runtime.rpc_handshake import COMPUTE, LOOK, PULSE, Facts, HandshakeError, key_of
from solofile.runtime.rpc_splice import splice

if TYPE_CHECKING:
    from solofile.runtime.rpc_channel import Channel
    from solofile.runtime.rpc_settings import Endpoint

CONNECTING = 5.0
"""Seconds until somebody answers at all."""

_PAUSE = 0.5

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
        self._held: list[socket.socket] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """The workers as llama.cpp is told of them, in their order."""
        return tuple(self._labels)

    @property
    def devices(self) -> tuple[str, ...]:
        """Their devices, as llama.cpp names them."""
        return tuple(f"RPC{number}" for number in range(sum(len(one.devices) for one in self.facts.values())))

    def report(self) -> list[dict[str, Any]]:
        """The workers as plain data, for --doctor."""
        return [
            {
                "address": str(one), "solofile": facts.solofile, "llama_cpp": facts.commit,
                "devices": [device._asdict() for device in facts.devices],
            }
            for one, facts in self.facts.items()
        ]  # fmt: skip

    def connect(self, host: str, port: int) -> int:
        """A socket for llama.cpp to the worker that it knows by this name; `NO_SOCKET` where it cannot be had."""
        endpoint = self._labels[f"{host}:{port}"]
        try:
            channel, facts = call(endpoint, self._key, COMPUTE, self._context)
        except InputError as error:
            self._lose(endpoint, str(error))
            return rpc_native.NO_SOCKET
        if facts.busy:
            channel.close()
            self._lose(endpoint, _busy(endpoint))
            return rpc_native.NO_SOCKET
        try:
            pulse, _ = call(endpoint, self._key, PULSE, self._context)
        except InputError as error:
            channel.close()
            self._lose(endpoint, str(error))
            return rpc_native.NO_SOCKET
        theirs, ours = socket.socketpair()
        ended = threading.Event()
        _start(self._pass_on, endpoint, ours, channel.socket, ended)
        _start(self._watch, endpoint, pulse, ended)
        return theirs.detach()

    def when_lost(self, tell: Lost) -> None:
        """Have ``tell`` called, from any thread, when a worker goes away; at once where one has."""
        with self._lock:
            self._told = tell
            lost = self._lost
        if lost is not None:
            tell(*lost)

    def _watch(self, endpoint: Endpoint, pulse: Channel, ended: threading.Event) -> None:
        how = rpc_pulse.watch(pulse, ended)
        if how:
            self._lose(endpoint, f"The worker {endpoint} {how}.")

    def _pass_on(
        self, endpoint: Endpoint, local: socket.socket, remote: ssl.SSLSocket, ended: threading.Event
    ) -> None:  # fmt: skip
        with remote:
            ended_here = splice(local, remote)
        if ended_here:
            ended.set()
            local.close()
            return
        # Stays open: llama.cpp would abort the process when it found it closed, and so it waits.
        self._held.append(local)
        self._lose(endpoint, f"The worker {endpoint} is gone.")

    def _lose(self, endpoint: Endpoint, how: str) -> None:
        with self._lock:
            if self._lost is not None:
                return
            self._lost = (endpoint, how)
            tell = self._told
        if tell is not None:
            tell(endpoint, how)


def _start(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, name="solofile-rpc", daemon=True).start()


def find(endpoints: tuple[Endpoint, ...], secret: str, commit: str) -> Workers:
    """Ask each of the workers who it is. Raises InputError where one is not there, not to be trusted, or another."""
    key, context = key_of(secret), rpc_channel.context()
    facts = {}
    for one in endpoints:
        facts[one] = _asked(one, key, context)
        _check(one, facts[one], commit)
    return Workers(facts, key, context)


def _asked(endpoint: Endpoint, key: bytes, context: ssl.SSLContext) -> Facts:
    """What a worker says of itself; one that is busy may be with somebody who is about to go."""
    end = time.monotonic() + rpc_channel.PATIENCE
    while True:
        channel, facts = call(endpoint, key, LOOK, context)
        channel.close()
        if not facts.busy or time.monotonic() > end:
            return facts
        time.sleep(_PAUSE)


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
        with contextlib.ExitStack() as stack:
            deadline = time.monotonic() + rpc_channel.PATIENCE
            channel = rpc_channel.secured(sock, context, server=False, deadline=deadline)
            stack.callback(channel.close)
            # A worker lets one machine in after the other, and the one before may be about to go.
            facts = rpc_channel.introduce(channel, key, purpose, deadline + rpc_channel.PATIENCE)
            stack.pop_all()
        return channel, facts
    except HandshakeError as error:
        raise InputError(f"The worker {endpoint} {error}.") from error
    except OSError as error:
        why = "it says nothing" if isinstance(error, TimeoutError) else "it speaks another language"
        raise InputError(
            f"What answers at {endpoint} is no worker of a bundle ({why}): give --rpc the address that --rpc-worker "
            "printed."
        ) from error


def _busy(endpoint: Endpoint) -> str:
    return f"The worker {endpoint} computes for another machine: wait for that, or leave it out."


def _check(endpoint: Endpoint, facts: Facts, commit: str) -> None:
    if facts.busy:
        raise InputError(_busy(endpoint))
    if facts.commit != commit:
        raise InputError(
            f"The worker {endpoint} runs llama.cpp {facts.commit[:7]} (solofile {facts.solofile}) and this bundle "
            f"{commit[:7]}: start the same bundle on both machines."
        )
