"""How the work is shared out: threads for an answer and for a prompt, batches, flash attention. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import measured
from solofile.runtime.kernel_path import Decision

if TYPE_CHECKING:
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import KernelPath, Known, Losers, Wishes

BATCH, UBATCH = 2048, 512
"""llama.cpp's own, in tokens."""

PLAIN_CONTEXT = 8192
"""Without flash attention the buffers grow with the context; up to so many tokens they are small beside a model."""

_AS_FAST = 0.97
"""Of the numbers of threads that come so near to the fastest the smallest is taken, as sf_calibration_ask has it."""

_CALIBRATION_SECONDS, _DEPTH = 2.0, 128

_PLAIN_WORTH = 1.1
"""How much faster it must be measured without flash attention: that takes more memory with each token of context."""

_WIDE_CACHE = ("f32", "f16", "bf16")


def threads(machine: Hardware, wishes: Wishes, calibration: Mapping[str, Any]) -> tuple[int, int, list[Decision]]:
    """The threads for an answer, those for a prompt, and both decisions. ``calibration`` is of the path chosen."""
    one = _threads("threads", "-t", machine, wishes.threads, calibration.get("decode"))
    if (wishes.threads_batch or 0) < 1 and (wishes.threads or 0) > 0:
        many = Decision("threads for prompts", one.value, "as many as -t asks for")
    else:
        many = _threads("threads for prompts", "-tb", machine, wishes.threads_batch, calibration.get("prompt"))
    return int(one.value), int(many.value), [one, many]


def _threads(part: str, option: str, machine: Hardware, wish: int | None, table: Any) -> Decision:
    rule, rates = machine.threads, _rates(table)
    if wish is not None and wish > 0:
        return Decision(part, str(wish), f"it was asked for with {option} {wish}")
    if rule not in rates:
        return Decision(part, str(rule), _limit(machine), _unused(machine, rule))
    best = min(count for count in rates if rates[count] >= _AS_FAST * max(rates.values()))
    losers = [(str(count), f"measured {_speed(rates, count, best)}") for count in sorted(rates) if count != best]
    reason = f"measured: {measured.speed(rates[best])} tokens/s"
    if rates[best] < max(rates.values()):
        reason += ", and more threads gain less than 3 %"
    elif best == rule:
        reason += f"; {_limit(machine)}"
    return Decision(part, str(best), reason, tuple(losers))


def _speed(rates: Mapping[int, float], count: int, best: int) -> str:
    return f"{measured.speed(rates[count])} against {measured.speed(rates[best])} tokens/s"


def _rates(table: Any) -> dict[int, float]:
    """Tokens a second by number of threads, of a calibration."""
    if not isinstance(table, Mapping):
        return {}
    pairs = [(str(count), rate) for count, rate in table.items()]
    return {
        int(count): rate for count, rate in pairs if count.isdigit() and isinstance(rate, (int, float)) and rate > 0
    }


def _limit(machine: Hardware) -> str:
    """Why the rule of thumb gives so many threads and not more."""
    count = machine.threads
    if machine.quota is not None and machine.quota < min(machine.allowed, machine.allowed_cores):
        return f"this container may use {machine.quota:g} CPUs: more threads would wait for each other"
    if machine.allowed < machine.logical and count == machine.allowed:
        return f"this process may run on {machine.allowed} of {machine.logical} CPUs"
    if machine.efficiency_cores and count == machine.performance_cores:
        return "one for each performance core: all wait for the slowest"
    return "one for each physical core that this process may run on" if count > 1 else "there is one core to run on"


def _unused(machine: Hardware, rule: int) -> Losers:
    """Numbers of threads that could come to mind."""
    losers = []
    if machine.cores > rule:
        every = "every core, as llama.cpp has it: not all of them are fast and ours alone"
        losers.append((str(machine.cores), every))
    if machine.allowed > max(rule, machine.cores):
        losers.append((str(machine.allowed), "two on a core share what computes: not measured to be faster"))
    return tuple(losers)


def candidates(machine: Hardware) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of threads worth measuring, for an answer and for a prompt."""
    most = machine.allowed if machine.quota is None else min(machine.allowed, int(machine.quota + 0.999))
    rule, cores = machine.threads, min(machine.cores, machine.allowed)
    many = {count for count in (rule, cores, machine.allowed, most) if count <= most}
    return tuple(sorted({max(1, rule // 2), *many})), tuple(sorted(many))


def calibration(machine: Hardware, path: KernelPath, wishes: Wishes, known: Known) -> dict[str, Any] | None:
    """What the engine is to measure when it has loaded, for ``sf_calibration_ask``; None where there is nothing to."""
    done = known.calibration is not None and known.calibration.get("path") == path.key
    if known.crash or done or path.gpu_layers == "all":  # a GPU that has all leaves the CPU nothing to do
        return None
    decode, prompt = candidates(machine)
    decode = decode if (wishes.threads or 0) < 1 and len(decode) > 1 else ()
    prompt = prompt if (wishes.threads_batch or wishes.threads or 0) < 1 and len(prompt) > 1 else ()
    if not decode and not prompt:
        return None
    wanted = {"decode_threads": list(decode), "prompt_threads": list(prompt)}
    return {"seconds": _CALIBRATION_SECONDS, "depth": _DEPTH, **wanted}


def batches(path: KernelPath, wishes: Wishes, known: Known) -> tuple[int, int, Decision]:
    """Tokens that are taken together, and those that are computed at once."""
    batch = BATCH if wishes.batch is None else wishes.batch
    ubatch = UBATCH if wishes.ubatch is None else wishes.ubatch
    lost: Losers = ()
    if wishes.batch is None and wishes.ubatch is None:
        ubatch, reason, lost = _at_once(path, known)
    else:
        reason = "it was asked for with " + " and ".join(
            option for option, wish in (("-b", wishes.batch), ("-ub", wishes.ubatch)) if wish is not None
        )
    return batch, ubatch, Decision("batch", f"{batch}, {ubatch} at once", reason, lost)


def _at_once(path: KernelPath, known: Known) -> tuple[int, str, Losers]:
    """Tokens that are computed at once: more than llama.cpp takes where a GPU has memory to spare and is faster so."""
    usual, large = (measured.rate(known.probes.get(path.gpu_key), count) for count in (UBATCH, BATCH))
    if usual is None or large is None:
        return UBATCH, "llama.cpp's own: more gains little and takes memory", ()
    rates = f"measured {measured.speed(large)} against {measured.speed(usual)} tokens/s of a prompt"
    if path.gpu_layers == "all" and large > measured.CLEARLY * usual:
        return BATCH, f"the GPU has the memory for it and is faster so, {rates}", ((f"{UBATCH}", "is slower"),)
    spare = "is not clearly faster" if path.gpu_layers == "all" else "takes memory that the GPU needs for layers"
    return UBATCH, "llama.cpp's own", ((f"{BATCH}", f"{spare}: {rates}"),)


def flash(path: KernelPath, tokens: int, wishes: Wishes, known: Known, stored: str = "") -> tuple[str, Decision]:
    """Flash attention: ``auto`` lets llama.cpp turn it on wherever the device that holds a layer can do it.

    ``tokens`` of context, 0 where nobody knows; ``stored``: what the bundle's stored prompt was made with.
    """
    if wishes.flash is not None:
        return wishes.flash, Decision("flash attention", wishes.flash, f"it was asked for with -fa {wishes.flash}")
    if path.is_software and not _needs_flash(tokens, wishes):
        lost = (("auto", "its driver takes minutes to compile it for a CPU, at the first prompt"),)
        return "off", Decision("flash attention", "off", f"{path.device} computes on the CPU", lost)
    if stored:
        lost = (("on" if stored == "off" else "off", "would have the stored prompt computed anew"),)
        return stored, Decision("flash attention", stored, "the stored prompt was made with it so", lost)
    key = path.gpu_key or path.cpu_key
    outcome = known.probes.get(key)
    work = measured.thorough(outcome)
    fast, plain = measured.attention(outcome, "flash"), measured.attention(outcome, "plain")
    if work is None or fast is None or plain is None:
        reason = "on wherever what computes can do it: it takes less memory"
        return "auto", Decision("flash attention", "auto", reason, (("off", "has not been measured faster"),))
    percent = round(100 * ((work + fast) / (work + plain) - 1))
    if (work + plain) * _PLAIN_WORTH >= work + fast:
        lost = (("off", f"measured {-percent} % slower" if percent < 0 else "is not clearly faster"),)
        return "auto", Decision(
            "flash attention", "auto", "measured to be as fast or faster, and takes less memory", lost
        )
    obstacle = _needs_flash(tokens, wishes)
    if obstacle:
        return "auto", Decision("flash attention", "auto", obstacle, (("off", f"measured {percent} % faster"),))
    lost = (("on", f"measured {percent} % slower with a context of 512 tokens"),)
    return "off", Decision("flash attention", "off", "measured faster without it on this device", lost)


def _needs_flash(tokens: int, wishes: Wishes) -> str:
    if wishes.cache_type is not None and wishes.cache_type not in _WIDE_CACHE:
        return f"a V cache of type {wishes.cache_type} needs it"
    if not 0 < tokens <= PLAIN_CONTEXT:
        return f"without it the buffers of a context of more than {PLAIN_CONTEXT} tokens take too much memory"
    return ""
