"""What computes in this start: what is known of machine, bundle and earlier starts, what must be tried, the choice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime import bridge, cache, choice, findings, hardware, native_probe, options, probe_plan, remembered
from solofile.runtime.companions import companions
from solofile.runtime.engine import Member
from solofile.runtime.errors import InputError
from solofile.runtime.kernel_path import Choice, Known, Offer, Outcome, Wishes
from solofile.runtime.library_names import library_file

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.container import Bundle
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.locks import Lock
    from solofile.runtime.manifest import Model
    from solofile.runtime.probe_plan import Probe
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple

Say = Callable[[str], None]
Libraries = list[tuple[Path, "Lock | None"]]


class Place(NamedTuple):
    """Where things are: the bundle, the cache that the launcher found usable, the folder of the native libraries."""

    bundle: Bundle
    cache: Path
    native: Path


class Ground(NamedTuple):
    """What a choice stands on.

    ``book`` is the file of remembered.py and ``document`` what it holds, ``model_key`` this model's name in it;
    ``launcher`` is the process that starts us, ``sentence`` what is to be said of the book.
    """

    place: Place
    machine: Hardware
    model: Model
    member: Member
    offer: Offer
    wishes: Wishes
    known: Known
    book: Path
    document: Mapping[str, Any]
    model_key: str
    launcher: str
    sentence: str = ""
    companions: tuple[Member, ...] = ()
    """What else of the bundle the core opens by name."""
    confined: bool = True
    """Are processes that measure confined?"""


class Selection(NamedTuple):
    """What computes, and the ground on which it was chosen."""

    ground: Ground
    choice: Choice


def find_place(bundle: Bundle, environ: Mapping[str, str]) -> Place:
    """Where things are. Raises InputError when no launcher says so."""
    return Place(bundle, cache_folder(environ), native_folder(environ))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The cache that the launcher found usable. Raises InputError when no launcher says so."""
    if not environ.get("SOLOFILE_CACHE_DIR"):
        raise InputError("SOLOFILE_CACHE_DIR is not set: start the bundle, whose launcher sets it.")
    return Path(environ["SOLOFILE_CACHE_DIR"])


def native_folder(environ: Mapping[str, str]) -> Path:
    """Where libllama.so and its like are: beside the frozen program; the environment counts in a source tree alone."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).parent / "native"
    if not environ.get("SOLOFILE_NATIVE_DIR"):
        raise InputError("SOLOFILE_NATIVE_DIR is not set: name the folder of the native libraries with it.")
    return Path(environ["SOLOFILE_NATIVE_DIR"])


def offered(bundle: Bundle, target: str) -> Offer:
    """What the bundle holds for this system. Raises InputError when it is for others only."""
    if target not in bundle.manifest.targets:
        there = ", ".join(bundle.manifest.targets)
        raise InputError(f"{bundle.path} is for {there} and not for {target}: get the one for this system.")
    found = bundle.manifest.targets[target]
    return Offer(found.kernels, tuple(found.gpus), {name: gpu.needs for name, gpu in found.gpus.items()})


def survey(launch: Launch, place: Place, environ: Mapping[str, str]) -> Ground:
    """Look at the machine, the bundle and what earlier starts left. Raises InputError for a bundle of other systems."""
    library = bridge.load(place.native)
    machine = hardware.detect(cpu=lambda: native_probe.cpu(library))
    bundle, manifest = place.bundle, place.bundle.manifest
    part, given = bundle.part(launch.model), options.parse(launch.core)
    offer = offered(bundle, machine.target)
    if manifest.prompts:
        from solofile.runtime import stored_prompts

        now = stored_prompts.Situation(part.path, part.sha256, manifest.llama_cpp.commit, given, launch.system_prompt)
        offer = offer._replace(flash=stored_prompts.wanted_flash(manifest, now))
    file, offset = bundle.place(part)
    book = remembered.file_path(place.cache, hardware.identity(machine), manifest.targets[machine.target].pack)
    document, sentence = remembered.read(book)
    launcher, key = environ.get("SOLOFILE_LAUNCHER_PID", ""), part.sha256[:16]
    known = remembered.known(
        document, key, crash=environ.get("SOLOFILE_CRASH") or None, launcher=launcher, anew=launch.calibrate is True
    )
    return Ground(
        place=place,
        machine=machine,
        model=next(model for model in manifest.models if model.path == launch.model),
        member=Member(part.path, file, offset, part.size),
        offer=offer,
        wishes=choice.wishes(launch.kernel, launch.gpu, given),
        known=by_rules(known) if launch.calibrate is False else known,
        book=book,
        document=document,
        model_key=key,
        launcher=launcher,
        sentence=sentence,
        companions=companions(bundle, launch.core),
        confined=launch.sandbox,
    )


def by_rules(known: Known) -> Known:
    """The same without the measurements that overrule rules (--no-calibrate)."""
    probes = {
        key: one if one.result is None else one._replace(result={**one.result, "quick": True})
        for key, one in known.probes.items()
    }
    return known._replace(calibration=None, probes=probes)


def select(ground: Ground, say: Say) -> Selection:
    """Try what must be tried, choose, and keep what was found out; says why a GPU or a kernel cannot be used.

    Raises UnknownName or InputError for a forced part that cannot work.
    """
    if ground.sentence:
        say(ground.sentence)
    machine, model, offer, wishes = ground.machine, ground.model, ground.offer, ground.wishes
    known, new = probe_plan.settle(
        machine, model, offer, wishes, ground.known, lambda probe: try_out(ground, probe, say), say
    )
    if new:
        keep(ground, findings.of_probes(new, ground.model_key), say)
    if known.crash and not known.ran:
        culprit = choice.blame(machine, model, offer, wishes, known)
        what = f"crashed ({known.crash})"
        keep(ground, findings.of_crash(culprit, what, ground.launcher, signal=known.crash), say)
    ground = ground._replace(known=known)
    return Selection(ground, choice.choose(machine, model, offer, wishes, known, _lockable(wishes)))


def _lockable(wishes: Wishes) -> int | None:
    if wishes.load_mode is None:
        return None
    from solofile.runtime.choose_memory import lockable

    return lockable()


def keep(ground: Ground, news: Mapping[str, Any], say: Say) -> None:
    """Put news into the book; that it cannot be kept is said."""
    sentence = remembered.add(ground.book, news) if news else ""
    if sentence:
        say(sentence)


def try_outside(ground: Ground, probe: Probe, say: Say, cancelled: Callable[[], bool]) -> Outcome:
    """The same from within the sandbox."""
    from solofile.runtime import errands
    from solofile.runtime.kernel_path import UNTRIED
    from solofile.runtime.probing import STOPPED

    errand = errands.running()
    if errand is None:
        return try_out(ground, probe, say, cancelled)
    try:
        answer = errand.run(errands.PROBE, {"probe": probe._asdict()}, cancelled=cancelled)
    except OSError as error:
        return Outcome(UNTRIED, str(error))
    if answer is None:
        return Outcome(STOPPED)
    for sentence in answer.get("told", ()):
        say(sentence)
    return Outcome(**answer["outcome"]) if "outcome" in answer else Outcome(UNTRIED, str(answer.get("failure", "")))


def try_out(ground: Ground, probe: Probe, say: Say, cancelled: Callable[[], bool] = lambda: False) -> Outcome:
    """Run one probe in a child process."""
    from solofile.runtime import probing

    found = _libraries(ground, probe.variant, probe.backend, say)
    try:
        libraries = [path for path, _ in found]
        job = probing.job(probe, ground.place.native, libraries, ground.member, confined=ground.confined)
        return probing.run(job, probe.timeout, cancelled=cancelled)
    finally:
        for _, lock in found:
            if lock is not None:
                lock.close()


def libraries(selected: Selection, say: Say) -> Libraries:
    """The libraries of the chosen path, the CPU's first, in the cache, each with its lock."""
    path = selected.choice.path
    return _libraries(selected.ground, path.variant, path.backend, say)


def _libraries(ground: Ground, variant: str, backend: str, say: Say) -> Libraries:
    names = [f"cpu-{variant}", *([backend] if backend else [])]
    return [library(ground.place, ground.machine.target, name, say) for name in names]


def library(place: Place, target: str, name: str, say: Say) -> tuple[Path, Lock | None]:
    """The library of a backend (``cpu-haswell``, ``vulkan``), in the cache, and its lock."""
    file = library_file(f"ggml-{name}", target)
    part = place.bundle.part(f"native/{target}/{file}")
    wanted = cache.Wanted(file, part.sha256, part.size)
    return cache.ensure_library(place.cache, wanted, lambda: place.bundle.open_part(part), say)
