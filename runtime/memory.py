"""What a model takes of the memory, and what is done where that is more than there is: a shorter context, or no start.

The figures come from llama.cpp, which lays the model out without loading it (``sf_estimate``). Weights count in full
even where they are mapped: pages that were thrown out would be read again for every token. What lies on a GPU does not
count, unless that GPU shares this machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import EngineError, InputError

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

LEAST_CONTEXT = 512
"""Tokens of one slot that a chat cannot do without."""

STEP = 256
"""llama.cpp rounds a context up to a multiple of this."""

_MIB = 1 << 20
_HEADROOM = 128 * _MIB
"""Bytes that no estimate holds: this program itself, buffers of the answers, copies in the sampler."""

_MOST_CACHE = 8192
_LEAST_CACHE = 64
"""MiB of a prompt cache: llama.cpp's default, and what holds too little to be worth its work."""

_TRIES = 8
_CLEARLY = 1.1


class DeviceShare(NamedTuple):
    """What lies on one GPU, in bytes: ``used`` by this model, ``free`` before it is loaded."""

    name: str
    used: int
    free: int
    total: int


class Estimate(NamedTuple):
    """What a model takes with a ``context`` of so many tokens over all slots.

    In bytes, of the machine's own memory: ``weights``, of which ``repacked`` are copied into another order, the KV
    cache and the buffers to compute in.
    """

    context: int
    context_train: int
    weights: int
    repacked: int
    kv: int
    compute: int
    devices: tuple[DeviceShare, ...] = ()

    def needed(self, shared: Set[str] = frozenset()) -> int:
        """Bytes of the machine's own memory, those of GPUs that share it (by name) among them."""
        return self.weights + self.kv + self.compute + sum(one.used for one in self.devices if one.name in shared)


class Room(NamedTuple):
    """Bytes that can be had without swapping, None where nobody knows; ``limit`` is that of a container."""

    available: int | None
    limit: int | None = None

    @property
    def usable(self) -> int | None:
        """What a model may take of it."""
        if self.available is None:
            return None
        return max(0, self.available - _HEADROOM - self.available // 32)


class Subject(NamedTuple):
    """What is to be loaded, for the sentences: ``parameters`` counts weights."""

    name: str
    quantization: str
    parameters: int


class Fit(NamedTuple):
    """The answer: ``context`` is what -c must be, None where it stays as it was asked for.

    ``estimate`` is of what is loaded, ``full`` of what was to be, where that is another. ``note`` says what was
    changed, ``refusal`` why the model must not be loaded; both are sentences, or empty.
    """

    estimate: Estimate
    context: int | None = None
    note: str = ""
    refusal: str = ""
    full: Estimate | None = None

    def accepted(self) -> Fit:
        """Itself, or InputError where the model does not fit."""
        if self.refusal:
            raise InputError(self.refusal)
        return self


Measure = Callable[[int], Estimate]
"""The estimate for a context, 0 standing for the model's own."""


def read_estimate(found: Mapping[str, Any]) -> Estimate:
    """What ``sf_estimate`` says. Raises EngineError where it could not find out."""
    if "error" in found:
        raise EngineError(f"How much memory the model takes cannot be found out: {found['error']}")
    host = found["host"]
    devices = tuple(
        DeviceShare(one["name"], one["model"] + one["context"] + one["compute"], one["free"], one["total"])
        for one in found["devices"]
    )
    return Estimate(
        found["context"], found["context_train"], host["model"], found["repacked"], host["context"], host["compute"],
        devices,
    )  # fmt: skip


def fit(
    measure: Measure,
    room: Room,
    subject: Subject,
    *,
    asked: int = 0,
    slots: int = 1,
    force: bool = False,
    shared: Set[str] = frozenset(),
    other: Callable[[], str] = str,
) -> Fit:
    """Decide what context ``room`` holds; one estimate where all is well, a few where the context must shrink.

    ``asked`` is the context that the user gave, which is not changed but refused, 0 for none; ``slots`` how many have a
    context of their own; ``force`` (--fit off) takes everything as it is; ``shared`` names GPUs without memory of their
    own; ``other`` gives a clause on who else uses much memory, for the refusal.
    """
    full = measure(asked)
    usable = room.usable
    if usable is None or full.needed(shared) <= usable:
        return Fit(full)
    from solofile.runtime import memory_text  # few starts have anything to say

    if force:
        return Fit(full, note=memory_text.forced(subject, full, room, shared))
    least = LEAST_CONTEXT * slots
    low = measure(least) if least < full.context else full
    if low.needed(shared) > usable:
        return Fit(low, refusal=memory_text.refuse_model(subject, low, room, shared, other()), full=full)
    best = _largest(measure, low, full, usable, STEP * slots, shared)
    if asked:
        return Fit(best, refusal=memory_text.refuse_context(subject, full, best, room, shared), full=full)
    return Fit(best, best.context, memory_text.shrunk(full, best, room), full=full)


def fits_clearly(estimate: Estimate, room: Room, shared: Set[str] = frozenset()) -> bool:
    """Does it fit with so much to spare that an estimate of another day will do?"""
    return room.usable is None or estimate.needed(shared) * _CLEARLY <= room.usable


def _largest(measure: Measure, low: Estimate, high: Estimate, usable: int, step: int, shared: Set[str]) -> Estimate:
    """The longest context that fits, measured: ``low`` does, ``high`` does not.

    What a context takes is a straight line for most models; where layers look back a limited way only it bends, so what
    the line gives is measured too.
    """
    for _ in range(_TRIES):
        guess = interpolate(low, high, usable, step, shared)
        if guess <= low.context:
            break
        found = measure(guess)
        if found.needed(shared) <= usable:
            return found
        high = found
    return low


def interpolate(low: Estimate, high: Estimate, usable: int, step: int = STEP, shared: Set[str] = frozenset()) -> int:
    """The multiple of ``step`` tokens, at least ``low``'s and less than ``high``'s, that takes ``usable`` bytes."""
    extra = high.needed(shared) - low.needed(shared)
    tokens = high.context - low.context
    more = (usable - low.needed(shared)) * tokens // extra if extra > 0 else 0
    context = min(low.context + more, high.context - 1) // step * step
    return max(context, low.context)


def prompt_cache(room: Room, estimate: Estimate, shared: Set[str] = frozenset()) -> int:
    """MiB for the prompts that llama.cpp keeps when a slot turns to another conversation.

    Half of what is left over, no more than four full slots can fill, 0 where that is too little to be of use.
    """
    most = min(_MOST_CACHE, fills(estimate))
    if room.usable is not None:
        most = min(most, (room.usable - estimate.needed(shared)) // (2 * _MIB))
    return most if most >= _LEAST_CACHE else 0


def fills(estimate: Estimate) -> int:
    """MiB that four full slots take, as many as llama.cpp has by itself."""
    return 4 * estimate.kv // _MIB


def table(
    estimate: Estimate, room: Room, cache_mib: int, *, mapped: bool = True, shared: Set[str] = frozenset()
) -> dict[str, Any]:
    """What goes where, in bytes, for --doctor. ``mapped``: weights stay in the file's own pages where they can."""
    plain = estimate.weights - estimate.repacked
    return {
        "context": estimate.context,
        "context_of_model": estimate.context_train,
        "weights_mapped" if mapped else "weights_loaded": plain,
        "weights_repacked": estimate.repacked,
        "kv_cache": estimate.kv,
        "compute": estimate.compute,
        "needed": estimate.needed(shared),
        "prompt_cache_at_most": cache_mib * _MIB,
        "available": room.available,
        "usable": room.usable,
        "container_limit": room.limit,
        "fits": room.usable is None or estimate.needed(shared) <= room.usable,
        "devices": [one._asdict() for one in estimate.devices],
    }
