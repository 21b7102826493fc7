"""The kernel path: what computes, and the plain data that it is chosen from (choice.py).

Named tuples throughout, since every start makes them (settings.py, record.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

ILLEGAL = "SIGILL"
"""The signal of a CPU that lacks an instruction: the one crash that is a CPU variant's own fault."""

OK, CRASHED, HUNG, FAILED, MISSING = "ok", "crashed", "hung", "failed", "missing"
"""How a probe ended: it computed; a signal ended it; it took too long; it said no; a library is not there."""

UNTRIED = "untried"
"""The child process could not be started: nothing to remember."""

SOFTWARE = "-cpu"
"""Behind a backend's name: the probe of those devices that compute on the CPU, which the backend hides by itself."""

Losers = tuple[tuple[str, str], ...]


class Offer(NamedTuple):
    """What a bundle holds for this system: CPU variants, and GPU backends by name (``vulkan``).

    ``needs`` are the libraries of the system without which a backend does not load (``libvulkan.so.1``), ``flash`` is
    the word for -fa that its stored prompt was made with, empty where there is none to use.
    """

    variants: tuple[str, ...]
    gpus: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = {}
    flash: str = ""


class Wishes(NamedTuple):
    """What the user said of the kernel path, None where nothing; the names are those of the options.

    ``gpu`` is ``none``, ``auto``, a backend or a device; ``device`` what -dev was given; ``cache_type`` the type of the
    V cache (-ctv).
    """

    kernel: str | None = None
    gpu: str | None = None
    gpu_layers: str | None = None
    device: str | None = None
    threads: int | None = None
    threads_batch: int | None = None
    batch: int | None = None
    ubatch: int | None = None
    flash: str | None = None
    repack: bool | None = None
    cache_ram: int | None = None
    load_mode: str | None = None
    numa: str | None = None
    context: int | None = None
    cache_type: str | None = None

    @property
    def no_gpu(self) -> str:
        """The option that says that no GPU is to be used; empty without one."""
        if self.gpu == "none":
            return "--gpu none"
        if self.device == "none":
            return "-dev none"
        return "-ngl 0" if self.gpu_layers == "0" else ""

    @property
    def gpu_name(self) -> str:
        """The backend or device that the user insists on; empty where the choice is ours."""
        if self.device not in (None, "none"):
            return str(self.device)
        return "" if self.gpu in (None, "auto", "none") else str(self.gpu)


class Outcome(NamedTuple):
    """How one probe ended: ``detail`` is the signal or some words for a person, ``result`` what it measured or listed.

    ``date`` is the day on which it was tried, such as 2025-01-31.
    """

    status: str
    detail: str = ""
    result: Mapping[str, Any] | None = None
    date: str = ""


def tried(outcome: Outcome | None) -> str:
    """What a probe says against what it tried, a predicate; empty where it says nothing."""
    if outcome is None or outcome.status == OK:
        return ""
    when = f" when it was tried on {outcome.date}" if outcome.date else " when it was tried"
    if outcome.status == MISSING:
        return f"cannot be loaded ({outcome.detail})"
    if outcome.status == UNTRIED:
        return f"could not be tried ({outcome.detail})"
    if outcome.status == HUNG:
        return f"gave {outcome.detail}{when}"
    return f"{'crashed' if outcome.status == CRASHED else 'failed'}{when} ({outcome.detail})"


class Known(NamedTuple):
    """What earlier starts on this machine measured and saw.

    ``probes`` by key: ``haswell``, ``haswell-norepack``, ``vulkan`` (its devices), ``vulkan:Vulkan0``. ``calibration``
    is this model's. ``crashes`` maps a variant or device to what happened (``crashed (SIGSEGV) on 2025-01-31``).
    ``crash`` is the signal that ended the run before this one, ``ran`` what was to blame for it if that is known.
    ``cache_ram`` are the MiB that memory.py leaves for the prompt cache, None before it has said.
    """

    probes: Mapping[str, Outcome] = {}
    calibration: Mapping[str, Any] | None = None
    crashes: Mapping[str, str] = {}
    crash: str | None = None
    ran: str = ""
    cache_ram: int | None = None


class KernelPath(NamedTuple):
    """What computes and how.

    ``backend`` and ``device`` are empty without a GPU; ``gpu_layers`` is a number, ``auto`` (llama.cpp's own fit) or
    ``all``; ``cache_ram`` is in MiB; ``load_mode`` as llama.cpp names it; ``numa`` empty for none; ``context`` 0 for
    the model's own. ``environment`` must be set before the libraries load. ``workers`` are other machines that compute
    a part of the layers, ``rpc_devices`` theirs as llama.cpp names them, ``split`` how the layers are shared out (-ts).
    """

    variant: str
    backend: str = ""
    device: str = ""
    gpu_layers: str = "0"
    threads: int = 1
    threads_batch: int = 1
    repack: bool = True
    flash: str = "auto"
    batch: int = 2048
    ubatch: int = 512
    cache_ram: int = 0
    load_mode: str = "auto"
    numa: str = ""
    context: int = 0
    environment: tuple[tuple[str, str], ...] = ()
    workers: tuple[str, ...] = ()
    rpc_devices: tuple[str, ...] = ()
    split: str = ""

    @property
    def cpu_key(self) -> str:
        """The CPU's part, as probes of it are called."""
        return cpu_key(self.variant, self.repack)

    @property
    def gpu_key(self) -> str:
        """The GPU, as probes of it are called; empty without one."""
        return f"{self.backend}:{self.device}" if self.backend else ""

    @property
    def is_software(self) -> bool:
        """Is the GPU none, but a driver that computes on the CPU, which its backend shows only when it is told to?"""
        return bool(self.backend and self.environment)

    @property
    def key(self) -> str:
        """What a calibration is for: it holds for no other path."""
        return f"{self.cpu_key}+{self.gpu_key}" if self.backend else self.cpu_key


def cpu_key(variant: str, repack: bool = True) -> str:
    """The name of a CPU variant's probe."""
    return variant if repack else f"{variant}-norepack"


class Decision(NamedTuple):
    """One part of the path: its value, why, and (value, reason) of each candidate that lost, the best first."""

    part: str
    value: str
    reason: str
    losers: Losers = ()


class Choice(NamedTuple):
    """A kernel path and how each part of it was decided; ``note`` says what the memory changed, where it did."""

    path: KernelPath
    decisions: tuple[Decision, ...]
    note: str = ""

    def of(self, part: str) -> Decision:
        """The decision on one part."""
        return next(one for one in self.decisions if one.part == part)

    def decided(self, path: KernelPath, *decisions: Decision) -> Choice:
        """The same with another ``path`` and these decisions in place of the ones on the same parts."""
        new = {one.part: one for one in decisions}
        return self._replace(path=path, decisions=tuple(new.get(one.part, one) for one in self.decisions))

    @property
    def sentence(self) -> str:
        """What computes and why, and what the memory changed: the line of every start."""
        return f"{self._kernels} {self.note}".rstrip()

    @property
    def _kernels(self) -> str:
        path, gpu = self.path, self.of("gpu")
        threads = f"{path.threads} thread{'' if path.threads == 1 else 's'}"
        if path.threads_batch != path.threads:
            threads += f", {path.threads_batch} for prompts"
        if path.backend:
            return f"Kernels: {gpu.value}, and {path.variant} on {threads} beside it ({gpu.reason})."
        remark = f"; no GPU: {gpu.reason}" if gpu.losers else ""
        return f"Kernels: {path.variant} on {threads} ({self.of('kernel').reason}){remark}."

    def report(self) -> dict[str, Any]:
        """All of it as plain data, for --doctor."""
        path = self.path._asdict() | {"environment": dict(self.path.environment), "key": self.path.key}
        decisions = [
            one._asdict() | {"losers": [{"value": value, "reason": reason} for value, reason in one.losers]}
            for one in self.decisions
        ]
        return {"sentence": self.sentence, "note": self.note, "path": path, "decisions": decisions}
