"""What a machine has, as --doctor --json and ``solofile doctor --json`` print it."""

from __future__ import annotations

from typing import Any

from solofile.runtime import hardware, kernels
from solofile.runtime.hardware import Hardware


def report(machine: Hardware) -> dict[str, Any]:
    """The section on the hardware; sizes in bytes, doctor.py names the keys."""
    known = {flag for flags in kernels.FLAGS.values() for flag in flags}
    return {
        "target": machine.target,
        "summary": hardware.describe(machine),
        "cpu": machine.cpu,
        "vendor": machine.vendor,
        "features": sorted(machine.features & known),
        "sockets": machine.sockets,
        "cores": machine.cores,
        "logical": machine.logical,
        "performance_cores": machine.performance_cores,
        "efficiency_cores": machine.efficiency_cores,
        "allowed_cpus": machine.allowed,
        "allowed_cores": machine.allowed_cores,
        "container_limit": machine.quota,
        "threads": machine.threads,
        "memory_total": machine.memory_total,
        "memory_available": machine.memory,
        "memory_limit": machine.memory_limit,
        "swap_free": machine.swap_free,
        "caches": [one._asdict() for one in machine.caches],
        "numa": [one._asdict() | {"cpus": sorted(one.cpus)} for one in machine.numa],
        "gpus": [one._asdict() for one in machine.gpus],
    }
