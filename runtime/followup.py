"""What goes on beside a model that loads and answers: reading it, keeping what was measured, watching a GPU."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import choose_work, selection
from solofile.runtime.settings import BENCH, PROMPT, SERVING

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.engine import LlamaEngine
    from solofile.runtime.media import Medium
    from solofile.runtime.read_plan import ReadPlan
    from solofile.runtime.selection import Ground, Say, Selection
    from solofile.runtime.settings import Launch
    from solofile.runtime.stored_prompts import Plan
    from solofile.runtime.watchdog import Guard
else:
    from solofile.runtime.record import NamedTuple

_LOOK = 0.2


class Reading(NamedTuple):
    """The model is read first: how long that takes, from where, and how many of its bytes are not in memory yet."""

    plan: ReadPlan
    medium: Medium
    missing: int | None


def plan_reading(ground: Ground, libraries: Sequence[Path], say: Say) -> Reading | None:
    """Whether to read the model in order before it is loaded, said where it takes long; None where it is not read."""
    from solofile.runtime import engine, read_plan

    member = ground.member
    there = engine.resident(engine.prepare(ground.place.native, libraries, [member]), member.name)
    missing = None if there is None else member.size - there
    if missing is not None and read_plan.is_in_memory(member.size, missing):
        return None  # as at most starts, which need not look for the medium
    from solofile.runtime import media

    medium = media.find(str(member.file))
    speed = read_plan.known_speed(ground.document, medium)
    plan = read_plan.plan(medium, member.size, missing, ground.machine.memory, speed)
    if plan.sentence:
        say(plan.sentence)
    return Reading(plan, medium, missing) if plan.read_first else None


def guard(launch: Launch, selected: Selection, say: Say) -> Guard | None:
    """Watch the GPU of the chosen path from now on, before one of its libraries loads; None where there is none."""
    ground, path = selected.ground, selected.choice.path
    if not path.backend:
        return None
    from solofile.runtime import watchdog

    return watchdog.start(path, launch.gpu_timeout, ground.book, ground.launcher, say)


def calibration(launch: Launch, selected: Selection) -> str:
    """What the engine is to measure when it has loaded, as JSON; empty for nothing.

    One answer or a benchmark does not wait for it, unless it is asked for.
    """
    if launch.calibrate is False or (launch.mode in (PROMPT, BENCH) and not launch.calibrate):
        return ""
    ground = selected.ground
    if selected.choice.path.workers:
        return ""  # what it measured would be about other machines, too
    spec = choose_work.calibration(ground.machine, selected.choice.path, ground.wishes, ground.known)
    return json.dumps(spec) if spec else ""


def stored_prompts(launch: Launch, selected: Selection, say: Say) -> Plan | None:
    """The stored prompts that this start uses, and a word on them; None where it uses none."""
    bundle = selected.ground.place.bundle
    if not bundle.manifest.prompts:
        return None
    from solofile.runtime import prompt_restore

    found = prompt_restore.plan(launch, bundle, selected.choice)
    if launch.mode in SERVING or launch.log_level:
        for sentence in prompt_restore.sentences(found):
            say(sentence)
    return found if found.used else None


def restore(prompts: Plan, selected: Selection, engine: LlamaEngine, say: Say) -> None:
    """Have them ready when the model is."""
    from solofile.runtime import prompt_restore

    place = selected.ground.place
    prompt_restore.begin(prompts, place.bundle, place.cache, engine, say)


def begin(
    launch: Launch, selected: Selection, engine: LlamaEngine, reading: Reading | None, say: Say, *, calibrates: bool
) -> None:
    """Start the threads that this start needs; ``calibrates``: the engine was asked to measure."""
    ground = selected.ground
    if reading is not None:
        _follow_reading(ground, engine, reading, say)
    if launch.mode in (PROMPT, BENCH) and not launch.calibrate:
        return
    _in_background("solofile-calibration", lambda: _keep(launch, selected, engine, say, calibrates))


def _follow_reading(ground: Ground, engine: LlamaEngine, reading: Reading, say: Say) -> None:
    from solofile.runtime import read_plan
    from solofile.runtime.reading import Progress, follow_in_background, terminal

    progress = Progress(
        "Reading", ground.member.size, missing=reading.missing, expected=reading.plan.expected, say=say,
        terminal=terminal(),
    )  # fmt: skip
    follow_in_background(
        engine.reading,
        lambda: engine.state().phase == "loading",
        progress,
        lambda speed: selection.keep(ground, read_plan.news(reading.medium, speed), say),
    )


def _keep(launch: Launch, selected: Selection, engine: LlamaEngine, say: Say, calibrates: bool) -> None:
    """Wait for what the engine measures, keep it, and measure other things while nobody asks anything."""
    from solofile.runtime import findings, other_load

    ground, path = selected.ground, selected.choice.path
    watch = other_load.Watch()
    news = findings.of_use(ground.document, ground.model_key, ground.machine)
    pause = threading.Event()
    while engine.state().phase == "loading":
        pause.wait(_LOOK)
    if calibrates:
        while (found := engine.calibration()) is None and engine.state().phase == "ready":
            pause.wait(_LOOK)
        measured = findings.of_calibration(found or {"interrupted": True}, ground.model_key, path, watch.share())
        news = {**news, **measured}
    selection.keep(ground, news, say)
    if launch.calibrate is not False and engine.state().phase == "ready":
        _measure_while_idle(selected, engine, say)


def _measure_while_idle(selected: Selection, engine: LlamaEngine, say: Say) -> None:
    from solofile.runtime import findings, idle, probe_plan

    ground = selected.ground
    machine, model, path = ground.machine, ground.model, selected.choice.path
    probes = probe_plan.idle(machine, model, ground.offer, ground.wishes, ground.known, path)
    if probes:
        idle.start(
            engine,
            probes,
            lambda probe, cancelled: selection.try_outside(ground, probe, say, cancelled),
            lambda found: selection.keep(ground, findings.of_probes(found, ground.model_key), say),
        )


def _in_background(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()
