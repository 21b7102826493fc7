"""The choice of the kernel path: a pure function of the machine, the model, the bundle, the user's wishes and of what
earlier starts measured and saw.

What it decides on: the CPU variant and whether it repacks (choose_cpu.py), a GPU (choose_gpu.py), threads, batches and
flash attention (choose_work.py), prompt cache, load mode, NUMA and context (choose_memory.py). Rules decide, a measured
difference overrules a rule when it is clear, and what the user forces counts above all; a forced part that cannot work
is an error. After a crash the same start goes on without what crashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from solofile.runtime import choose_cpu, choose_gpu, choose_memory, choose_work
from solofile.runtime.errors import InputError
from solofile.runtime.kernel_path import Choice, Decision, KernelPath, Known, Offer, Outcome, Wishes, cpu_key

if TYPE_CHECKING:
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.manifest import Model
    from solofile.runtime.options import Given

__all__ = ["Choice", "Decision", "KernelPath", "Known", "Offer", "Outcome", "Wishes", "arguments", "blame", "choose",
           "overruled", "wishes"]  # fmt: skip


def wishes(kernel: str | None, gpu: str | None, given: Sequence[Given]) -> Wishes:
    """What the user and the bundle's default arguments say of the path: --kernel, --gpu and llama.cpp's options."""
    texts = {one.option.key: one.values[-1] for one in given if one.values}
    flags = {one.option.key: not one.negated for one in given if not one.values}

    def number(key: str) -> int | None:
        return int(texts[key]) if key in texts else None

    return Wishes(
        kernel, gpu, texts.get("-ngl"), _own_devices(texts.get("-dev")), number("-t"), number("-tb"), number("-b"),
        number("-ub"), texts.get("-fa"), flags.get("--repack"), number("-cram"), texts.get("-lm"), texts.get("--numa"),
        number("-c"), texts.get("-ctv"),
    )  # fmt: skip


def _own_devices(names: str | None) -> str | None:
    """What of -dev is about this machine: workers' devices are called RPC0 and so on."""
    own = [name for name in (names or "").split(",") if name and not name.strip().upper().startswith("RPC")]
    return ",".join(own) or None


def choose(
    machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known, lockable: int | None = None
) -> Choice:
    """Choose the kernel path for a start. ``lockable`` are the bytes of memory that may be locked, None for any number.

    Raises UnknownName or InputError for a forced part that cannot work, and SolofileError where no kernel runs here.
    """
    culprit = blame(machine, model, offer, wishes, known) if known.crash else ""
    kernel = choose_cpu.variant(machine, offer, wishes, known, culprit)
    packed, repack = choose_cpu.repack(kernel.value, model.quantization, wishes, known)
    cpu = known.probes.get(cpu_key(kernel.value, packed)) or known.probes.get(kernel.value)
    gpu, gpu_decision = choose_gpu.gpu(machine, model, offer, wishes, known, cpu, culprit)
    path = KernelPath(kernel.value, gpu.backend, gpu.device, gpu.layers, repack=packed, environment=gpu.environment)
    calibration = known.calibration if known.calibration and known.calibration.get("path") == path.key else {}
    threads, threads_batch, thread_decisions = choose_work.threads(machine, wishes, calibration)
    batch, ubatch, batches = choose_work.batches(path, wishes, known)
    context, context_decision = choose_memory.context(model, wishes)
    flash, flash_decision = choose_work.flash(path, context or model.context_length or 0, wishes, known, offer.flash)
    cache_ram, cache = choose_memory.prompt_cache(machine, model, wishes, known)
    load_mode, loading = choose_memory.load_mode(model, wishes, lockable)
    numa, nodes = choose_memory.numa(machine, wishes)
    path = path._replace(
        threads=threads, threads_batch=threads_batch, flash=flash, batch=batch, ubatch=ubatch, cache_ram=cache_ram,
        load_mode=load_mode, numa=numa, context=context,
    )  # fmt: skip
    layers = Decision("gpu layers", path.gpu_layers, _layers(path, wishes))
    how = (*thread_decisions, batches, flash_decision, cache, loading, nodes, context_decision)
    return Choice(path, (kernel, repack, gpu_decision, layers, *how))


def _layers(path: KernelPath, wishes: Wishes) -> str:
    if not path.backend:
        return "there is no GPU in use" + (f": -ngl {wishes.gpu_layers} does nothing" if wishes.gpu_layers else "")
    if wishes.gpu_layers is not None:
        return f"it was asked for with -ngl {wishes.gpu_layers}"
    return "all fit with room to spare" if path.gpu_layers == "all" else "llama.cpp fits them to the free memory"


def blame(machine: Hardware, model: Model, offer: Offer, wishes: Wishes, known: Known) -> str:
    """What was in use when the run before crashed: a GPU such as ``vulkan:Vulkan0``, or a CPU variant.

    Where nobody noted it, it is what would have been chosen, since the same start with the same knowledge chooses so.
    """
    if known.ran:
        return known.ran
    try:
        path = choose(machine, model, offer, wishes, known._replace(crash=None)).path
    except InputError:  # the user insists on what nobody could note any more
        return f"{offer.gpus[0]}:{wishes.gpu_name}" if offer.gpus and wishes.gpu_name else wishes.kernel or ""
    return path.gpu_key or path.variant


def arguments(path: KernelPath, wishes: Wishes) -> tuple[str, ...]:
    """The arguments of llama-server that make it take this path, but for those that the user gave."""
    devices = (*path.rpc_devices, *([path.device] if path.device else []))
    rows: tuple[tuple[object, tuple[str, ...]], ...] = (
        (_positive(wishes.threads), ("-t", str(path.threads))),
        (_positive(wishes.threads_batch), ("-tb", str(path.threads_batch))),
        (wishes.batch, ("-b", str(path.batch))),
        (wishes.ubatch, ("-ub", str(path.ubatch))),
        (wishes.flash, ("-fa", path.flash)),
        (wishes.repack, () if path.repack else ("--no-repack",)),
        (wishes.cache_ram, ("--cache-ram", str(path.cache_ram))),
        (wishes.load_mode, ("--load-mode", path.load_mode)),
        (wishes.numa, ("--numa", path.numa) if path.numa else ()),
        (wishes.gpu_layers if devices else None, ("-ngl", path.gpu_layers) if devices else ()),
        (wishes.device if path.backend else None, ("-dev", ",".join(devices) or "none")),
        (None, ("-ts", path.split) if path.split else ()),
    )
    return tuple(word for wish, words in rows if wish is None for word in words)


def _positive(count: int | None) -> int | None:
    return count if count is not None and count > 0 else None


def overruled(path: KernelPath, wishes: Wishes) -> frozenset[str]:
    """The user's options (their keys) that must not reach llama.cpp.

    Those for a GPU, where none is in use; numbers of threads that leave it to llama.cpp, which takes too many; and a
    context of 0, which would undo what was found to fit.
    """
    gone = {key for key, wish in (("-t", wishes.threads), ("-tb", wishes.threads_batch)) if wish != _positive(wish)}
    if wishes.context == 0:
        gone.add("-c")
    if not path.backend and not path.workers and (wishes.device is not None or wishes.gpu_layers is not None):
        gone |= {"-dev", "-ngl"}
    return frozenset(gone)
