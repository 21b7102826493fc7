"""--doctor for people, on recorded machines: one screen that says what is used, what is not and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from choice_support import GIB, listing, machine, measured
from doctor_report import CALIBRATION, ESTIMATE, TRIED, of, report
from machine_files import NAMES
from solofile.runtime import doctor_text
from solofile.runtime.kernel_path import Known, Outcome, Wishes
from solofile.runtime.memory import DeviceShare, Fit
from solofile.runtime.text_columns import WIDTH, columns

TITLES = [
    "This machine", "What computes", "Memory, with a context of 8,192 tokens", "Not used, and what would change that",
    "Bundle and cache",
]  # fmt: skip


def block(text: str, title: str) -> list[str]:
    """The lines of one block, blanks squeezed, wrapped lines joined."""
    _, _, rest = text.partition(f"\n{title}\n")
    found: list[str] = []
    for line in rest.partition("\n\n")[0].splitlines():
        if line.startswith("    ") and found:
            found[-1] += " " + " ".join(line.split())
        else:
            found.append(" ".join(line.split()))
    return found


def row(text: str, title: str, name: str) -> str:
    """What stands behind a name."""
    [found] = [line for line in block(text, title) if line.startswith(f"{name} ")]
    return found.removeprefix(f"{name} ")


@pytest.mark.parametrize("name", NAMES)
def test_one_screen_on_every_machine(name: str, tmp_path: Path) -> None:
    text = doctor_text.page(of(name, tmp_path))
    lines = text.splitlines()
    assert [line for line in lines if line in TITLES] == TITLES
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) <= 45
    assert not any(line != line.rstrip() for line in lines)


def test_virtual_machine(tmp_path: Path) -> None:
    text = doctor_text.page(of("kvm-2-cores", tmp_path))
    assert text.startswith("Eight: solofile 0.1.0, llama.cpp 0.5.0 (0c1e570)\nNo problem was found.\n\n")
    assert block(text, "This machine") == [
        "CPU AMD EPYC: 2 cores, 8 MiB L3 cache",
        f"usable all 2 CPUs; {row(text, 'This machine', 'usable').partition('; ')[2]}",
        "memory 25.3 GB, 24.3 GB available",
        "GPU none that the system shows",
    ]
    assert row(text, "What computes", "GPU") == "none this machine shows none, and this bundle holds no GPU library"
    assert row(text, "What computes", "measured").startswith("nothing yet all by rule")
    assert row(text, "What computes", "threads") == "2 one for each physical core that this process may run on"
    assert "for prompts" not in text  # as many


def test_kernels_that_lost_stand_together(tmp_path: Path) -> None:
    text = doctor_text.page(of("alder-lake", tmp_path))
    lost = block(text, TITLES[3])
    names = "sapphirerapids, zen4, cooperlake, icelake, cascadelake, cannonlake, skylakex"
    assert lost[0] == f"7 kernels this CPU lacks AVX-512 ({names})"
    assert lost[1] == "6 kernels slower than alderlake (haswell, piledriver, ivybridge, sandybridge, sse42, x64)"
    assert row(text, "What computes", "CPU kernels") == (
        "alderlake the fastest of the 14 in this bundle for this CPU, using AVX-VNNI"
    )
    assert row(text, "This machine", "CPU") == (
        "12th Gen Intel Core i7-12700K: 8 performance and 4 efficiency cores, 25 MiB L3 cache"
    )


def test_a_cpu_without_avx_lacks_nothing_but_that() -> None:
    text = doctor_text.page(report(machine("sse sse2 ssse3 sse4_1 sse4_2")))
    assert block(text, TITLES[3])[0].startswith("12 kernels this CPU lacks AVX (sapphirerapids, ")
    assert "SSE4.2" in row(text, "This machine", "usable")


def test_kernels_that_are_not_in_the_bundle() -> None:
    lost = block(doctor_text.page(report(machine(), variants=("x64", "haswell"))), TITLES[3])
    assert lost[1:] == [
        "4 kernels not in this bundle: build it with --kernels all (piledriver, ivybridge, sandybridge, sse42)",
        "x64 slower than haswell",
        "no repacking, flash off has not been measured faster",
        "16 threads two on a core share what computes: not measured to be faster",
    ]


def test_every_gpu_and_what_would_make_it_used(tmp_path: Path) -> None:
    text = doctor_text.page(of("alder-lake", tmp_path))
    assert "NVIDIA GeForce RTX 3060 (discrete, driver nvidia 535.183.01)" in text
    assert row(text, "What computes", "GPU") == "none why not is said below"
    assert (
        "Intel AlderLake-S GT1, NVIDIA GeForce RTX 3060 this bundle holds no GPU library: build it with --gpu vulkan"
        in block(text, TITLES[3])
    )


def test_a_gpu_that_crashed_and_what_the_shaders_lack(tmp_path: Path) -> None:
    crashes = {"vulkan:Vulkan0": "crashed (SIGSEGV) on 2026-11-03"}
    known = Known({**TRIED, "alderlake": measured(90, 11)}, crashes=crashes)
    text = doctor_text.page(of("alder-lake", tmp_path, known=known, gpus=("vulkan",)))
    assert "\n! Vulkan0 crashed (SIGSEGV) on 2026-11-03, so it is not used: --gpu vulkan tries it again.\n" in text
    lost = block(text, TITLES[3])
    reason = "crashed when it was tried on 2026-11-02 (SIGSEGV): --gpu vulkan tries it again"
    assert f"Vulkan0 (NVIDIA GeForce RTX 3060) {reason}" in lost
    assert lost[-1].startswith("vulkan shaders compiled without cooperative matrices: ")


def test_a_gpu_that_its_backend_does_not_show(tmp_path: Path) -> None:
    shown = listing(("Vulkan0", "NVIDIA GeForce RTX 3060", 11.0))
    assert shown.result is not None
    shown.result["devices"][0]["id"] = "0000:01:00.0"
    known = Known({"alderlake": measured(90, 11), "vulkan": shown, "vulkan:Vulkan0": measured(2000, 60)})
    text = doctor_text.page(of("alder-lake", tmp_path, known=known, gpus=("vulkan",)))
    assert "Intel AlderLake-S GT1 vulkan does not show it: install its vulkan driver" in block(text, TITLES[3])
    assert "NVIDIA GeForce RTX 3060 vulkan does not show it" not in text
    assert row(text, "What computes", "GPU").startswith("Vulkan0 (NVIDIA GeForce RTX 3060) with ")


def test_what_was_measured_and_when() -> None:
    known = Known({"haswell": measured(90, 11)}, CALIBRATION)
    text = doctor_text.page(report(machine(), known=known))
    assert row(text, "What computes", "measured") == (
        "2026-11-03 tokens/s by threads: answers 9.0 with 4, 11 with 8, prompts 80 with 8, 92 with 16; "
        "rules decide the rest"
    )
    assert row(text, "What computes", "threads").startswith("8 measured: 11 tokens/s")
    assert row(text, "What computes", "for prompts").startswith("16 measured: 92 tokens/s")
    assert "4 threads measured 9.0 against 11 tokens/s" in block(text, TITLES[3])
    other = doctor_text.page(report(machine(), known=known, wishes=Wishes(kernel="x64")))
    assert row(other, "What computes", "measured") == "2026-11-03 for haswell, which is not used now: all by rule"


def test_memory_is_summed_up_beside_what_there_is() -> None:
    estimate = ESTIMATE._replace(devices=(DeviceShare("Vulkan0", 4_900_000_000, 11_000_000_000, 12_000_000_000),))
    text = doctor_text.page(report(machine(), estimate=estimate))
    assert block(text, TITLES[2]) == [
        "weights, mapped in place 1.0 GB",
        "weights, repacked 4.0 GB",
        "KV cache 1.0 GB",
        "computing 300 MB",
        "on Vulkan0 4.9 GB of 11.0 GB that are free there",
        "sum 6.3 GB fits into the 29.0 GB that a model can have here",
        "prompt cache 4.0 GB at most, as conversations come and go",
    ]


def test_a_container_and_a_model_that_does_not_fit(tmp_path: Path) -> None:
    fit = Fit(ESTIMATE, refusal="Eight takes 6.3 GB: use a smaller model.")
    text = doctor_text.page(of("docker-cgroup1", tmp_path, fit=fit))
    assert "\n! Eight takes 6.3 GB: use a smaller model.\n" in text
    assert row(text, "This machine", "usable").startswith("8 of 16 CPUs; a container's limit of 3 CPUs; ")
    assert row(text, "This machine", "memory") == "66.6 GB, 2.7 GB available, under a limit of 4.3 GB"
    assert row(text, TITLES[2], "sum") == "6.3 GB DOES NOT FIT into the 2.5 GB that a model can have here"


def test_a_shrunk_context_is_said_first() -> None:
    fit = Fit(ESTIMATE, 4096, "The context is 4,096 tokens in place of 8,192.", full=ESTIMATE)
    text = doctor_text.page(report(machine(memory=7 * GIB), fit=fit))
    assert text.splitlines()[1] == "! The context is 4,096 tokens in place of 8,192."
    assert row(text, "What computes", "context").startswith("4,096 tokens the longest that fits: a model can have ")
    assert any(line.startswith("context 8,192 tokens does not fit") for line in block(text, TITLES[3]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choice": {"error": "No kernel runs here."}}, "! No kernel runs here."),
        ({"bundle": {"error": "It is damaged."}}, "! It is damaged."),
        ({"cache": {"error": "SOLOFILE_CACHE_DIR is not set."}}, "! SOLOFILE_CACHE_DIR is not set."),
    ],
)
def test_what_cannot_be_found_out_is_a_problem_and_stops_nothing(changes: dict[str, Any], said: str) -> None:
    found = report(machine(), **changes)
    text = doctor_text.page(found)
    assert said in text.splitlines()
    assert "This machine" in text
    assert found["problems"] == [said.removeprefix("! ")]


def test_a_cache_that_is_read_only_and_holds_crashes() -> None:
    cache = {"path": "/c", "writable": False, "free": None, "folders": [], "crashes": ["/c/state/crash-1.txt"]}
    text = doctor_text.page(report(machine(), cache=cache))
    assert "! The cache /c cannot be written to: " in text
    assert "! A run that crashed left a note: /c/state/crash-1.txt." in text


def test_wishes_are_given_as_reasons() -> None:
    wishes = Wishes(kernel="x64", gpu="none", threads=3, context=2048, numa="numactl")
    text = doctor_text.page(report(machine(), wishes=wishes, known=Known({"x64": Outcome("ok")})))
    assert row(text, "What computes", "CPU kernels") == "x64 it was asked for with --kernel"
    assert row(text, "What computes", "GPU") == "none it was asked for with --gpu none"
    assert row(text, "What computes", "threads") == "3 it was asked for with -t 3"
    assert row(text, "What computes", "context") == "2,048 tokens it was asked for with -c 2048, and all of it fits"
    assert row(text, "What computes", "NUMA") == "numactl it was asked for with --numa numactl"


def test_columns() -> None:
    assert columns([("a", "one"), ("a", "two"), ("a name that is far too long for it", "three four")], 20) == [
        "a  one", "   two", "a name that is far too long for it", "   three four",
    ]  # fmt: skip
    assert columns([("aa", "b", "words that are wrapped")], 26) == ["aa  b  words that are", "       wrapped"]
    assert columns([]) == []
