"""Which of ggml's CPU variants computes, and whether it computes on repacked weights: pure decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from solofile.runtime import kernels, measured
from solofile.runtime.errors import InputError, SolofileError, UnknownName
from solofile.runtime.kernel_path import HUNG, ILLEGAL, Decision, cpu_key, tried

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import Known, Losers, Offer, Wishes
else:
    from solofile.runtime.record import NamedTuple

_REPACKED = {
    "AVX2": ("Q4_0", "Q4_K", "Q3_K", "IQ4_NL", "MXFP4"),
    "AVX512": ("Q2_K",),
    "AMX_INT8": ("Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"),
    "DOTPROD": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "IQ4_NL", "MXFP4", "Q8_0"),
}
"""What of a model can be repacked for which feature: ``ggml/src/ggml-cpu/repack.cpp`` and ``amx/common.h``.

By the name of the quantization; a Q3_K model holds Q4_K weights too, for example.
"""


class Pick(NamedTuple):
    """A variant and why; ``ranked`` are those of the bundle, the best first, ``faults`` what speaks against some."""

    name: str
    reason: str
    ranked: list[str]
    faults: Mapping[str, str]


def variant(machine: Hardware, offer: Offer, wishes: Wishes, known: Known, culprit: str = "") -> Decision:
    """The CPU variant, as `pick` picks it, with the reasons of all others."""
    picked = pick(machine, offer, wishes, known, culprit)
    return Decision("kernel", picked.name, picked.reason, tuple(_losers(picked, machine, known)))


def pick(machine: Hardware, offer: Offer, wishes: Wishes, known: Known, culprit: str = "") -> Pick:
    """The CPU variant. ``culprit`` is what was to blame for ``known.crash``, a variant or a device.

    Raises UnknownName or InputError for a forced variant that cannot run, and SolofileError when none can.
    """
    held = frozenset(offer.variants)
    ranked = [name for name in kernels.family(held) if name in held]
    able = kernels.able(held, machine.features)
    if not able:
        raise SolofileError(
            f"None of the kernels in this bundle ({', '.join(ranked) or 'none for this system'}) runs on this CPU: "
            "rebuild the bundle with --kernels all."
        )
    faults = dict(_faults(able, known, wishes))
    crashed = bool(known.crash) and ":" not in culprit
    if crashed and (known.crash != ILLEGAL or culprit == able[-1]):
        name, reason = able[-1], f"the run before ended with {known.crash}, so nothing that a CPU may lack is used"
    elif crashed:
        faults[culprit] = f"the run before ended with {known.crash} on it"
        name, reason = _best(able, faults, known, len(ranked))
        reason = f"the run before ended with {known.crash} on {culprit}, and this is {reason}"
    elif wishes.kernel is not None:
        name, reason = _forced(wishes.kernel, ranked, machine, wishes, known), "it was asked for with --kernel"
    else:
        name, reason = _best(able, faults, known, len(ranked))
    return Pick(name, reason, ranked, faults)


def _forced(name: str, ranked: list[str], machine: Hardware, wishes: Wishes, known: Known) -> str:
    if name not in ranked:
        raise UnknownName("kernel variant", name, ranked, where="this bundle")
    lacks = kernels.missing(name, machine.features)
    if lacks:
        needs = ", ".join(lacks)
        raise InputError(f"The kernel variant {name} needs {needs}, which this CPU lacks: leave --kernel out.")
    fault = _tried(name, wishes, known)
    if fault:
        raise InputError(f"The kernel variant {name} {fault}: leave --kernel out.")
    return name


def _faults(able: list[str], known: Known, wishes: Wishes) -> Iterator[tuple[str, str]]:
    """Yield (variant, why it should not be used)."""
    for name in able:
        fault = known.crashes.get(name) or _tried(name, wishes, known)
        if fault:
            yield name, f"{fault}: --kernel {name} tries it again"


def _tried(name: str, wishes: Wishes, known: Known) -> str:
    """What trying it said against a variant; where it is not to repack, it may have been tried so."""
    fault = tried(known.probes.get(name))
    return fault or (tried(known.probes.get(cpu_key(name, False))) if wishes.repack is False else "")


def _best(able: list[str], faults: Mapping[str, str], known: Known, candidates: int) -> tuple[str, str]:
    """The variant to use and why. Where everything is at fault, it is not the variants' fault."""
    sound = [name for name in able if name not in faults]
    if any(name in known.probes and known.probes[name].status == HUNG for name in able):
        # One that hangs tells of a slow disk as well as of the variant: do not try all of them.
        sound = [name for name in sound if name in known.probes] or [name for name in sound if name == able[-1]]
    sound = sound or [name for name in able if name not in known.crashes] or able[-1:]
    first = sound[0]
    times = {name: time for name in sound if (time := measured.thorough(known.probes.get(name))) is not None}
    fastest = min(times, key=lambda name: times[name], default=first)
    if first in times and times[fastest] * measured.CLEARLY < times[first]:
        rates = measured.against(known.probes[fastest], known.probes[first])
        return fastest, f"measured faster than {first}, which by its features should be: {rates}"
    used = kernels.highlight(first) or "no more than every CPU of its kind has"
    if candidates == 1:
        return first, f"the only one in this bundle, using {used}"
    better = able[0] if able[0] in faults and able[0] != first else ""
    can = f"that works here, since {better} {faults[better]}; it uses" if better else "for this CPU, using"
    return first, f"the fastest of the {candidates} in this bundle {can} {used}"


def _losers(picked: Pick, machine: Hardware, known: Known) -> Iterator[tuple[str, str]]:
    chosen, mine = picked.name, known.probes.get(picked.name)
    for name in kernels.family(picked.ranked):
        lacks = kernels.missing(name, machine.features)
        if name == chosen:
            continue
        if lacks:
            yield name, f"needs {', '.join(lacks)}, which this CPU lacks"
        elif name not in picked.ranked:
            yield name, "is not in this bundle: build it with --kernels all"
        elif name in picked.faults:
            yield name, picked.faults[name]
        elif kernels.score(name) < kernels.score(chosen) or measured.thorough(known.probes.get(name)) is not None:
            rates = measured.against(known.probes.get(name), mine)
            yield name, f"is slower than {chosen}" + (f": {rates}" if rates else "")
        else:
            yield name, f"was passed over: --kernel {name} uses it"


def repacks(variant: str, quantization: str) -> bool:
    """Has the variant another form for weights of a model of this quantization?"""
    features = kernels.VARIANTS.get(variant, ())
    kinds = [kind for feature, names in _REPACKED.items() if feature in features for kind in names]
    return any(kind in quantization.upper() for kind in kinds)


def may_repack(variant: str, quantization: str, known: Known) -> bool:
    """Is there anything to repack? A probe knows better than the quantization's name."""
    probe = known.probes.get(variant)
    size = probe.result.get("repacked") if probe is not None and probe.result is not None else None
    return size > 0 if isinstance(size, int) else repacks(variant, quantization)


def repack(variant: str, quantization: str, wishes: Wishes, known: Known) -> tuple[bool, Decision]:
    """Are weights copied into the order in which the variant reads them fastest?"""
    if wishes.repack is not None:
        option = "--repack" if wishes.repack else "--no-repack"
        return wishes.repack, Decision("repack", "on" if wishes.repack else "off", f"it was asked for with {option}")
    if not may_repack(variant, quantization, known):
        return True, Decision("repack", "nothing to repack", f"{variant} reads {quantization} weights as they are")
    packed, plain = (known.probes.get(cpu_key(variant, one)) for one in (True, False))
    first, second = measured.thorough(packed), measured.thorough(plain)
    if first is None or second is None:
        reason = f"{variant} reads {quantization} weights faster in an order of its own"
        return True, Decision("repack", "on", reason, _other("off", "has not been measured faster"))
    if second * measured.CLEARLY < first:
        reason = f"measured faster from the file's own pages: {measured.against(plain, packed)}"
        return False, Decision("repack", "off", reason, _other("on", "is slower"))
    reason = f"measured: {measured.against(packed, plain) or 'no difference that counts'}"
    return True, Decision("repack", "on", reason, _other("off", "is not clearly faster"))


def _other(value: str, reason: str) -> Losers:
    return ((value, reason),)
