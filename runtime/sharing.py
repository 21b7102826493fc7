"""One model on several machines: the step of a start that finds the workers and shares the layers out (``--rpc``).

A worker that goes away cannot be computed without. A server replaces itself by one that goes without it (serving.py);
elsewhere the process aborts, and the launcher starts it once more. That start finds a note here of who was lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import (
    core_words,
    engine,
    fitting,
    rpc_client,
    rpc_native,
    rpc_settings,
    rpc_split,
    selection,
    state_files,
)
from solofile.runtime.errors import EngineError, InputError
from solofile.runtime.rpc_settings import Endpoint

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.locks import Lock
    from solofile.runtime.memory import Estimate
    from solofile.runtime.selection import Place, Say, Selection
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple

NOTE = "rpc-lost.json"
_LIMIT = 1 << 14


class Team(NamedTuple):
    """The workers of this start, connected; ``lock`` keeps the backend's library in the cache."""

    workers: rpc_client.Workers
    lock: Lock | None

    @property
    def helpers(self) -> list[rpc_split.Helper]:
        """Their addresses and facts, in llama.cpp's order."""
        return [rpc_split.Helper(str(one), facts) for one, facts in self.workers.facts.items()]

    def named(self, estimate: Estimate) -> Estimate:
        """The estimate with the workers' devices by their addresses, and the memory that these told of."""
        told = [(one.address, device.memory) for one in self.helpers for device in one.facts.devices]
        names = dict(zip(self.workers.devices, told, strict=True))
        devices = tuple(
            one._replace(name=names[one.name][0], free=names[one.name][1]) if one.name in names else one
            for one in estimate.devices
        )
        return estimate._replace(devices=devices)

    def check(self, estimate: Estimate) -> None:
        """Raises InputError where a share does not fit its worker."""
        refusal = rpc_split.overfull(self.named(estimate), frozenset(one.address for one in self.helpers))
        if refusal:
            raise InputError(refusal)


def gather(
    wanted: rpc_settings.Shared, place: Place, environ: Mapping[str, str], say: Say
) -> tuple[rpc_client.Workers | None, Mapping[str, str]]:
    """The workers that --rpc names, each asked who it is, but for those that the run before this one lost.

    With the environment for the rest of the start: a lost worker was no crash of anything here. Raises InputError where
    one is not there or not to be trusted.
    """
    gone = lost_before(place.cache, environ)
    left = tuple(one for one in wanted.workers if str(one) not in gone)
    for one in wanted.workers:
        if str(one) in gone:
            say(f"The worker {one} was lost in the run before this one: going on without it.")
    calm = {key: value for key, value in environ.items() if not gone or key != "SOLOFILE_CRASH"}
    if not left:
        return None, calm
    secret = rpc_settings.secret(wanted.secret_file, environ)
    found = rpc_client.find(left, secret, place.bundle.manifest.llama_cpp.commit)
    found.when_lost(lambda endpoint, how: give_up(place.cache, environ, endpoint, how, say))
    return found, calm


def backend(selected: Selection, say: Say) -> tuple[Path, Lock | None]:
    """The library that talks to workers, unpacked, and what keeps it in the cache."""
    return selection.library(selected.ground.place, selected.ground.machine.target, rpc_native.NAME, say)


def share(
    launch: Launch, selected: Selection, workers: rpc_client.Workers, libraries: Sequence[Path],
    own: tuple[Path, Lock | None],
) -> tuple[Selection, Team]:  # fmt: skip
    """Connect llama.cpp to the workers and share the layers out; ``own`` is the `backend`. Raises InputError,
    EngineError."""
    ground = selected.ground
    library, lock = own
    layers = _layers(launch, selected, libraries)
    engine.prepare(ground.place.native, [*libraries, library], [], launch.log_level)
    rpc = rpc_native.Rpc(ground.place.native, library)
    rpc.sockets(connect=workers.connect)
    for label in workers.labels:
        rpc.add(label)
    team = Team(workers, lock)
    here = fitting.room(ground.machine).usable
    choice = rpc_split.shared(selected.choice, ground.wishes, team.helpers, workers.devices, here, layers)
    return selected._replace(choice=choice), team


def fitted(launch: Launch, selected: Selection, team: Team, libraries: Sequence[Path], say: Say) -> fitting.Fitted:
    """What memory decides here, as for any choice. Raises InputError where a share does not fit its worker."""
    done = fitting.fitted(launch, selected, libraries, say)
    estimate = done.fit.estimate if done.fit is not None else fitting.estimator(launch, selected, libraries)(0)
    team.check(estimate)
    choice = done.selection.choice
    note = f"Shared: {choice.of('workers').value}. {choice.note}".rstrip()
    return done._replace(selection=done.selection._replace(choice=choice._replace(note=note)))


def _layers(launch: Launch, selected: Selection, libraries: Sequence[Path]) -> int:
    """How many layers the model has: llama.cpp lays it out as if this machine had it alone."""
    ground = selected.ground
    members = [ground.member, *ground.companions]
    library = engine.prepare(ground.place.native, libraries, members, launch.log_level)
    given = {"-ngl", "-ts", "-dev"}  # these speak of devices that nobody has yet
    words = core_words.arguments(launch, selected, leave_out=given)
    found = engine.estimate(library, words if "--fit" in words else [*words, "--fit", "off"])
    if "error" in found:
        raise EngineError(f"How many layers the model has cannot be found out: {found['error']}")
    return int(found["layers"])


def give_up(
    cache: Path, environ: Mapping[str, str], endpoint: Endpoint, how: str, say: Say, end: Callable[[], None] = os.abort
) -> None:
    """Note which worker was lost and end this process, for the launcher to start it once more."""
    say(f"{how} Starting once more without it.")
    document = {"launcher": environ.get("SOLOFILE_LAUNCHER_PID", ""), "workers": [str(endpoint)]}
    with suppress(OSError):  # without the note the next start says that the worker cannot be reached
        state_files.write(cache / "state" / NOTE, document, kind=NOTE, kept=1)
    end()


def lost_before(cache: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """The workers that the run before this one, started by the same launcher, lost; none where it did not crash."""
    launcher = environ.get("SOLOFILE_LAUNCHER_PID")
    if not environ.get("SOLOFILE_CRASH") or not launcher:
        return frozenset()
    try:
        found = json.loads(state_files.load(cache / "state" / NOTE, _LIMIT))
        return frozenset(map(str, found["workers"])) if found["launcher"] == launcher else frozenset()
    except (OSError, ValueError, TypeError, KeyError):
        return frozenset()
