"""From what a start has decided to its sandbox: what it needs is named, and who does what it cannot do is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import sandbox_needs, settings

if TYPE_CHECKING:
    import socket
    from typing import NamedTuple

    from solofile.runtime.container import Bundle
    from solofile.runtime.sandbox import Sandbox
    from solofile.runtime.sandbox_needs import Needs
    from solofile.runtime.selection import Place, Selection
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple


class Front(NamedTuple):
    """What of a start is open to others: the sockets that listen, its pages' addresses, its Unix sockets' paths."""

    listening: tuple[socket.socket, ...] = ()
    pages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def confine(launch: Launch, selected: Selection, environ: Mapping[str, str], front: Front) -> Sandbox | None:
    """Enter the sandbox; None where the user does without. Call it while there is one thread."""
    if not launch.sandbox:
        return None
    from solofile.runtime import sandbox

    ground = selected.ground
    needs = needs_of(launch, ground.place, gpu=bool(selected.choice.path.backend))
    if hasattr(os, "fork"):
        from solofile.runtime import errand_runner, errands

        scope = errand_runner.Scope(ground.place.cache, environ, ground, front.pages, front.paths, launch.server)
        errands.use(errand_runner.fork(scope, front.listening))
    return sandbox.enter(needs)


def confine_worker(launch: Launch, selected: Selection) -> Sandbox | None:
    """The same for what computes for other machines, which asks nothing of a process outside."""
    if not launch.sandbox:
        return None
    from solofile.runtime import sandbox

    return sandbox.enter(needs_of(launch, selected.ground.place, gpu=bool(selected.choice.path.backend)))


def needs_of(launch: Launch, place: Place, *, gpu: bool) -> Needs:
    """What this start needs."""
    copies, works = launch.local_copy is True, launch.rpc_worker is not None
    where = place_of(place.bundle, place.cache, place.native)
    ports = tuple(sorted({one.port for one in launch.rpc.workers})) if launch.rpc is not None else ()
    return sandbox_needs.of_start(
        where, settings.given(launch), launch.server, gpu=gpu, copies=copies, works=works, ports=ports
    )


def place_of(bundle: Bundle, cache: Path, native: Path) -> sandbox_needs.Place:
    """Where the bundle's things are. Its model may lie beside it."""
    files = {str(bundle.path), *(str(bundle.place(one.path)[0]) for one in bundle.manifest.beside)}
    return sandbox_needs.Place(tuple(sorted(files)), program_folders(native), str(cache))


def program_folders(native: Path) -> tuple[str, ...]:
    """Where this program's code is; in a source tree that is wherever Python looks for it."""
    if getattr(sys, "frozen", False):
        return (str(Path(sys.executable).parent),)
    from solofile import runtime, webui

    folders = (*sys.path, sys.prefix, sys.base_prefix, *runtime.__path__, *webui.__path__, str(native))
    return tuple(dict.fromkeys(folder for folder in folders if folder))
