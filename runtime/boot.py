"""From a bundle and a decision what to do, to an engine that loads: the way that every start goes, kept short.

The launcher tells where things are: ``SOLOFILE_BUNDLE`` the bundle, ``SOLOFILE_CACHE_DIR`` the cache. On the second
start after a crash it sets ``SOLOFILE_CRASH``. Run from a source tree, ``SOLOFILE_NATIVE_DIR`` names the native
libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import confining, core_words, fitting, projector, selection
from solofile.runtime.cache import MODELS
from solofile.runtime.confining import Front
from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.container import Bundle
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.kernel_path import Choice
    from solofile.runtime.localcopy import Copy
    from solofile.runtime.locks import Lock
    from solofile.runtime.sandbox import Sandbox
    from solofile.runtime.selection import Ground, Libraries, Place, Say, Selection
    from solofile.runtime.settings import Launch
    from solofile.runtime.sharing import Team
    from solofile.runtime.watchdog import Guard
else:
    from solofile.runtime.record import NamedTuple

RESUME = "SOLOFILE_RESUME"
"""What is handed over to a process that replaces itself (handover.py), as JSON. It names the process, so that nobody
who starts one can make it up."""


class Started(NamedTuple):
    """An engine that loads, and how it was chosen.

    ``locks`` keep what it runs from in the cache from being removed, ``in_use`` names these folders.
    ``hardware`` is this machine in one line, ``team`` are other machines that compute a part of the model.
    ``sandbox`` is to be sealed when the model is loaded; None without one.
    """

    engine: Engine
    choice: Choice
    locks: tuple[Lock, ...] = ()
    in_use: frozenset[str] = frozenset()
    hardware: str = ""
    team: Team | None = None
    sandbox: Sandbox | None = None

    @property
    def sentence(self) -> str:
        """What computes, and why."""
        return self.choice.sentence

    def seal(self) -> list[str]:
        """The model is loaded: complete the sandbox. Returns what this system does not give of it."""
        if self.sandbox is None:
            return []
        self.sandbox.seal()
        return self.sandbox.lacks


class Decided(NamedTuple):
    """What computes, the libraries for it, who watches the GPU among it, if there is one, the other machines, and from
    within what."""

    selection: Selection
    libraries: Libraries
    guard: Guard | None
    team: Team | None = None
    sandbox: Sandbox | None = None


Starter = Callable[["Launch", "Bundle", Mapping[str, str], "Say", Front], Started]


def bundle_path(environ: Mapping[str, str]) -> Path:
    """Where the bundle is. Raises InputError when no launcher says so."""
    if not environ.get("SOLOFILE_BUNDLE"):
        raise InputError("This is a part of a bundle and not meant to be started by itself: start the bundle.")
    return Path(environ["SOLOFILE_BUNDLE"])


def start(launch: Launch, bundle: Bundle, environ: Mapping[str, str], say: Say, front: Front) -> Started:
    """Choose and unpack the kernels and start loading the model; returns while it loads.

    The sandbox begins on the way, so whatever needs more than it gives has to be done before: ``front`` is what was.
    """
    from solofile.runtime import followup
    from solofile.runtime.engine import LlamaEngine, Member
    from solofile.runtime.hardware import describe

    place = selection.find_place(bundle, environ)
    launch, digest, lock = projector.placed(launch, place, say)
    selected, found, guard, team, sandbox = decide(launch, place, environ, say, front)
    ground, libraries = selected.ground, [library for library, _ in found]
    copy = local_copy(launch, ground, say)
    if copy is not None:
        ground = ground._replace(member=Member(ground.member.name, copy.path, 0, ground.member.size))
        selected = selected._replace(ground=ground)
    reading = followup.plan_reading(ground, libraries, say)
    calibrate = followup.calibration(launch, selected)
    prompts = followup.stored_prompts(launch, selected, say)
    engine = LlamaEngine.start(
        place.native, libraries, core_words.arguments(launch, selected), [ground.member, *ground.companions],
        launch.log_level, read_first=[ground.member.name] if reading is not None else (), calibrate=calibrate,
        stored_prompts=prompts is not None,
    )  # fmt: skip
    if guard is not None:
        guard.engine = engine
    if prompts is not None:
        followup.restore(prompts, selected, engine, say)
    followup.begin(launch, selected, engine, reading, say, calibrates=bool(calibrate))
    pack = bundle.manifest.targets[ground.machine.target].pack
    digests = {pack, digest, bundle.part(launch.model).sha256}
    in_use = frozenset({*digests, *(library.parent.name for library in libraries)})
    locks = [lock, *(lock for _, lock in found), copy.lock if copy is not None else None, team.lock if team else None]
    held = tuple(lock for lock in locks if lock is not None)
    return Started(engine, selected.choice, held, in_use, describe(ground.machine), team, sandbox)


def decide(launch: Launch, place: Place, environ: Mapping[str, str], say: Say, front: Front | None = None) -> Decided:
    """Choose the kernel path and what fits into the memory; with a ``front`` the sandbox begins as soon as it can.

    Raises InputError for a forced part that cannot work, for a model that must not be loaded, and for a worker that is
    not there or not to be trusted.
    """
    workers = None
    if launch.rpc is not None:
        from solofile.runtime import sharing

        workers, environ = sharing.gather(launch.rpc, place, environ, say)
    selected = selection.select(selection.survey(launch, place, environ), say)
    found = selection.libraries(selected, say)
    libraries = [library for library, _ in found]
    rpc = None if workers is None else sharing.backend(selected, say)
    sandbox = None if front is None else confining.confine(launch, selected, environ, front)
    guard = guarded(launch, selected, say)
    if workers is None or rpc is None:
        return Decided(fitting.fitted(launch, selected, libraries, say).accepted(), found, guard, None, sandbox)
    selected, team = sharing.share(launch, selected, workers, libraries, rpc)
    return Decided(sharing.fitted(launch, selected, team, libraries, say).accepted(), found, guard, team, sandbox)


def guarded(launch: Launch, selected: Selection, say: Say) -> Guard | None:
    """Set what the libraries of the path read of the environment, and watch its GPU from before they load."""
    from solofile.runtime import followup

    os.environ.update(selected.choice.path.environment)
    return followup.guard(launch, selected, say)


def local_copy(launch: Launch, ground: Ground, say: Say) -> Copy | None:
    """The copy of the model in the cache: made where --local-copy asks for it, used where an earlier start made it."""
    folder = ground.place.cache
    if launch.local_copy is False or not (launch.local_copy or (folder / MODELS).is_dir()):
        return None
    from solofile.runtime import localcopy, reading

    member, part = ground.member, ground.place.bundle.part(launch.model)
    source = localcopy.Source(str(member.file), member.offset, member.size, part.path, part.sha256)
    if not launch.local_copy:
        return localcopy.find(folder, source)
    progress = reading.Progress("Copying", member.size, say=say, terminal=reading.terminal())
    try:
        return localcopy.make(folder, source, say, progress)
    finally:
        progress.end()
