"""From a choice by rules to one that fits into the memory: the step between choosing and loading, of every start.

Where a model is small beside the memory nothing is looked up. Else llama.cpp lays it out without loading it, or an
earlier start has (estimates.py), and what follows from that becomes a part of the choice: the context, the prompt
cache, or that the model must not be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import core_words, settings
from solofile.runtime.cache import MODELS

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.hardware import Hardware
    from solofile.runtime.memory import Estimate, Fit, Measure, Room
    from solofile.runtime.options import Given
    from solofile.runtime.selection import Ground, Say, Selection
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple


class Fitted(NamedTuple):
    """The choice with what memory decides in it, and how the model fits: None where it does for sure."""

    selection: Selection
    fit: Fit | None = None

    def accepted(self) -> Selection:
        """The choice. Raises InputError where the model must not be loaded."""
        if self.fit is not None:
            self.fit.accepted()
        return self.selection


def fitted(launch: Launch, selected: Selection, libraries: Sequence[Path], say: Say) -> Fitted:
    """Decide what depends on the memory; ``libraries`` are those of the chosen path."""
    ground = selected.ground
    asked = ground.wishes.context or 0
    if settings.fits_easily(ground.model, asked, ground.machine.memory):
        return Fitted(selected)
    from solofile.runtime import choose_memory, memory

    there = room(ground.machine)
    shared = shared_gpus(selected)
    known = remembered(launch, selected) if launch.calibrate is not True else None
    if known is not None and memory.fits_clearly(known, there, shared):
        found = memory.Fit(known)
    else:
        found = _measured(launch, selected, libraries, there, say)
    choice = choose_memory.fitted(selected.choice, ground.machine, ground.model, ground.wishes, found, there, shared)
    return Fitted(selected._replace(choice=choice), found)


def _measured(launch: Launch, selected: Selection, libraries: Sequence[Path], there: Room, say: Say) -> Fit:
    """Have the model laid out, with a shorter context where need be, and remember the first layout."""
    from solofile.runtime import estimates, memory, memory_text, selection

    ground = selected.ground
    given = {one.option.key: one for one in settings.given(launch)}
    measure = estimator(launch, selected, libraries)
    first: list[Estimate] = []

    def noted(tokens: int) -> Estimate:
        found = measure(tokens)
        first.append(found)
        return found

    fit = memory.fit(
        noted,
        there,
        memory.Subject(ground.model.name, ground.model.quantization, ground.model.parameters),
        asked=ground.wishes.context or 0,
        slots=_slots(given),
        force="-fit" in given and given["-fit"].values[0] == "off",
        shared=shared_gpus(selected),
        other=memory_text.largest_program,
    )
    key = _key(launch, selected)
    if key is not None and not fit.refusal:
        selection.keep(ground, estimates.news(ground.model_key, key, first[0]), say)
    return fit


def _slots(given: dict[str, Given]) -> int:
    """How many slots have a context of their own; llama.cpp lets them share one unless their number is given."""
    shares = "-kvu" in given and not given["-kvu"].negated
    return max(1, int(given["-np"].values[0])) if "-np" in given and not shares else 1


def shared_gpus(selected: Selection) -> frozenset[str]:
    """The GPUs in use that have no memory of their own."""
    backend = selected.choice.path.backend
    if not backend:
        return frozenset()
    from solofile.runtime.gpu_devices import without_memory

    return without_memory(backend, selected.ground.known)


def remembered(launch: Launch, selected: Selection) -> Estimate | None:
    """What an earlier start was told this very start would take; None where none was."""
    from solofile.runtime import estimates

    key = _key(launch, selected)
    return None if key is None else estimates.find(selected.ground.document, selected.ground.model_key, key)


def _key(launch: Launch, selected: Selection) -> str | None:
    """The fingerprint of all that the estimate depends on; None where that is more than anyone can tell beforehand.

    How many layers llama.cpp gives to a GPU depends on the GPU's free memory.
    """
    from solofile.runtime import estimates

    ground, path = selected.ground, selected.choice.path
    bundle = ground.place.bundle
    manifest = bundle.manifest
    digests = {path: part.sha256 for path, part in bundle.parts.items()}
    models = str(ground.place.cache / MODELS)

    def digest(name: str) -> str | None:
        folder, _, path = name.rpartition("/")[0].rpartition("/")
        return path if folder == models else digests.get(name)  # what the cache holds is named by its digest

    words = core_words.of_layout(_words(launch, selected), digest)
    if words is None or path.workers or (path.backend and path.gpu_layers == "auto"):
        return None
    return estimates.fingerprint(manifest.targets[ground.machine.target].pack, path, words)


def _words(launch: Launch, selected: Selection) -> tuple[str, ...]:
    """What the core is asked about: the start itself, without a first load to see whether it fits.

    But where llama.cpp shares the layers out, that is what tells how many the GPU gets.
    """
    path = selected.choice.path
    fits_itself = path.backend and path.gpu_layers == "auto"
    return (*core_words.arguments(launch, selected), *(() if fits_itself else ("--fit", "off")))


def estimator(launch: Launch, selected: Selection, libraries: Sequence[Path]) -> Measure:
    """What the model would take of the memory with a context of so many tokens, 0 for as many as a start would take."""
    ground: Ground = selected.ground
    words = _words(launch, selected)

    def measure(tokens: int) -> Estimate:
        from solofile.runtime import engine, memory

        members = [ground.member, *ground.companions]
        library = engine.prepare(ground.place.native, libraries, members, launch.log_level)
        more = ("-c", str(tokens)) if tokens else ()
        return memory.read_estimate(engine.estimate(library, [*words, *more]))

    return measure


def room(machine: Hardware) -> Room:
    """The memory that a model may take here."""
    from solofile.runtime import memory

    limit = machine.memory_limit
    real = limit is not None and limit < (machine.memory_total or limit + 1)
    return memory.Room(machine.memory, limit if real else None)
