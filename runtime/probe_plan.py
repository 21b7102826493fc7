"""What is worth trying in a child process, before a start and while nobody asks anything: a pure decision.

Before the first start on a machine: the CPU variant that is to be used (does it run at all?), the devices of each GPU
backend and each of these devices, and what a comparison with them needs. While idle: what could overrule a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from solofile.runtime import choose_cpu, choose_gpu, kernels, measured
from solofile.runtime.kernel_path import OK, KernelPath, Outcome, cpu_key

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import Known, Offer, Wishes
    from solofile.runtime.manifest import Model
else:
    from solofile.runtime.record import NamedTuple

Run = Callable[["Probe"], Outcome]
Say = Callable[[str], None]

CPU_SECONDS, GPU_SECONDS = 5.0, 20.0
"""What a child may take: a GPU's driver compiles shaders first."""

QUICK, _THOROUGH = 0.05, 0.25
_FEW_BYTES, _MANY_BYTES = 8 << 20, 64 << 20
_RIVALS = 2


class Probe(NamedTuple):
    """One thing to try: ``key`` as in Known.probes, the libraries by ``variant`` and ``backend``, and what is measured.

    Without ``measure`` only the devices are listed. ``measure`` are the seconds for each of the measurements,
    ``batches`` the numbers of tokens that are computed at once besides the usual ones, ``sample`` the bytes of weights
    to take; ``timeout`` are the seconds that the child may take in all. In the ``background`` it gives way to whatever
    else wants the CPUs.
    """

    key: str
    variant: str
    backend: str = ""
    device: str = "CPU"
    repack: bool = True
    threads: int = 1
    measure: float = 0.0
    sample: int = _MANY_BYTES
    batches: tuple[int, ...] = ()
    attention: bool = False
    timeout: float = CPU_SECONDS
    background: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def quick(self) -> bool:
        """Is it too short to tell variants apart?"""
        return self.measure < _THOROUGH

    @property
    def comparable(self) -> bool:
        """Are so many weights read that no cache holds them, as in an answer?"""
        return self.sample == _MANY_BYTES

    @property
    def shown(self) -> str:
        """What is tried, for a person."""
        if not self.backend:
            return self.variant
        backend = f"{self.backend} on the CPU" if self.environment else self.backend
        return f"{self.device} ({backend})" if self.measure else backend

    def spec(self, member: str) -> dict[str, Any]:
        """What ``sf_probe`` is asked."""
        return {
            "member": member, "device": self.device, "threads": self.threads, "repack": self.repack,
            "seconds": self.measure, "bytes": self.sample, "tokens": [1, measured.BATCH, *self.batches],
            "attention": int(self.attention),
        }  # fmt: skip


def settle(
    machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known, run: Run, say: Say, root: str = "/"
) -> tuple[Known, dict[str, Outcome]]:
    """Try whatever the choice for this start needs to know; returns what is known then, and what is new of it.

    ``run`` tries one thing (it unpacks the libraries that it needs first). Nothing is tried, and nothing of this takes
    time, where all is known. Raises UnknownName or InputError as the choice does.
    """
    known = retried(known, wishes)
    new: dict[str, Outcome] = {}
    while True:
        wanted = before(machine, model, offer, wishes, known)
        probe = next((one for one in wanted if one.key not in new), None)
        if probe is None:
            return known, new
        from solofile.runtime import trying  # few starts have anything to try

        new[probe.key] = trying.attempt(probe, offer, run, say, root)
        fault = trying.fault(probe, new[probe.key])
        if fault and not insisted(probe, wishes):  # else the choice says it, and ends
            say(fault)
        known = known._replace(probes={**known.probes, probe.key: new[probe.key]})


def before(machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known) -> list[Probe]:
    """What must be tried before a start with so much ``known``; ask again when the first of it has been.

    Raises UnknownName or InputError as the choice does.
    """
    if known.crash:  # the second start: nothing that may crash again
        return []
    choose_gpu.wanted_backends(offer, wishes)  # what cannot be had is an error before anything is tried
    variant = choose_cpu.pick(machine, offer, wishes, known).name
    packed, _ = choose_cpu.repack(variant, model.quantization, wishes, known)
    cpu = Probe(cpu_key(variant, packed), variant, repack=packed, threads=_threads(machine, wishes), measure=QUICK)
    may_use_gpu = offer.gpus and not wishes.no_gpu and (machine.gpus or wishes.gpu_name)
    if variant not in known.probes and cpu.key not in known.probes:
        # Where there is nothing to compare it with, few weights do: they may have to come from a slow medium.
        return [cpu if may_use_gpu else cpu._replace(sample=_FEW_BYTES)]
    if not may_use_gpu:
        return []
    from solofile.runtime import gpu_plan

    return gpu_plan.gpus(cpu, offer, wishes, known)


def _threads(machine: Hardware, wishes: Wishes) -> int:
    return wishes.threads if wishes.threads is not None and wishes.threads > 0 else machine.threads


def idle(machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known, path: KernelPath) -> list[Probe]:
    """What to measure at length while nobody asks anything, for later starts: what could be faster than ``path``."""
    if known.crash or path.gpu_layers == "all":
        return []
    if machine.quota is not None and machine.quota < path.threads:
        return []  # stopped again and again, it would measure the stops, and take of the quota what a request needs
    mine = Probe(
        path.cpu_key, path.variant, repack=path.repack, threads=path.threads, measure=_THOROUGH, background=True
    )  # fmt: skip
    wanted = [mine._replace(attention=True, timeout=2 * CPU_SECONDS)]
    if wishes.repack is None and choose_cpu.may_repack(path.variant, model.quantization, known):
        wanted.append(mine._replace(key=cpu_key(path.variant, not path.repack), repack=not path.repack))
    if wishes.kernel is None:
        rivals = [name for name in kernels.family(offer.variants) if _may_win(name, path, machine, offer, known)]
        wanted += [mine._replace(key=name, variant=name, repack=True) for name in rivals[:_RIVALS]]
    return [one for one in wanted if measured.thorough(known.probes.get(one.key)) is None]


def _may_win(name: str, path: KernelPath, machine: Hardware, offer: Offer, known: Known) -> bool:
    if name == path.variant or name not in offer.variants or kernels.missing(name, machine.features):
        return False
    probe = known.probes.get(name)
    return name not in known.crashes and (probe is None or probe.status == OK)


def insisted(probe: Probe, wishes: Wishes) -> bool:
    """Is it what the user insists on that is tried?"""
    return bool(wishes.gpu_name) if probe.backend else probe.variant == wishes.kernel


def retried(known: Known, wishes: Wishes) -> Known:
    """The same without what speaks against a part that the user insists on: it is tried again."""
    kernel, gpu = wishes.kernel, wishes.gpu_name.lower().rstrip("0123456789,")
    probes = {
        key: one
        for key, one in known.probes.items()
        if one.status == OK or not (key == kernel or (gpu and key.lower().startswith(gpu)))
    }
    return known._replace(probes=probes)
