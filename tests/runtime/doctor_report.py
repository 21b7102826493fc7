"""Reports of --doctor as they would be on recorded machines: what the tests of its text are made of.

``python tests/runtime/doctor_report.py NAME`` shows the text for one of them.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent)]

from choice_support import MODEL, listing, measured  # noqa: E402
from machine_files import unpack  # noqa: E402
from solofile.runtime import choice, choose_memory, doctor, doctor_text, hardware_report, memory  # noqa: E402
from solofile.runtime.hardware import Hardware, detect  # noqa: E402
from solofile.runtime.kernel_path import Known, Offer, Outcome, Wishes  # noqa: E402
from solofile.runtime.kernels import ARM_LINUX, X86  # noqa: E402
from solofile.runtime.memory import Estimate, Fit, Room  # noqa: E402

GB = 10**9
ESTIMATE = Estimate(8192, 8192, 5 * GB, 4 * GB, GB, 300_000_000)
CALIBRATION = {
    "path": "haswell", "date": "2026-11-03", "decode": {"4": 9.04, "8": 11.4}, "prompt": {"8": 80.1, "16": 92.3},
}  # fmt: skip
TRIED = {
    "haswell": measured(90, 11.4), "vulkan": listing(("Vulkan0", "NVIDIA GeForce RTX 3060", 11.0)),
    "vulkan:Vulkan0": Outcome("crashed", "SIGSEGV", None, "2026-11-02"),
}  # fmt: skip
VULKAN = {"requires": "glibc 2.17", "needs": ["libvulkan.so.1"], "lacks": ["cooperative matrices"]}


def report(
    machine: Hardware, *, known: Known | None = None, wishes: Wishes | None = None, gpus: tuple[str, ...] = (),
    estimate: Estimate = ESTIMATE, fit: Fit | None = None, variants: tuple[str, ...] = (), **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """The report for a model of 8 billion weights on a ``machine``; ``changes`` replace sections."""
    arm = machine.target.endswith("aarch64")
    held = variants or tuple(ARM_LINUX if arm else X86)
    known, wishes, room = known or Known(), wishes or Wishes(), Room(machine.memory, machine.memory_limit)
    chosen = choice.choose(machine, MODEL, Offer(held, gpus), wishes, known)
    found = fit or Fit(estimate)
    chosen = choose_memory.fitted(chosen, machine, MODEL, wishes, found, room, frozenset())
    sections: dict[str, Any] = {
        "format": 1, "solofile": "0.1.0", "problems": [], "hardware": hardware_report.report(machine),
        "choice": {
            **chosen.report(), "refused": found.refusal, "calibration": known.calibration,
            "probes": {key: one._asdict() for key, one in known.probes.items()}, "crashes": dict(known.crashes),
            "memory": memory.table(found.estimate, room, chosen.path.cache_ram), "notes": [],
        },
        "bundle": {
            "path": "/home/anna/eight.exe", "size": 5_020_000_000, "name": "eight", "title": "Eight",
            "built_by": "0.1.0",
            "llama_cpp": {"version": "0.5.0", "commit": "0c1e570d"}, "targets": {machine.target: "glibc 2.17"},
            "kernels": {machine.target: list(held)}, "gpus": {machine.target: dict.fromkeys(gpus, VULKAN)},
            "models": [dataclasses.asdict(MODEL)], "default_model": MODEL.path, "arguments": [],
        },
        "cache": {"path": "/home/anna/.cache/solofile", "writable": True, "free": 80 * GB, "folders": [],
                  "crashes": []},
    }  # fmt: skip
    sections |= changes
    return sections | {"problems": list(doctor.problems(sections))}


def of(name: str, folder: Path, **more: Any) -> dict[str, Any]:
    """The report on a recorded machine, whose files are written below ``folder``."""
    machine = detect(unpack(name, folder))
    target = "linux-aarch64" if "asimd" in machine.features else "linux-x86_64"
    return report(machine._replace(target=target), **more)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        tried = Known(TRIED, CALIBRATION, crashes={"vulkan:Vulkan0": "crashed (SIGSEGV) on 2026-11-03"})
        usual = {"known": tried, "gpus": ("vulkan",)} if "-v" in sys.argv else {}
        print(doctor_text.page(of(sys.argv[1], Path(place), **usual)), end="")
