"""Which of a bundle's models a start runs: the one that the user names, else the largest that fits into the memory.

Pure functions of what the manifest says of each model (``token_bytes``, ``compute_bytes``), so that no model is opened
to find out. What the chosen one really takes llama.cpp tells before it is loaded (fitting.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from solofile.runtime import memory_text
from solofile.runtime.memory import Estimate, Room

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.manifest import Manifest, Model
else:
    from solofile.runtime.record import NamedTuple

ENOUGH = 8192
"""Tokens of context that a model must have room for where nobody asks for more or less, if it can hold as many: one
with room for a few words only would be of less use than a smaller one. Where there is room it gets all of its own."""

Asked = Callable[["Model"], int]


class Verdict(NamedTuple):
    """What one model takes with the context that it must have room for, and whether that fits."""

    model: Model
    estimate: Estimate
    fits: bool

    @property
    def needs(self) -> int:
        """Bytes."""
        return self.estimate.needed()

    @property
    def words(self) -> str:
        """What it takes, for a person."""
        return f"{memory_text.size_text(self.needs)} with {self.estimate.context:,} tokens of context"


class Picked(NamedTuple):
    """The model that runs, why, and a verdict on each of the bundle's models, in its order."""

    model: Model
    reason: str
    verdicts: tuple[Verdict, ...]
    room: Room
    passed: tuple[tuple[str, str], ...] = ()
    """The others, each with why it does not run and what would change that."""

    @property
    def sentence(self) -> str:
        """The line of a start."""
        others = "".join(f"; {name}: {reason}" for name, reason in self.passed)
        return f"Model: {self.model.name}, {self.reason}{others}."

    def report(self) -> dict[str, Any]:
        """The same as plain data, in the shape of a part of the choice of what computes."""
        losers = [{"value": name, "reason": reason} for name, reason in self.passed]
        return {"part": "model", "value": self.model.name, "reason": self.reason, "losers": losers}


def pick(manifest: Manifest, asked: Asked, room: Room, named: Model | None = None) -> Picked:
    """Choose among the models of ``manifest``; ``asked`` is the context that was asked for a model, 0 for none.

    ``named`` is the user's own choice.
    """
    verdicts = tuple(verdict(manifest, model, asked(model), room) for model in manifest.models)
    if named is not None:
        return _picked(named, "asked for with --use", verdicts, room)
    ordered = sorted(verdicts, key=lambda one: -one.model.size)
    chosen = next((one for one in ordered if one.fits), None)
    if chosen is None:
        return _picked(ordered[-1].model, f"the smallest of {len(ordered)}, since none fits", verdicts, room)
    if room.usable is None:
        reason = f"the largest of {len(ordered)} (nobody knows how much memory there is)"
        return _picked(chosen.model, reason, verdicts, room)
    which = "largest" if chosen is ordered[0] else "largest that fits"
    has = memory_text.size_text(room.usable)
    return _picked(chosen.model, f"the {which} of {len(ordered)} ({chosen.words}; {has} can be had)", verdicts, room)


def verdict(manifest: Manifest, model: Model, asked: int, room: Room) -> Verdict:
    """Does ``model`` fit with the context that was asked for it, or else with enough?"""
    own = model.context_length or ENOUGH
    context = asked or min(own, ENOUGH)
    # Where the manifest does not say it: a token takes less than a byte for 512 weights (settings.fits_easily).
    token = model.token_bytes or (0 if model.compute_bytes else model.parameters // 512)
    estimate = Estimate(context, own, model.size + _beside(manifest, model), 0, token * context, model.compute_bytes)
    return Verdict(model, estimate, room.usable is None or estimate.needed() <= room.usable)


def _beside(manifest: Manifest, model: Model) -> int:
    """Bytes of the parts that the model's arguments name: its projector."""
    words = {*model.arguments, *manifest.arguments}
    return sum(part.size for part in manifest.parts if part.path in words)


def _picked(model: Model, reason: str, verdicts: Sequence[Verdict], room: Room) -> Picked:
    passed = []
    for one in verdicts:
        if one.model is model:
            continue
        name = one.model.name
        if not one.fits:
            passed.append((name, f"does not fit, it takes {one.words}"))
        else:
            size = "smaller" if one.model.size < model.size else "larger" if one.model.size > model.size else "as large"
            passed.append((name, f"{size}; --use {name} runs it"))
    return Picked(model, reason, tuple(verdicts), room, tuple(passed))
