"""Machines, a model, and probes as they would be remembered: what the tests of the choice are made of."""

from __future__ import annotations

from typing import Any

from solofile.runtime.choice import Choice, Known, Offer, Outcome, Wishes, choose
from solofile.runtime.hardware import Gpu, Hardware
from solofile.runtime.kernels import X86
from solofile.runtime.manifest import Model

GIB = 1 << 30
SSE42 = "sse sse2 ssse3 sse4_1 sse4_2"
AVX2 = f"{SSE42} avx f16c fma avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512cd avx512vl avx512dq avx512bw"
ZEN4 = f"{AVX512} avx512vbmi avx512_vnni avx512_bf16"

MODEL = Model("models/eight.gguf", "eight", "llama", 8_000_000_000, "Q4_0", 8192, True, None, 5_000_000_000)
RTX = Gpu("NVIDIA GeForce RTX 3060")
BOTH = Offer(tuple(X86), ("vulkan",))
CPU_ONLY = Offer(tuple(X86))


def machine(features: str = AVX2, **facts: Any) -> Hardware:
    """A desktop computer of 8 cores with 2 threads each and 32 GiB, but for ``facts``."""
    usual = {
        "cpu": "A CPU", "cores": 8, "logical": 16, "performance_cores": 8, "allowed": 16, "allowed_cores": 8,
        "memory_total": 32 * GIB, "memory": 28 * GIB,
    }  # fmt: skip
    return Hardware("linux-x86_64", features=frozenset(features.split()), **{**usual, **facts})


def measured(prompt: float, answer: float, *, quick: bool = False, **more: Any) -> Outcome:
    """A probe that went well: tokens a second of a prompt and of an answer."""
    seconds = {"1": 1 / answer, "64": 64 / prompt}
    return Outcome("ok", "", {"seconds": seconds, "quick": quick, **more}, "2025-01-31")


def listing(*devices: tuple[str, str, float], kind: str = "gpu") -> Outcome:
    """The devices of a backend: name, description, free GiB."""
    table = [
        {"name": name, "backend": "Vulkan", "description": text, "type": kind, "memory_free": int(free * GIB)}
        for name, text, free in devices
    ]
    return Outcome("ok", "", {"devices": table}, "2025-01-31")


def chosen(
    on: Hardware | None = None, offer: Offer = CPU_ONLY, wishes: Wishes | None = None, known: Known | None = None,
    model: Model = MODEL, **more: Any,
) -> Choice:  # fmt: skip
    """Choose for a machine, by default the usual one with nothing known and nothing wished."""
    return choose(on or machine(), model, offer, wishes or Wishes(), known or Known(), **more)


def losers(choice: Choice, part: str) -> dict[str, str]:
    """What lost, and why."""
    return dict(choice.of(part).losers)
