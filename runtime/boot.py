"""From a bundle and a decision what to do, to an engine that loads: the way that every start goes, kept short.

The launcher tells where things are: ``SOLOFILE_BUNDLE`` the bundle, ``SOLOFILE_CACHE_DIR`` the cache. On the second
start after a crash it sets ``SOLOFILE_CRASH``. Run from a source tree, ``SOLOFILE_NATIVE_DIR`` names the native
libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import choice, selection, settings
from solofile.runtime.cache import MODELS
from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.container import Bundle
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import Choice
    from solofile.runtime.localcopy import Copy
    from solofile.runtime.locks import Lock
    from solofile.runtime.memory import Estimate, Fit, Measure, Room
    from solofile.runtime.selection import Ground, Say, Selection
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple


class Started(NamedTuple):
    """An engine that loads, and how it was chosen.

    ``locks`` keep what it runs from in the cache from being removed, ``in_use`` names these folders.
    ``hardware`` is this machine in one line.
    """

    engine: Engine
    choice: Choice
    locks: tuple[Lock, ...] = ()
    in_use: frozenset[str] = frozenset()
    hardware: str = ""

    @property
    def sentence(self) -> str:
        """What computes, and why."""
        return self.choice.sentence


Starter = Callable[["Launch", "Bundle", Mapping[str, str], "Say"], Started]


def bundle_path(environ: Mapping[str, str]) -> Path:
    """Where the bundle is. Raises InputError when no launcher says so."""
    if not environ.get("SOLOFILE_BUNDLE"):
        raise InputError("This is a part of a bundle and not meant to be started by itself: start the bundle.")
    return Path(environ["SOLOFILE_BUNDLE"])


def start(launch: Launch, bundle: Bundle, environ: Mapping[str, str], say: Say) -> Started:
    """Choose and unpack the kernels and start loading the model; returns while it loads."""
    from solofile.runtime import followup
    from solofile.runtime.engine import LlamaEngine, Member
    from solofile.runtime.hardware import describe

    place = selection.find_place(bundle, environ)
    selected = selection.select(selection.survey(launch, place, environ), say)
    ground, path = selected.ground, selected.choice.path
    copy = local_copy(launch, ground, say)
    if copy is not None:
        ground = ground._replace(member=Member(ground.member.name, copy.path, 0, ground.member.size))
        selected = selected._replace(ground=ground)
    os.environ.update(path.environment)  # before a library reads it
    found = selection.libraries(selected, say)
    libraries = [library for library, _ in found]
    measure = estimator(launch, selected, libraries)
    fitted = fit(launch, ground, measure)
    if fitted is not None and fitted.note:
        say(fitted.note)
    reading = followup.plan_reading(ground, libraries, say)
    calibrate = followup.calibration(launch, selected)
    engine = LlamaEngine.start(
        place.native, libraries, arguments(launch, selected, fitted), [ground.member], launch.log_level,
        read_first=[ground.member.name] if reading is not None else (), calibrate=calibrate,
    )  # fmt: skip
    followup.begin(launch, selected, engine, reading, say, calibrates=bool(calibrate))
    pack = bundle.manifest.targets[ground.machine.target].pack
    in_use = frozenset({pack, bundle.part(launch.model).sha256, *(library.parent.name for library in libraries)})
    locks = [*(lock for _, lock in found), copy.lock if copy is not None else None]
    held = tuple(lock for lock in locks if lock is not None)
    return Started(engine, selected.choice, held, in_use, describe(ground.machine))


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


def arguments(launch: Launch, selected: Selection, fitted: Fit | None) -> tuple[str, ...]:
    """What llama.cpp's core is started with."""
    ground, path = selected.ground, selected.choice.path
    if fitted is not None and fitted.context is not None:
        path = path._replace(context=fitted.context)
    chosen = choice.arguments(path, ground.wishes)
    manifest = ground.place.bundle.manifest
    own = settings.core_arguments(launch, manifest, path, ground.machine.memory)
    users = settings.core_without(launch, choice.overruled(path, ground.wishes))
    return ("--model", launch.model, *chosen, *own, *users)


def estimator(launch: Launch, selected: Selection, libraries: Sequence[Path]) -> Measure:
    """What the model would take of the memory with a context of so many tokens, 0 for as many as a start would take.

    The core lays it out without loading it, which takes a tenth of a second and more.
    """
    ground = selected.ground
    words = (*arguments(launch, selected, None), "--fit", "off")

    def measure(tokens: int) -> Estimate:
        from solofile.runtime import engine, memory

        library = engine.prepare(ground.place.native, libraries, [ground.member], launch.log_level)
        more = ("-c", str(tokens)) if tokens else ()
        return memory.read_estimate(engine.estimate(library, [*words, *more]))

    return measure


def room(machine: Hardware) -> Room:
    """The memory that a model may take here."""
    from solofile.runtime import memory

    limit = machine.memory_limit
    real = limit is not None and limit < (machine.memory_total or limit + 1)
    return memory.Room(machine.memory, limit if real else None)


def fit(launch: Launch, ground: Ground, measure: Measure) -> Fit | None:
    """How the model fits into this machine's memory; None where it does for sure, which costs nothing to find out.

    Raises InputError where it does not.
    """
    context = ground.wishes.context or 0
    if settings.fits_easily(ground.model, context, ground.machine.memory):
        return None
    from solofile.runtime import memory, memory_text

    given = {one.option.key: one for one in settings.given(launch)}
    separate = "-np" in given and "-kvu" not in given
    return memory.fit(
        measure,
        room(ground.machine),
        memory.Subject(ground.model.name, ground.model.quantization, ground.model.parameters),
        asked=context,
        slots=int(given["-np"].values[0]) if separate else 1,
        force="-fit" in given and given["-fit"].values[0] == "off",
        other=memory_text.largest_program,
    ).accepted()
