"""Which GPUs to try before a start: each backend is asked for its devices, then each of these is tried by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from solofile.runtime import measured
from solofile.runtime.choose_gpu import wanted_backends
from solofile.runtime.gpu_devices import SHOW_ALL, listed
from solofile.runtime.kernel_path import OK, SOFTWARE
from solofile.runtime.probe_plan import GPU_SECONDS, QUICK, Probe

if TYPE_CHECKING:
    from solofile.runtime.kernel_path import Known, Offer, Wishes


def gpus(cpu: Probe, offer: Offer, wishes: Wishes, known: Known) -> list[Probe]:
    """The probes of GPUs that are needed, and that of the ``cpu`` where its speed must be known to compare them."""
    found = list(_gpus(cpu, offer, wishes, known))
    compared = any(one.measure for one in found) or _has_devices(offer, known)
    return [*found, cpu] if compared and measured.work(known.probes.get(cpu.key)) is None else found


def _gpus(cpu: Probe, offer: Offer, wishes: Wishes, known: Known) -> Iterator[Probe]:
    for backend in wanted_backends(offer, wishes):
        usual = Probe(backend, cpu.variant, backend, threads=cpu.threads, timeout=GPU_SECONDS)
        hidden = usual._replace(key=backend + SOFTWARE, environment=tuple(sorted(SHOW_ALL.get(backend, {}).items())))
        insisted = bool(wishes.gpu_name) and backend in SHOW_ALL
        for listing in (usual, hidden) if insisted and _shows_none(usual.key, known) else (usual,):
            yield from _devices(listing, wishes, known)


def _shows_none(key: str, known: Known) -> bool:
    outcome = known.probes.get(key)
    return outcome is not None and outcome.status == OK and not listed(outcome)


def _devices(listing: Probe, wishes: Wishes, known: Known) -> Iterator[Probe]:
    """Yield the listing if it is not known, else what is not known of the devices that it showed."""
    outcome = known.probes.get(listing.key)
    if outcome is None:
        yield listing
    elif outcome.status == OK:
        for facts in listed(outcome):
            name = str(facts["name"])
            key = f"{listing.key}:{name}"
            crashed = f"{listing.backend}:{name}" in known.crashes and not wishes.gpu_name
            probe = known.probes.get(key)
            if not crashed and (probe is None or (probe.status == OK and measured.work(probe) is None)):
                batches = () if listing.environment else measured.LARGE  # a driver for CPUs would compile for seconds
                yield listing._replace(key=key, device=name, measure=QUICK, batches=batches)


def _has_devices(offer: Offer, known: Known) -> bool:
    """Is there a GPU whose speed is known?"""
    keys = tuple(f"{backend}:" for backend in offer.gpus)
    return any(key.startswith(keys) and measured.work(one) is not None for key, one in known.probes.items())
