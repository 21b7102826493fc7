"""What the memory is used for: the prompt cache, mapping or locking the weights, NUMA, the context. Pure decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solofile.runtime.errors import InputError
from solofile.runtime.kernel_path import Decision

if TYPE_CHECKING:
    from collections.abc import Set

    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import Choice, Known, Losers, Wishes
    from solofile.runtime.manifest import Model
    from solofile.runtime.memory import Fit, Room

_MIB = 1 << 20
_MOST_CACHE, _LEAST_CACHE = 8192, 64
_CONTEXT = 4096
_COMPUTE = 512 * _MIB


def prompt_cache(machine: Hardware, model: Model, wishes: Wishes, known: Known) -> tuple[int, Decision]:
    """MiB for prompts of other conversations, kept so that they need not be computed again."""
    part = "prompt cache"
    if wishes.cache_ram is not None:
        value = {-1: "no limit", 0: "none"}.get(wishes.cache_ram, f"{wishes.cache_ram} MiB")
        return wishes.cache_ram, Decision(part, value, f"it was asked for with --cache-ram {wishes.cache_ram}")
    size = known.cache_ram
    if size is None:
        size = _left_over(machine, model, wishes)
    if size < _LEAST_CACHE:
        return 0, Decision(
            part, "none", "the model needs the memory that there is", _more("8192 MiB", "llama.cpp's own")
        )
    if size >= _MOST_CACHE:
        return _MOST_CACHE, Decision(part, f"{_MOST_CACHE} MiB at most", "there is memory to spare")
    reason = "half of what the model leaves, or all that its conversations fill"
    return size, Decision(part, f"{size} MiB at most", reason, _more("8192 MiB", "llama.cpp's own, whatever there is"))


def _more(value: str, reason: str) -> Losers:
    return ((value, f"{reason}: --cache-ram sets it"),)


def _left_over(machine: Hardware, model: Model, wishes: Wishes) -> int:
    """A guess, where no estimate is needed: a token takes 2 to 6 bytes by the root of the parameters."""
    if machine.memory is None:
        return 0
    tokens = wishes.context or model.context_length or _CONTEXT
    need = model.size + 4 * int(model.parameters**0.5) * tokens + _COMPUTE
    return max(0, min(_MOST_CACHE, (machine.memory - need) // (2 * _MIB)))


def load_mode(model: Model, wishes: Wishes, lockable: int | None) -> tuple[str, Decision]:
    """How the weights come into memory. ``lockable`` are the bytes that may be locked, None for any number.

    Raises InputError for a lock that the system would refuse, which llama.cpp only warns of.
    """
    part, wish = "load mode", wishes.load_mode
    if wish is None:
        lost = (
            (
                "mmap+mlock",
                "takes the memory from all other programs, so it is yours to ask for: --load-mode mmap+mlock",
            ),
            ("none", "copies what can stay where it is"),
        )
        return "auto", Decision(part, "auto", "mapped in place, unless the device that computes cannot do that", lost)
    if "mlock" in wish and lockable is not None and lockable < model.size:
        raise InputError(
            f"--load-mode {wish} would lock {model.size / 1e6:,.0f} MB where {lockable / 1e6:,.1f} MB are allowed: "
            "raise the limit (ulimit -l) or leave the option out."
        )
    return wish, Decision(part, wish, f"it was asked for with --load-mode {wish}")


def lockable() -> int | None:
    """The bytes of memory that this process may lock, None for any number (and where the system does not say)."""
    try:
        import os
        import resource

        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        return None if limit == resource.RLIM_INFINITY or os.geteuid() == 0 else limit
    except ImportError:  # Windows
        return None


def numa(machine: Hardware, wishes: Wishes) -> tuple[str, Decision]:
    """Threads bound to the nodes of the memory, where there are several and all of them are ours."""
    if wishes.numa is not None:
        return wishes.numa, Decision("NUMA", wishes.numa, f"it was asked for with --numa {wishes.numa}")
    nodes = len(machine.numa)
    if nodes < 2:
        return "", Decision("NUMA", "off", "all memory is equally near to all CPUs")
    if machine.allowed < machine.logical or machine.quota is not None:
        reason = "threads would be bound to CPUs that this process is not to use in full"
    elif machine.threads < nodes:
        reason = f"{machine.threads} threads do not reach all {nodes} nodes"
    else:
        why = f"the memory is on {nodes} nodes: threads stay beside the part of the weights that they read"
        return "distribute", Decision("NUMA", "distribute", why, (("off", "weights would be read across nodes"),))
    return "", Decision("NUMA", "off", reason, (("distribute", f"{reason}: --numa distribute does it all the same"),))


def context(model: Model, wishes: Wishes) -> tuple[int, Decision]:
    """Tokens of context, 0 for the model's own; `fitted` makes it shorter where it does not fit."""
    if wishes.context:
        asked = f"it was asked for with -c {wishes.context}"
        return wishes.context, Decision("context", _tokens(wishes.context), asked)
    own = "the model's own" if model.context_length is None else _tokens(model.context_length)
    return 0, Decision("context", own, "what the model was trained for, far from filling the memory")


def _tokens(count: int) -> str:
    return f"{count:,} tokens"


def fitted(
    choice: Choice, machine: Hardware, model: Model, wishes: Wishes, fit: Fit, room: Room, shared: Set[str]
) -> Choice:
    """The choice with what the estimate of the model's memory decides: the context and the prompt cache.

    ``shared`` names the GPUs in use that have no memory of their own.
    """
    from solofile.runtime import memory
    from solofile.runtime.kernel_path import Known

    left = memory.prompt_cache(room, fit.estimate, shared)
    cache_ram, cache = prompt_cache(machine, model, wishes, Known(cache_ram=left))
    full = memory.fills(fit.estimate)
    if not cache_ram and wishes.cache_ram is None and full < _LEAST_CACHE:
        cache = Decision(cache.part, cache.value, f"all conversations together fill {full} MiB: not worth the work")
    note = fit.note
    if fit.context and not cache_ram and wishes.cache_ram is None:
        note += " No memory is left for a prompt cache (--cache-ram sets it)."
    tokens, length = _fitted_context(choice, wishes, fit, room, shared)
    path = choice.path._replace(cache_ram=cache_ram, context=tokens)
    return choice.decided(path, length, cache)._replace(note=note)


def _fitted_context(choice: Choice, wishes: Wishes, fit: Fit, room: Room, shared: Set[str]) -> tuple[int, Decision]:
    from solofile.runtime import memory_text

    path, estimate = choice.path, fit.estimate
    if fit.context is not None:
        reason, lost = memory_text.shorter(fit.full or estimate, room)
        return fit.context, Decision("context", _tokens(fit.context), reason, lost)
    reason = choice.of("context").reason if wishes.context else "what the model was trained for"
    reason += f"{memory_text.verdict(estimate, room, shared)}"
    if not wishes.context and path.backend and path.gpu_layers == "auto":  # llama.cpp fits it together with the layers
        return 0, Decision("context", _tokens(estimate.context), "as llama.cpp fits it beside the layers on the GPU")
    return wishes.context or estimate.context, Decision("context", _tokens(wishes.context or estimate.context), reason)
