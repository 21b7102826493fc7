"""The GPUs that the bundle's backends showed when they were tried, each with what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import measured
from solofile.runtime.kernel_path import MISSING, OK, SOFTWARE, Outcome, tried

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.kernel_path import Known
    from solofile.runtime.manifest import Model
else:
    from solofile.runtime.record import NamedTuple

SHOW_ALL = {"vulkan": {"GGML_VK_VISIBLE_DEVICES": "0"}}
"""What makes a backend show its first device whatever it is."""

MARGIN = 1 << 30
"""Bytes of a GPU's memory that llama.cpp's fit leaves free."""

_KV_SHARE = 1.1


class Device(NamedTuple):
    """A device, or a backend that has none to show (then ``name`` is empty).

    ``shown`` is its name for a person. ``fault`` is what speaks against it, a predicate, with the ``remedy``, and
    ``crash`` what happened when it was in use, by which it is not used again unless the user insists. ``hidden``
    computes on the CPU's own cores. ``share`` is how much of the model its free memory holds, in 0..1; ``roomy``: any
    context fits beside it.
    """

    backend: str
    name: str
    shown: str
    fault: str = ""
    remedy: str = ""
    crash: str = ""
    hidden: bool = False
    probe: Outcome | None = None
    share: float = 0.0
    roomy: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def seconds(self) -> float | None:
        """Those of the piece of work (measured.py) if all of the model were on it, None where nobody measured."""
        return measured.work(self.probe)

    @property
    def against(self) -> str:
        """What speaks against it and what can be done; empty where nothing does."""
        fault = self.fault or self.crash
        return f"{fault}: {self.remedy}" if fault and self.remedy else fault


def find(backend: str, model: Model, known: Known) -> list[Device]:
    """The devices of a backend; where there are none, the backend itself with the reason."""
    found = list(_devices(backend, model, known))
    if found:
        return found
    outcome = known.probes.get(backend)
    if outcome is None:
        return [Device(backend, "", backend, "has not been tried")]
    if outcome.status == OK:
        remedy = f"install its driver, or force what computes on the CPU with --gpu {backend}"
        return [Device(backend, "", backend, "finds no GPU", remedy)]
    remedy = "install the GPU's driver" if outcome.status == MISSING else f"--gpu {backend} tries it again"
    return [Device(backend, "", backend, tried(outcome), remedy)]


def _devices(backend: str, model: Model, known: Known) -> Iterator[Device]:
    for listing in (backend, backend + SOFTWARE):
        outcome = known.probes.get(listing)
        if outcome is None or outcome.status != OK:
            continue
        for facts in listed(outcome):
            yield _device(backend, listing, facts, model, known)


def listed(outcome: Outcome) -> list[Mapping[str, Any]]:
    """What ``sf_devices`` said of each device that is no plain CPU."""
    found = outcome.result.get("devices") if outcome.result is not None else None
    table = found if isinstance(found, list) else []
    return [one for one in table if isinstance(one, Mapping) and one.get("type") in ("gpu", "igpu") and one.get("name")]


def without_memory(backend: str, known: Known) -> frozenset[str]:
    """The names of a backend's devices that take the machine's memory: parts of the processor, or the CPU itself."""
    return frozenset(
        str(facts["name"])
        for listing in (backend, backend + SOFTWARE)
        if (outcome := known.probes.get(listing)) is not None
        for facts in listed(outcome)
        if facts.get("type") == "igpu" or listing != backend
    )


def _device(backend: str, listing: str, facts: Mapping[str, Any], model: Model, known: Known) -> Device:
    name, free = str(facts["name"]), facts.get("memory_free")
    room = max(0, free - MARGIN) if isinstance(free, (int, float)) else 0
    probe = known.probes.get(f"{listing}:{name}")
    crashes = (what for key, what in known.crashes.items() if key.startswith(f"{backend}:") and name in _names(key))
    hidden = listing != backend
    return Device(
        backend,
        name,
        f"{name} ({facts.get('description') or backend})",
        tried(probe),
        f"--gpu {backend} tries it again",
        next(crashes, ""),
        hidden,
        probe,
        min(1.0, room / (model.size * _KV_SHARE)),
        room > 2 * model.size,
        tuple(sorted(SHOW_ALL.get(backend, {}).items())) if hidden else (),
    )


def _names(key: str) -> list[str]:
    """The devices in the key of a path: ``vulkan:Vulkan0,Vulkan1``."""
    return key.partition(":")[2].split(",")


def fill(devices: list[Device], cpu: float) -> tuple[list[Device], float]:
    """Lay the model on devices, the fastest first, as far as their memory goes, and the rest on the CPU.

    ``cpu`` are the seconds of the piece of work on the CPU alone. Returns the devices used and the seconds with them.
    """
    used, rest, total = [], 1.0, 0.0
    for seconds, one in sorted(((one.seconds or cpu, one) for one in devices), key=lambda pair: pair[0]):
        part = min(one.share, rest)
        if seconds < cpu and part > 0:
            used.append(one)
            rest -= part
            total += part * seconds
    return used, total + rest * cpu
