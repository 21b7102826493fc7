"""The mode --rpc-worker, put together: what computes here, what it says of itself, and where it listens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import (
    bridge,
    confining,
    engine,
    fitting,
    hardware,
    rpc_cache,
    rpc_channel,
    rpc_native,
    rpc_settings,
    rpc_worker,
    selection,
    settings,
)
from solofile.runtime.boot import guarded
from solofile.runtime.errors import EngineError
from solofile.runtime.ports import Listener, bind_sockets
from solofile.runtime.rpc_handshake import Device, Facts, key_of

if TYPE_CHECKING:
    import ctypes

    from solofile.runtime.container import Bundle
    from solofile.runtime.kernel_path import KernelPath
    from solofile.runtime.sandbox import Sandbox
    from solofile.runtime.settings import Launch

Say = Callable[[str], None]


def run(launch: Launch, bundle: Bundle, environ: Mapping[str, str], show: Say, say: Say) -> None:
    """Compute for other machines until a signal ends it. Raises InputError and its kinds before that."""
    wanted = launch.rpc_worker
    if wanted is None:
        raise ValueError("no worker was asked for")
    secret = rpc_settings.secret(wanted.secret_file, environ)
    rpc_settings.check_hosts(wanted.hosts, secret, no_auth=wanted.no_auth)
    place = selection.find_place(bundle, environ)
    context = rpc_channel.context(place.cache / "state")
    listeners = bind_sockets(wanted.hosts, wanted.port, fixed=True)
    selected = selection.select(selection.survey(launch, place, environ), say)
    path = selected.choice.path
    libraries = selection.libraries(selected, say)
    library, lock = selection.library(place, selected.ground.machine.target, rpc_native.NAME, say)
    cache = rpc_cache.folder_of(place.cache)
    sandbox = confining.confine_worker(launch, selected)
    guard = guarded(launch, selected, say)
    core = engine.prepare(place.native, [*(one for one, _ in libraries), library], [], launch.log_level)
    if guard is not None:
        guard.dismiss()  # what it would watch is the batches of an engine
    say(selected.choice.sentence)
    commit = bundle.manifest.llama_cpp.commit
    numbers = [number for number, _ in _devices(core, path)]

    def facts() -> Facts:
        devices = tuple(_device(one) for _, one in _devices(core, path))
        return Facts(bundle.manifest.solofile, commit, devices)

    front = rpc_worker.Front(listeners, key_of(secret), context, facts, rpc_worker.room_maker(cache), say)
    rpc_worker.serve(front, rpc_native.Rpc(place.native, library), cache, path.threads, numbers)
    _complete(sandbox, say)
    _announce(listeners, bundle, show, say, secret=secret, no_auth=wanted.no_auth)
    try:
        rpc_worker.wait()
    finally:
        del lock, libraries  # held until here


def _complete(sandbox: Sandbox | None, say: Say) -> None:
    """All that computes is loaded: what comes from other machines starts no program, and is none."""
    if sandbox is None:
        say(settings.NO_SANDBOX)
        return
    sandbox.seal()
    if sandbox.lacks:
        say(settings.shortfall(sandbox.lacks))


def _announce(listeners: list[Listener], bundle: Bundle, show: Say, say: Say, *, secret: str, no_auth: bool) -> None:
    name = bundle.manifest.title or bundle.manifest.name
    for one in listeners:
        show(f"{name} computes for other machines at {rpc_settings.Endpoint(one.host, one.port)}")
    if no_auth:
        say("Whoever reaches this port may use this machine's memory and processors, as --no-auth says.")
    elif not secret:
        say("Only programs of this machine reach this port, and every one of them: --rpc-secret-file names a secret.")


def _devices(core: ctypes.CDLL, path: KernelPath) -> list[tuple[int, dict[str, Any]]]:
    """(number in llama.cpp's registry, facts) of what computes for others: the chosen GPUs, else the CPU."""
    every = list(enumerate(json.loads(bridge.whole_text(core.sf_devices))))
    names = path.device.split(",") if path.backend else []
    found = [(number, one) for number, one in every if one["name"] in names]
    found = found or [(number, one) for number, one in every if one["type"] == "cpu"]
    if not found:
        raise EngineError("llama.cpp finds nothing to compute with: --doctor shows what this machine has.")
    return found[: len(names) or 1]


def _device(one: Mapping[str, Any]) -> Device:
    """What is told of a device: of the CPU the memory that can be had now, which llama.cpp does not look at."""
    memory = one["memory_free"]
    if one["type"] == "cpu":
        usable = fitting.room(hardware.detect()).usable
        memory = one["memory_total"] if usable is None else usable
    return Device(one["name"], one["type"], memory)
