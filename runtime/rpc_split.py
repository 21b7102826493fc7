"""How a model's layers are shared out over machines: by the memory that each has. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from solofile.runtime.kernel_path import Choice, Decision

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.kernel_path import KernelPath, Wishes
    from solofile.runtime.memory import Estimate
    from solofile.runtime.rpc_handshake import Facts
else:
    from solofile.runtime.record import NamedTuple


class Helper(NamedTuple):
    """One worker: its address, and what it said of itself."""

    address: str
    facts: Facts


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts as the weights are (largest remainders), where possible at least one for each."""
    whole = sum(weights)
    if not whole:
        return [total // len(weights) + (number < total % len(weights)) for number in range(len(weights))]
    exact = [total * weight / whole for weight in weights]
    parts = [int(one) for one in exact]
    by_rest = sorted(range(len(weights)), key=lambda one: exact[one] - parts[one], reverse=True)
    for number in by_rest[: total - sum(parts)]:
        parts[number] += 1
    for number, part in enumerate(parts):
        if not part and max(parts) > 1:
            parts[parts.index(max(parts))] -= 1
            parts[number] = 1
    return parts


def shared(
    choice: Choice, wishes: Wishes, helpers: Sequence[Helper], devices: Sequence[str], here: int | None, layers: int
) -> Choice:
    """The choice with the workers in it. ``devices`` are theirs as llama.cpp names them, ``here`` is the memory that a
    model may take on this machine, ``layers`` counts the model's.

    Beside a GPU of this machine llama.cpp shares the layers out itself, by the memory of all devices.
    """
    path = choice.path._replace(workers=tuple(one.address for one in helpers), rpc_devices=tuple(devices))
    told = " and ".join(f"{_memory(one.facts.memory)} at {one.address}" for one in helpers)
    count = layers + 1  # llama.cpp counts the output among them
    if wishes.gpu_layers is not None or path.backend:
        by_hand = f"it was asked for with -ngl {wishes.gpu_layers}" if wishes.gpu_layers else "llama.cpp fits them"
        number = wishes.gpu_layers or "auto"
        split = (
            "" if path.backend else ",".join(str(one.memory >> 20) for help in helpers for one in help.facts.devices)
        )
        value = f"{number} of {count} layers on {' and '.join(one.address for one in helpers)}"
        return _with(choice, path._replace(gpu_layers=number, split=split), value, f"{by_hand}, with {told}", number)
    # Nobody knows what there is here: then the workers' memory decides alone.
    own = [] if here is None else [here]
    every = [*own, *(one.memory for help in helpers for one in help.facts.devices)]
    parts = apportioned(count, every)
    theirs = parts[len(own) :]
    path = path._replace(gpu_layers=str(sum(theirs)), split=",".join(map(str, theirs)))
    value = _told(parts[: len(own)], theirs, helpers, count)
    reason = f"by the memory of each machine: {_memory(here)} here, {told}"
    return _with(choice, path, value, reason, path.gpu_layers)


def _with(choice: Choice, path: KernelPath, value: str, reason: str, layers: str) -> Choice:
    lost = (("other shares", "-ngl says how many layers leave this machine, -ts how these are shared out"),)
    decisions = (Decision("workers", value, reason, lost), Decision("gpu layers", layers, "the workers' share"))
    kept = tuple(one for one in choice.decisions if one.part not in ("workers", "gpu layers"))
    return choice._replace(path=path, decisions=(*kept, *decisions))


def _told(own: Sequence[int], theirs: Sequence[int], helpers: Sequence[Helper], count: int) -> str:
    words, at = [f"{own[0]} of {count} layers here"] if own else [], 0
    for one in helpers:
        size = len(one.facts.devices)
        words.append(f"{sum(theirs[at : at + size])} at {one.address}")
        at += size
    return ", ".join(words)


def overfull(estimate: Estimate, addresses: Set[str]) -> str:
    """Why a share does not fit its worker (devices are named by these addresses), a sentence; empty where all do."""
    for one in estimate.devices:
        if one.name in addresses and one.used > one.free:
            return (
                f"The worker {one.name} has {_memory(one.free)} for a share of {_memory(one.used)}: free some, "
                "add a worker, or share the layers out with -ngl and -ts."
            )
    return ""


def _memory(size: int | None) -> str:
    return "an unknown amount" if size is None else f"{size / 1e9:.1f} GB"
