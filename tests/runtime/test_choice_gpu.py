"""Whether a GPU computes: used because it is faster for this model, not because it is there."""

from __future__ import annotations

import pytest
from choice_support import BOTH, CPU_ONLY, RTX, chosen, listing, losers, machine, measured
from solofile.runtime.choice import Known, Offer, Outcome, Wishes, arguments, overruled
from solofile.runtime.errors import InputError, UnknownName

PC = machine(gpus=(RTX,))
ONE = ("Vulkan0", "RTX 3060", 12.0)
CPU = measured(100, 10)
FAST = {"haswell": CPU, "vulkan": listing(ONE), "vulkan:Vulkan0": measured(2000, 50)}
LLVMPIPE = listing(("Vulkan0", "llvmpipe", 16.0))
FORCED = Wishes(gpu="vulkan")


def test_faster() -> None:
    choice = chosen(PC, BOTH, known=Known(FAST))
    path = choice.path
    assert (path.backend, path.device, path.gpu_layers) == ("vulkan", "Vulkan0", "all")
    assert (path.gpu_key, path.key) == ("vulkan:Vulkan0", "haswell+vulkan:Vulkan0")
    assert choice.sentence == (
        "Kernels: Vulkan0 (RTX 3060) with all layers, and haswell on 8 threads beside it "
        "(measured 5.7 times as fast as the CPU)."
    )
    assert arguments(path, Wishes())[-4:] == ("-ngl", "all", "-dev", "Vulkan0")


@pytest.mark.parametrize(("rate", "used"), [(10.5, False), (11.2, True)])
def test_a_tenth_faster_is_enough(rate: float, used: bool) -> None:
    probes = {**FAST, "vulkan:Vulkan0": measured(10 * rate, rate)}
    assert bool(chosen(PC, BOTH, known=Known(probes)).path.backend) is used


def test_lavapipe_is_slower() -> None:
    probes = {"haswell": measured(140, 87), "vulkan": LLVMPIPE, "vulkan:Vulkan0": measured(2, 0.55)}
    choice = chosen(PC, BOTH, known=Known(probes))
    assert choice.path.backend == ""
    reason = "has not been measured clearly faster, at 0.55 against 87 tokens/s: --gpu vulkan forces it"
    assert losers(choice, "gpu") == {"Vulkan0 (llvmpipe)": reason}
    assert choice.sentence.endswith(f"; no GPU: Vulkan0 (llvmpipe) {reason}.")


def test_only_the_part_that_fits_counts() -> None:
    small = ("Vulkan0", "small", 3.0)  # of which 2 GiB are for a model of 5 GB: two fifths of it
    probes = {**FAST, "vulkan": listing(small)}
    path = chosen(PC, BOTH, known=Known(probes)).path
    assert (path.backend, path.gpu_layers) == ("vulkan", "auto")
    probes["vulkan:Vulkan0"] = measured(120, 13)  # 0.4 of the model a third faster is a tenth: not worth it
    choice = chosen(PC, BOTH, known=Known(probes))
    assert choice.path.backend == ""
    assert losers(choice, "gpu")["Vulkan0 (small)"].endswith(
        ", at 13 against 10 tokens/s, and 39% of the model fit into its free memory: --gpu vulkan forces it"
    )


def test_no_room_at_all() -> None:
    choice = chosen(PC, BOTH, known=Known({**FAST, "vulkan": listing(("Vulkan0", "full", 1.0))}))
    reason = "has too little free memory for this model: --gpu vulkan forces it"
    assert losers(choice, "gpu") == {"Vulkan0 (full)": reason}


def test_two_that_hold_it_together() -> None:
    two = listing(("Vulkan0", "small", 3.0), ("Vulkan1", "big", 5.0), ("Vulkan2", "third", 12.0))
    probes = {**FAST, "vulkan": two, "vulkan:Vulkan1": measured(4000, 90), "vulkan:Vulkan2": measured(90, 9)}
    choice = chosen(PC, BOTH, known=Known(probes))
    assert choice.path.device == "Vulkan1,Vulkan0"
    assert losers(choice, "gpu") == {"Vulkan2 (third)": "is not needed beside it"}
    assert chosen(PC, BOTH, known=Known(probes, crashes={"vulkan:Vulkan1,Vulkan0": "crashed"})).path.backend == ""


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (Known({"haswell": CPU}), "vulkan has not been tried"),
        (
            Known({"vulkan": Outcome("missing", "there is no libvulkan.so.1")}),
            "vulkan cannot be loaded (there is no libvulkan.so.1): install the GPU's driver",
        ),
        (
            Known({"vulkan": Outcome("hung", "no answer within 20 s", None, "2025-01-31")}),
            "vulkan gave no answer within 20 s when it was tried on 2025-01-31: --gpu vulkan tries it again",
        ),
        (
            Known({"vulkan": listing()}),
            "vulkan finds no GPU: install its driver, or force what computes on the CPU with --gpu vulkan",
        ),
        (
            Known({**FAST, "vulkan:Vulkan0": Outcome("crashed", "SIGSEGV", None, "2025-01-31")}),
            "Vulkan0 (RTX 3060) crashed when it was tried on 2025-01-31 (SIGSEGV): --gpu vulkan tries it again",
        ),
        (
            Known(FAST, crashes={"vulkan:Vulkan0": "crashed (SIGSEGV) on 2025-01-31"}),
            "Vulkan0 (RTX 3060) crashed (SIGSEGV) on 2025-01-31: --gpu vulkan tries it again",
        ),
        (
            Known({"haswell": CPU, "vulkan": listing(ONE)}),
            "Vulkan0 (RTX 3060) has not been compared with the CPU: --gpu vulkan forces it",
        ),
    ],
)
def test_why_it_is_not_used(known: Known, reason: str) -> None:
    choice = chosen(PC, BOTH, known=known)
    assert (choice.path.backend, choice.path.gpu_layers, choice.of("gpu").reason) == ("", "0", reason)
    assert choice.sentence.endswith(f"; no GPU: {reason}.")


def test_no_library_in_the_bundle() -> None:
    choice = chosen(PC, CPU_ONLY)
    reason = "this bundle holds no GPU library: build it with --gpu vulkan"
    assert losers(choice, "gpu") == {"NVIDIA GeForce RTX 3060": reason}
    assert choice.sentence.endswith(f"; no GPU: {reason}.")


def test_no_gpu_in_the_machine_for_the_library() -> None:
    choice = chosen(machine(), BOTH, known=Known({"haswell": CPU}))
    assert "GPU" not in choice.sentence
    assert choice.of("gpu").reason == "this machine shows none: --gpu vulkan tries vulkan all the same"


def test_no_gpu_in_the_machine() -> None:
    choice = chosen(machine(), CPU_ONLY)
    assert "GPU" not in choice.sentence
    assert choice.of("gpu").reason == "this machine shows none, and this bundle holds no GPU library"


@pytest.mark.parametrize(
    ("wishes", "option"),
    [(Wishes(gpu="none"), "--gpu none"), (Wishes(device="none"), "-dev none"), (Wishes(gpu_layers="0"), "-ngl 0")],
)
def test_none_by_wish(wishes: Wishes, option: str) -> None:
    choice = chosen(PC, BOTH, wishes, Known(FAST))
    assert (choice.path.backend, choice.of("gpu").reason) == ("", f"it was asked for with {option}")
    assert "GPU" not in choice.sentence


def test_forced_although_slower() -> None:
    probes = {**FAST, "vulkan:Vulkan0": measured(2, 0.5)}
    choice = chosen(PC, BOTH, FORCED, Known(probes, crashes={"vulkan:Vulkan0": "crashed (SIGSEGV) on 2025-01-31"}))
    assert choice.path.gpu_key == "vulkan:Vulkan0"
    assert choice.of("gpu").reason == "vulkan was asked for, at 0.5 against 10 tokens/s"


def test_lavapipe_forced() -> None:
    probes = {"haswell": CPU, "vulkan": listing(), "vulkan-cpu": LLVMPIPE, "vulkan-cpu:Vulkan0": measured(2, 0.55)}
    path = chosen(machine(), BOTH, FORCED, Known(probes)).path
    assert (path.device, path.environment) == ("Vulkan0", (("GGML_VK_VISIBLE_DEVICES", "0"),))
    assert path.is_software
    unforced = chosen(machine(), BOTH, known=Known(probes))
    assert losers(unforced, "gpu") == {
        "Vulkan0 (llvmpipe)": "computes on the same cores as the CPU's own kernels, at 0.55 against 10 tokens/s: "
        "--gpu vulkan forces it"
    }


@pytest.mark.parametrize(
    "wishes", [Wishes(gpu="Vulkan1"), Wishes(device="Vulkan1"), Wishes(gpu="vulkan", device="vulkan1")]
)
def test_one_device_forced(wishes: Wishes) -> None:
    probes = {**FAST, "vulkan": listing(ONE, ("Vulkan1", "old", 8.0)), "vulkan:Vulkan1": measured(50, 5)}
    choice = chosen(PC, BOTH, wishes, Known(probes))
    assert choice.path.device == "Vulkan1"
    assert losers(choice, "gpu") == {"Vulkan0 (RTX 3060)": "is not the one that was asked for"}


def test_devices_may_be_called_otherwise_than_their_backend() -> None:
    offer = Offer(("haswell",), ("hip",))
    probes = {"haswell": CPU, "hip": listing(("ROCm0", "Radeon", 16.0)), "hip:ROCm0": measured(2000, 50)}
    for wishes in (Wishes(), Wishes(device="ROCm0"), Wishes(gpu="hip")):
        assert chosen(PC, offer, wishes, Known(probes)).path.gpu_key == "hip:ROCm0"


def test_layers_by_wish() -> None:
    choice = chosen(PC, BOTH, Wishes(gpu_layers="20"), Known(FAST))
    assert (choice.path.gpu_layers, choice.of("gpu layers").reason) == ("20", "it was asked for with -ngl 20")
    assert "-ngl" not in arguments(choice.path, Wishes(gpu_layers="20"))
    unused = chosen(machine(), CPU_ONLY, Wishes(gpu_layers="20"))
    assert unused.of("gpu layers").reason == "there is no GPU in use: -ngl 20 does nothing"
    assert overruled(unused.path, Wishes(gpu_layers="20")) == {"-dev", "-ngl"}


@pytest.mark.parametrize(
    ("offer", "wishes", "known", "error", "message"),
    [
        (CPU_ONLY, FORCED, Known(), InputError, "holds no GPU library, so vulkan cannot be used: build it with"),
        (CPU_ONLY, Wishes(device="Vulkan0"), Known(), InputError, "Vulkan0 cannot be used: build it with --gpu vulkan"),
        (BOTH, Wishes(gpu="vulcan"), Known(), UnknownName, "Unknown GPU vulcan in this bundle: did you mean vulkan?"),
        (BOTH, Wishes(gpu="vulkan", device="none"), Known(), InputError, "vulkan and -dev none are both asked for"),
        (BOTH, FORCED, Known({"vulkan": Outcome("missing", "no libvulkan.so.1")}), InputError,
         r"^The GPU vulkan cannot be used, since vulkan cannot be loaded \(no libvulkan.so.1\): install or update "),
        (BOTH, FORCED, Known({"vulkan": listing()}), InputError, "cannot be used, since vulkan finds no GPU: "),
        (BOTH, FORCED, Known({**FAST, "vulkan:Vulkan0": Outcome("hung", "no answer within 20 s")}), InputError,
         r"since Vulkan0 \(RTX 3060\) gave no answer within 20 s when it was tried: install or update its driver, or"),
        (BOTH, Wishes(device="Vulkan0,Vulkan1"), Known(FAST), InputError, "Vulkan0,Vulkan1 cannot be used, since"),
        (BOTH, Wishes(device="Vulkan7"), Known(FAST), InputError, "Vulkan7 cannot be used, since there is no such"),
        (BOTH, Wishes(device="ROCm0"), Known(FAST), InputError, "ROCm0 cannot be used, since there is no such"),
    ],
)  # fmt: skip
def test_forced_and_impossible(
    offer: Offer, wishes: Wishes, known: Known, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        chosen(PC, offer, wishes, known)


@pytest.mark.parametrize("wishes", [Wishes(), FORCED, Wishes(device="Vulkan0", gpu_layers="99")])
def test_after_a_crash_the_same_without_it(wishes: Wishes) -> None:
    choice = chosen(PC, BOTH, wishes, Known(FAST, crash="SIGSEGV"))
    assert (choice.path.backend, choice.path.variant) == ("", "haswell")
    assert choice.of("gpu").reason == "the run before ended with SIGSEGV on Vulkan0"
    assert choice.sentence.endswith("; no GPU: the run before ended with SIGSEGV on Vulkan0.")
    assert overruled(choice.path, wishes) == (frozenset({"-dev", "-ngl"}) if wishes.device else frozenset())


def test_after_a_crash_that_nobody_could_note() -> None:
    choice = chosen(PC, BOTH, FORCED, Known(crash="SIGSEGV"))  # a read-only cache
    assert (choice.path.backend, choice.path.variant) == ("", "haswell")


def test_after_a_crash_on_the_cpu_no_gpu_is_tried() -> None:
    choice = chosen(PC, BOTH, known=Known({**FAST, "vulkan:Vulkan0": measured(1, 1)}, crash="SIGSEGV"))
    assert (choice.path.backend, choice.path.variant) == ("", "x64")
