"""Whether a GPU computes, which, and how much of the model it takes: pure decisions.

A GPU is used because it is faster for this model, not because it is there: it must have computed well in a child
process, and with as much of the model as its memory holds the usual piece of work (measured.py) must take clearly less
time than on the CPU alone. llama.cpp decides on the number of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solofile.runtime import measured
from solofile.runtime.errors import InputError, UnknownName
from solofile.runtime.kernel_path import Decision, Outcome

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.gpu_devices import Device
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import Known, Offer, Wishes
    from solofile.runtime.manifest import Model
else:
    from solofile.runtime.record import NamedTuple

WORTH = 1.1
"""How many times as fast as the CPU a GPU must be."""


class Gpu(NamedTuple):
    """The GPU's part of a kernel path, by default none; see KernelPath."""

    backend: str = ""
    device: str = ""
    layers: str = "0"
    environment: tuple[tuple[str, str], ...] = ()


def gpu(
    machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known, cpu: Outcome | None, culprit: str = ""
) -> tuple[Gpu, Decision]:
    """The GPU to use, if any. ``cpu`` is the probe of the chosen variant, ``culprit`` what ``known.crash`` is due to.

    Raises UnknownName or InputError where the user insists on one that cannot be used.
    """
    backends = wanted_backends(offer, wishes)
    if known.crash:
        return Gpu(), _crashed(known.crash, culprit)
    if wishes.no_gpu:
        return Gpu(), Decision("gpu", "none", f"it was asked for with {wishes.no_gpu}")
    if not offer.gpus:
        return Gpu(), _without_library(machine)
    if not (machine.gpus or wishes.gpu_name or any(name in known.probes for name in backends)):
        reason = f"this machine shows none: --gpu {backends[0]} tries {backends[0]} all the same"
        return Gpu(), Decision("gpu", "none", reason)
    from solofile.runtime import gpu_devices

    found = [device for name in backends for device in gpu_devices.find(name, model, known)]
    if wishes.gpu_name:
        return _forced(wishes, found, cpu)
    return _fastest(wishes, found, cpu)


def wanted_backends(offer: Offer, wishes: Wishes) -> list[str]:
    """The bundle's backends that come into question. Raises UnknownName or InputError for what it does not hold."""
    wanted = wishes.gpu_name
    if wanted and wishes.no_gpu:
        raise InputError(f"The GPU {wanted} and {wishes.no_gpu} are both asked for: give one of them.")
    found = [name for name in offer.gpus if not wanted or _serves(name, wanted)]
    if found or not wanted:
        return found
    if offer.gpus and wishes.device is not None:  # a backend may call its devices as it likes
        return list(offer.gpus)
    if offer.gpus:
        raise UnknownName("GPU", wanted, offer.gpus, where="this bundle")
    kind = wanted.rstrip("0123456789").lower()
    raise InputError(f"This bundle holds no GPU library, so {wanted} cannot be used: build it with --gpu {kind}.")


def _serves(backend: str, wanted: str) -> bool:
    """Is ``wanted`` (``vulkan``, ``Vulkan0``, ``Vulkan0,Vulkan1``) this backend, or devices of it?"""
    names = [name.strip().lower() for name in wanted.split(",")]
    return all(backend.lower() in (name, name.rstrip("0123456789")) for name in names)


def _crashed(crash: str, culprit: str) -> Decision:
    backend, colon, device = culprit.partition(":")
    reason = f"the run before ended with {crash}" + (f" on {device}" if colon else "")
    lost = ((device, f"was in use when the run before ended: --gpu {backend} tries it again"),) if colon else ()
    return Decision("gpu", "none", reason, lost)


def _without_library(machine: Hardware) -> Decision:
    if not machine.gpus:
        return Decision("gpu", "none", "this machine shows none, and this bundle holds no GPU library")
    reason = "this bundle holds no GPU library: build it with --gpu vulkan"
    return Decision("gpu", "none", reason, tuple((one.name, reason) for one in machine.gpus))


def _forced(wishes: Wishes, found: list[Device], cpu: Outcome | None) -> tuple[Gpu, Decision]:
    """The best of what the user insists on; whether it is faster than the CPU is the user's own business."""
    wanted = [name.strip().lower() for name in wishes.gpu_name.split(",")]
    named = [one for one in found if wanted == [one.backend.lower()] or one.name.lower() in wanted]
    usable = [one for one in named if one.name and not one.fault]
    if not usable or (len(wanted) > 1 and len(usable) < len(wanted)):
        bad = [one for one in named or found if one.fault]
        faults = " and ".join(f"{one.shown} {one.fault}" for one in bad) or "there is no such device"
        raise InputError(
            f"The GPU {wishes.gpu_name} cannot be used, since {faults}: install or update its driver, or leave it out."
        )
    best = min(usable, key=lambda one: (one.hidden, one.seconds is None, one.seconds or 0.0))
    used = usable if len(wanted) > 1 else [best]
    reason = f"{wishes.gpu_name} was asked for{_rates(best, cpu)}"
    return _use(wishes, used, found, reason, "is not the one that was asked for")


def _fastest(wishes: Wishes, found: list[Device], cpu: Outcome | None) -> tuple[Gpu, Decision]:
    """The GPUs with which the model is fastest, if that is worth it."""
    alone = measured.work(cpu)
    sound = [one for one in found if not one.against and not one.hidden]
    from solofile.runtime.gpu_devices import fill

    used, seconds = fill(sound, alone) if alone is not None else ([], 0.0)
    if used and alone is not None and seconds * WORTH <= alone:
        reason = f"measured {measured.speed(alone / seconds)} times as fast as the CPU"
        return _use(wishes, used, found, reason, "is not needed beside it")
    lost = [(one.shown, one.against or _slow(one, cpu)) for one in found]
    name, reason = lost[0]
    return Gpu(), Decision("gpu", "none", f"{name} {reason}", tuple(lost))


def _slow(device: Device, cpu: Outcome | None) -> str:
    """Why a device that works is not used."""
    again = f"--gpu {device.backend} forces it"
    if device.hidden:
        return f"computes on the same cores as the CPU's own kernels{_rates(device, cpu)}: {again}"
    if device.seconds is None or measured.work(cpu) is None:
        return f"has not been compared with the CPU: {again}"
    if device.share < 0.05:
        return f"has too little free memory for this model: {again}"
    part = "" if device.share == 1 else f", and {device.share:.0%} of the model fit into its free memory"
    return f"has not been measured clearly faster{_rates(device, cpu)}{part}: {again}"


def _rates(device: Device, cpu: Outcome | None, before: str = ", at ") -> str:
    """The speeds of a device and the CPU, where both were measured."""
    rates = measured.against(device.probe, cpu)
    return before + rates if rates else ""


def _use(wishes: Wishes, used: list[Device], found: list[Device], reason: str, other: str) -> tuple[Gpu, Decision]:
    layers = wishes.gpu_layers or ("all" if all(one.roomy for one in used) else "auto")
    many = {"all": "all layers", "auto": "as many layers as fit"}.get(layers, f"{layers} layers")
    value = f"{' and '.join(one.shown for one in used)} with {many}"
    lost = [(one.shown, one.against or other) for one in found if one not in used]
    names = ",".join(one.name for one in used)
    return Gpu(used[0].backend, names, layers, used[0].environment), Decision("gpu", value, reason, tuple(lost))
