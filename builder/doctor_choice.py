"""What a bundle would choose on this machine, for ``solofile doctor``, by the runtime's own functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from solofile.builder import native
from solofile.builder.targets import TARGETS, find_kernels
from solofile.runtime import (
    bridge,
    choice,
    doctor_text,
    doctor_unused,
    hardware,
    hardware_report,
    native_probe,
    text_columns,
)
from solofile.runtime.errors import SolofileError
from solofile.runtime.hardware import Hardware
from solofile.runtime.kernel_path import Known, Offer, Wishes
from solofile.runtime.manifest import Model

_USUAL = Model("", "", "llama", 8_000_000_000, "Q4_K_M", 8192, True, None, 4_900_000_000)
"""The model that is thought of: what depends on it is not shown."""

_SHOWN = ("kernel", "gpu", "gpu layers", "threads", "threads for prompts", "NUMA")

Report = Mapping[str, Any]


class Seen(NamedTuple):
    """This machine, who told the features of its CPU, and the sentence where those who should know them cannot."""

    machine: Hardware
    source: str
    fault: str = ""


def look() -> Seen:
    """This machine, by the CPU's own word once native libraries have been built that can ask it."""
    folder = native.libraries_folder() if hardware.target() in TARGETS else None
    if folder is None:
        return Seen(hardware.detect(), "as the system lists them, until native libraries are built that ask the CPU")
    try:
        library = bridge.load(folder)
    except SolofileError as error:
        return Seen(hardware.detect(), "as the system lists them", str(error))
    return Seen(hardware.detect(cpu=lambda: native_probe.cpu(library)), "as the CPU itself tells them")


def report(machine: Hardware) -> dict[str, Any]:
    """The hardware, and the choice of a bundle that holds all kernels and no GPU library, where nothing is measured."""
    return {"hardware": hardware_report.report(machine), "choice": _choice(machine)}


def _choice(machine: Hardware) -> dict[str, Any] | None:
    if machine.target not in TARGETS:
        return None
    offer = Offer(find_kernels(TARGETS[machine.target], "all"))
    found = choice.choose(machine, _USUAL, offer, Wishes(), Known()).report()
    return {**found, "decisions": [one for one in found["decisions"] if one["part"] in _SHOWN]}


def blocks(report: Report) -> Iterator[list[str]]:
    """The report for people, by its headings."""
    yield text_columns.block("This machine", text_columns.columns(doctor_text.machine_rows(report["hardware"])))
    if report["choice"] is not None:
        rows = text_columns.columns(doctor_text.part_rows(report["choice"]))
        yield text_columns.block("What a bundle with all CPU kernels would compute with, before it measures", rows)
        unused = text_columns.columns(doctor_unused.rows(report))
        yield text_columns.block("Not used, and what would change that", unused)
