"""The CPU variant and its repacking, as choice.py decides on them."""

from __future__ import annotations

import pytest
from choice_support import AVX2, BOTH, CPU_ONLY, MODEL, SSE42, ZEN4, chosen, losers, machine, measured
from solofile.runtime.choice import Known, Offer, Outcome, Wishes
from solofile.runtime.choose_cpu import repacks
from solofile.runtime.errors import InputError, SolofileError, UnknownName
from solofile.runtime.kernels import ARM_LINUX, X86

CRASH = Outcome("crashed", "SIGILL", None, "2025-01-31")
HANG = Outcome("hung", "no answer within 5 s", None, "2025-01-31")


@pytest.mark.parametrize(("features", "best"), [("", "x64"), (SSE42, "sse42"), (AVX2, "haswell"), (ZEN4, "zen4")])
def test_the_best_that_the_cpu_can_run(features: str, best: str) -> None:
    choice = chosen(machine(features))
    assert choice.path.variant == best
    assert set(losers(choice, "kernel")) == set(X86) - {best}
    assert choice.sentence.startswith(f"Kernels: {best} on 8 threads (the fastest of the 14 in this bundle ")


def test_arm() -> None:
    features = "asimd asimddp fphp asimdhp sve i8mm"
    choice = chosen(machine(features), Offer(("armv8.0_1", "armv8.2_2", "armv8.6_1", "armv9.2_2")))
    assert choice.path.variant == "armv8.6_1"
    assert set(losers(choice, "kernel")) == set(ARM_LINUX) - {"armv8.6_1"}
    assert losers(choice, "kernel")["armv9.2_2"] == "needs SVE2, SME, which this CPU lacks"


def test_why_each_loser_lost() -> None:
    known = Known(
        probes={"zen4": CRASH, "skylakex": measured(400, 60), "haswell": measured(300, 90)},
        crashes={"icelake": "crashed (SIGILL) on 2025-01-30"},
    )
    offer = Offer(("x64", "haswell", "skylakex", "icelake", "zen4", "sapphirerapids"))
    choice = chosen(machine(ZEN4), offer, known=known)
    assert choice.path.variant == "haswell"
    assert choice.of("kernel").reason == (
        "measured faster than skylakex, which by its features should be: 90 against 60 tokens/s"
    )
    assert losers(choice, "kernel") == losers(choice, "kernel") | {
        "zen4": "crashed when it was tried on 2025-01-31 (SIGILL): --kernel zen4 tries it again",
        "icelake": "crashed (SIGILL) on 2025-01-30: --kernel icelake tries it again",
        "skylakex": "is slower than haswell: 60 against 90 tokens/s",
        "x64": "is slower than haswell",
        "sapphirerapids": "needs AMX_TILE, AMX_INT8, which this CPU lacks",
        "cascadelake": "is not in this bundle: build it with --kernels all",
        "alderlake": "needs AVX_VNNI, which this CPU lacks",
    }


@pytest.mark.parametrize(("rate", "best"), [(91, "skylakex"), (94, "skylakex"), (97, "haswell")])
def test_a_measured_difference_counts_when_it_is_clear(rate: float, best: str) -> None:
    probes = {"skylakex": measured(9000, 90), "haswell": measured(9000, rate)}
    assert chosen(machine(ZEN4), Offer(("haswell", "skylakex")), known=Known(probes)).path.variant == best


def test_a_quick_probe_is_no_measurement() -> None:
    probes = {"skylakex": measured(9000, 90, quick=True), "haswell": measured(9000, 900)}
    assert chosen(machine(ZEN4), Offer(("haswell", "skylakex")), known=Known(probes)).path.variant == "skylakex"


def test_one_hang_does_not_make_it_try_all() -> None:
    choice = chosen(machine(ZEN4), known=Known({"zen4": HANG}))
    assert choice.path.variant == "x64"
    assert losers(choice, "kernel")["zen4"] == (
        "gave no answer within 5 s when it was tried on 2025-01-31: --kernel zen4 tries it again"
    )


def test_where_all_hang_it_is_not_their_fault() -> None:
    assert chosen(machine(ZEN4), known=Known({"zen4": HANG, "x64": HANG})).path.variant == "zen4"


def test_where_children_cannot_start_the_rules_decide() -> None:
    nothing = dict.fromkeys(X86, Outcome("failed", "no child process could be started"))
    assert chosen(machine(ZEN4), known=Known(nothing)).path.variant == "zen4"


def test_forced() -> None:
    choice = chosen(wishes=Wishes(kernel="sse42"))
    assert (choice.path.variant, choice.of("kernel").reason) == ("sse42", "it was asked for with --kernel")
    assert losers(choice, "kernel")["haswell"] == "was passed over: --kernel haswell uses it"


@pytest.mark.parametrize(
    ("name", "known", "error", "message"),
    [
        ("haswel", Known(), UnknownName, "Unknown kernel variant haswel in this bundle: did you mean haswell?"),
        ("zen4", Known(), InputError, "needs AVX512, AVX512_VBMI, AVX512_VNNI, AVX512_BF16, which this CPU lacks"),
        ("sse42", Known({"sse42": CRASH}), InputError, r"crashed when it was tried on 2025-01-31 \(SIGILL\): leave"),
    ],
)
def test_forced_and_impossible(name: str, known: Known, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        chosen(wishes=Wishes(kernel=name), known=known)


def test_forced_after_a_crash_of_long_ago() -> None:
    known = Known(crashes={"haswell": "crashed (SIGILL) on 2025-01-30"})
    assert chosen(known=known).path.variant == "piledriver"
    assert chosen(known=known, wishes=Wishes(kernel="haswell")).path.variant == "haswell"


def test_none_runs() -> None:
    with pytest.raises(SolofileError, match=r"None of the kernels in this bundle \(haswell\) runs on this CPU"):
        chosen(machine(""), Offer(("haswell",)))


@pytest.mark.parametrize(
    ("variant", "quantization", "yes"),
    [
        ("haswell", "Q4_0", True), ("haswell", "Q4_K_M", True), ("haswell", "Q4_1", False), ("haswell", "Q8_0", False),
        ("sse42", "Q4_0", False), ("skylakex", "Q2_K", True), ("sapphirerapids", "Q4_1", True), ("x64", "F16", False),
        ("armv8.2_1", "Q8_0", True), ("armv8.0_1", "Q4_0", False), ("apple_m4", "Q6_K", True),
    ],
)  # fmt: skip
def test_what_can_be_repacked(variant: str, quantization: str, yes: bool) -> None:
    assert repacks(variant, quantization) is yes


def test_repacking_is_the_rule() -> None:
    choice = chosen(known=Known({"haswell": measured(300, 90)}))
    assert choice.path.repack
    assert choice.of("repack") == ("repack", "on", "haswell reads Q4_0 weights faster in an order of its own",
                                   (("off", "has not been measured faster"),))  # fmt: skip


def test_mapped_weights_where_they_are_clearly_faster() -> None:
    probes = {"haswell": measured(300, 60), "haswell-norepack": measured(280, 90)}
    choice = chosen(known=Known(probes))
    assert not choice.path.repack
    assert choice.of("repack").reason == "measured faster from the file's own pages: 90 against 60 tokens/s"


def test_repacking_where_it_is_measured_faster() -> None:
    probes = {"haswell": measured(300, 90), "haswell-norepack": measured(150, 90)}
    choice = chosen(known=Known(probes))
    assert choice.path.repack
    assert choice.of("repack").reason == "measured: 300 against 150 tokens/s of a prompt"


def test_nothing_to_repack() -> None:
    model = MODEL.__class__(**{**MODEL.__dict__, "quantization": "Q4_1"})
    choice = chosen(model=model)
    assert (choice.path.repack, choice.of("repack").value) == (True, "nothing to repack")


def test_what_a_probe_found_to_repack_counts() -> None:
    known = Known({"haswell": measured(300, 90, repacked=0), "haswell-norepack": measured(300, 900)})
    assert chosen(known=known).of("repack").value == "nothing to repack"
    known = Known({"haswell": measured(300, 90, repacked=5), "haswell-norepack": measured(300, 900)})
    model = MODEL.__class__(**{**MODEL.__dict__, "quantization": "Q4_1"})
    assert chosen(known=known, model=model).of("repack").value == "off"


def test_repacking_can_be_asked_for() -> None:
    choice = chosen(wishes=Wishes(repack=False))
    assert (choice.path.repack, choice.path.key, choice.of("repack").reason) == (
        False, "haswell-norepack", "it was asked for with --no-repack",
    )  # fmt: skip


CPU, GPU = Known(crash="SIGILL"), Known(crash="SIGSEGV", ran="vulkan:Vulkan0")


def test_after_an_illegal_instruction_the_next_variant() -> None:
    choice = chosen(known=CPU)
    assert choice.path.variant == "piledriver"
    assert choice.of("kernel").reason.startswith("the run before ended with SIGILL on haswell, and this is the ")
    assert losers(choice, "kernel")["haswell"] == "the run before ended with SIGILL on it"


def test_after_an_illegal_instruction_in_a_forced_variant() -> None:
    assert chosen(known=CPU, wishes=Wishes(kernel="sse42")).path.variant == "haswell"


def test_after_another_crash_the_plainest() -> None:
    choice = chosen(known=Known(crash="SIGSEGV"))
    assert choice.path.variant == "x64"
    assert choice.of("kernel").reason == "the run before ended with SIGSEGV, so nothing that a CPU may lack is used"
    assert losers(choice, "kernel")["haswell"] == "was passed over: --kernel haswell uses it"


def test_after_a_crash_of_the_gpu_the_same_variant() -> None:
    choice = chosen(offer=BOTH, known=GPU)
    assert (choice.path.variant, choice.path.backend) == ("haswell", "")


def test_even_the_plainest_may_have_crashed() -> None:
    assert chosen(machine(""), CPU_ONLY, known=CPU).path.variant == "x64"
