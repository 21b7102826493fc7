"""Measuring while nobody asks anything, for later starts: in child processes that go as soon as somebody does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from solofile.runtime import trying
from solofile.runtime.kernel_path import OK, Offer, Outcome
from solofile.runtime.probing import STOPPED

if TYPE_CHECKING:
    from solofile.runtime.engine_api import State
    from solofile.runtime.probe_plan import Probe

QUIET = 10.0
"""Seconds without work after which it counts as idle."""

ROUNDS = 2
_STEP = 0.5
_NOTHING = Offer(())

Run = Callable[["Probe", Callable[[], bool]], Outcome]
Keep = Callable[[dict[str, Outcome]], None]


class Engine(Protocol):
    """The engine, as far as this goes."""

    def state(self) -> State:
        """Where it stands."""

    def busy(self) -> float:
        """Seconds of the batch under way, 0 when there is none."""


def start(engine: Engine, probes: Sequence[Probe], run: Run, keep: Keep, *, quiet: float = QUIET) -> threading.Thread:
    """Wait on a thread until the engine has been idle for ``quiet`` seconds, then try one probe after the other.

    ``run`` tries a probe and gives it up when the function that it is given says so; it is tried again in the next
    pause. Each is tried in ``ROUNDS`` rounds, so that what disturbs one does not decide; ``keep`` gets what came of it.
    """
    waiting = list(probes) * ROUNDS
    found: dict[str, list[Outcome]] = {probe.key: [] for probe in probes}

    def work() -> None:
        pause, calm = threading.Event(), 0.0
        while waiting:
            pause.wait(min(_STEP, quiet))
            phase = engine.state().phase
            if phase in ("failed", "stopped"):
                return
            calm = calm + _STEP if phase == "ready" and not engine.busy() else 0.0
            if calm >= quiet:
                calm = calm if step(waiting[0]) else 0.0

    def step(probe: Probe) -> bool:
        """Try one; False where it was given up."""
        outcome = trying.attempt(probe, _NOTHING, lambda one: run(one, lambda: engine.busy() > 0), lambda _: None)
        if outcome.status == STOPPED:
            return False
        waiting.pop(0)
        found[probe.key].append(outcome)
        if len(found[probe.key]) == ROUNDS:
            keep({probe.key: best(found[probe.key])})
        return True

    thread = threading.Thread(target=work, name="solofile-idle", daemon=True)
    thread.start()
    return thread


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome of several of the same probe: what went wrong once counts, else the shortest times."""
    bad = next((one for one in outcomes if one.status != OK), None)
    results = [dict(one.result) for one in outcomes if one.result is not None]
    if bad is not None or not results:
        return bad or outcomes[-1]
    merged = {**results[0], "seconds": _least([one.get("seconds", {}) for one in results])}
    if "attention" in merged:
        tables = [one.get("attention", {}) for one in results]
        merged["attention"] = {kind: _least([table.get(kind, {}) for table in tables]) for kind in tables[0]}
    return outcomes[-1]._replace(result=merged)


def _least(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: min(table[key] for table in tables if key in table) for key in tables[0]}
