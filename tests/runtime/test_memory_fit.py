"""What fits into the memory: the context that stays, shrinks or is refused, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.runtime import memory, memory_text
from solofile.runtime.errors import EngineError, InputError
from solofile.runtime.memory import DeviceShare, Estimate, Room, Subject, fit, interpolate, prompt_cache, read_estimate

GB = 10**9
SUBJECT = Subject("Llama-8B", "Q8_0", 8_000_000_000)


class Machine:
    """Estimates along a line: 8.5 GB of weights, 128 KiB a token; counts how often it is asked."""

    def __init__(self, *, weights: int = 8_500_000_000, token: int = 131_072, compute: int = 300_000_000) -> None:
        self.weights, self.token, self.compute = weights, token, compute
        self.asked: list[int] = []
        self.kv: Callable[[int], int] = lambda context: context * token

    def __call__(self, context: int) -> Estimate:
        self.asked.append(context)
        context = context or 131_072
        return Estimate(context, 131_072, self.weights, 0, self.kv(context), self.compute)


def test_what_fits_takes_one_estimate_and_stays() -> None:
    machine = Machine()
    found = fit(machine, Room(64 * GB), SUBJECT)
    assert (found.context, found.note, found.refusal) == (None, "", "")
    assert machine.asked == [0]
    assert found.accepted() is found


def test_context_shrinks_to_the_largest_multiple_of_256_that_fits() -> None:
    machine, room = Machine(), Room(16 * GB)
    found = fit(machine, room, SUBJECT)
    assert found.context is not None
    assert found.context % 256 == 0
    assert room.usable is not None
    assert machine(found.context).needed() <= room.usable < machine(found.context + 256).needed()
    assert found.note == (
        f"The context is {found.context:,} tokens in place of 131,072, which would take "
        f"{(131_072 - found.context) * 131_072 / 1e9:.1f} GB more: of the 16.0 GB that are available "
        "a model can have 15.4 GB (-c sets it, -ctk q8_0 -ctv q8_0 makes it smaller)."
    )
    assert len(machine.asked) <= 5


def test_slots_with_a_context_of_their_own_get_equal_parts() -> None:
    found = fit(Machine(), Room(16 * GB), SUBJECT, slots=3)
    assert found.context is not None
    assert found.context % (256 * 3) == 0


def test_a_bend_in_the_line_is_measured_and_not_believed() -> None:
    # Half of the layers look back 4096 tokens only: the straight line from 512 to 131072 lies below the truth.
    machine, room = Machine(), Room(11 * GB)
    machine.kv = lambda context: context * 65_536 + min(context, 4096) * 524_288
    found = fit(machine, room, SUBJECT)
    assert room.usable is not None
    assert found.context is not None
    assert found.estimate.needed() <= room.usable
    assert found.context > 512
    assert found.estimate.context == found.context


def test_given_context_is_refused_with_the_one_that_fits() -> None:
    machine = Machine()
    found = fit(machine, Room(16 * GB), SUBJECT, asked=100_000)
    best = fit(machine, Room(16 * GB), SUBJECT).context
    assert f"-c {best} fits" in found.refusal
    assert "takes 21.9 GB of memory with a context of 100,000 tokens (weights 8.5 GB, KV cache 13.1 GB" in found.refusal
    assert "of the 16.0 GB that are available a model can have 15.4 GB: -c" in found.refusal
    with pytest.raises(InputError, match="--fit off loads it all the same"):
        found.accepted()


def test_no_more_than_the_model_was_trained_for_is_recommended() -> None:
    found = fit(Machine(), Room(64 * GB), SUBJECT, asked=1_000_000)
    assert ": -c 131072 fits and is what it was trained for, a KV cache of fewer bits " in found.refusal


def test_fit_off_loads_it_and_says_so() -> None:
    machine = Machine()
    found = fit(machine, Room(4 * GB), SUBJECT, asked=100_000, force=True)
    assert (found.context, found.refusal) == (None, "")
    assert found.note.endswith(
        "and of the 4.0 GB that are available a model can have 3.7 GB: --fit off loads it all the same."
    )
    assert machine.asked == [100_000]


def test_model_that_cannot_fit_is_refused_with_the_quantization_that_would() -> None:
    found = fit(Machine(), Room(6 * GB), SUBJECT, other=lambda: "firefox uses 3.2 GB")
    assert found.refusal == (
        "Llama-8B (Q8_0) takes 8.9 GB of memory with a context of 512 tokens (weights 8.5 GB, KV cache 67 MB, "
        "computing 300 MB), and of the 6.0 GB that are available a model can have 5.7 GB: use a smaller "
        "quantization such as Q4_K_M (about 4.9 GB), or close other programs "
        "(3.2 GB more are needed; firefox uses 3.2 GB)."
    )


def test_in_a_container_its_limit_is_named() -> None:
    found = fit(Machine(), Room(2 * GB, limit=2 * GB + 5), SUBJECT)
    assert found.refusal.endswith(
        "and of the 2.0 GB that are available under this container's limit of 2.0 GB a model can have 1.8 GB: "
        "use a smaller model, or raise that limit (7.1 GB more are needed)."
    )


def test_short_models_are_not_made_longer() -> None:
    # A model of 256 tokens has nothing to shrink.
    def measure(context: int) -> Estimate:
        return Estimate(context or 256, 256, 8 * GB, 0, 0, 0)

    assert "with a context of 256 tokens" in fit(measure, Room(GB), SUBJECT).refusal


def test_unknown_memory_changes_nothing() -> None:
    assert fit(Machine(), Room(None), SUBJECT) == memory.Fit(Machine()(0))


def test_gpu_counts_only_where_it_shares_the_memory() -> None:
    one = Estimate(4096, 4096, GB, 0, GB, GB, (DeviceShare("Vulkan0", 9 * GB, 10 * GB, 12 * GB),))
    assert one.needed() == 3 * GB
    assert one.needed({"Vulkan0"}) == 12 * GB
    assert fit(lambda _: one, Room(8 * GB), SUBJECT).refusal == ""
    assert fit(lambda _: one, Room(8 * GB), SUBJECT, shared={"Vulkan0"}).refusal


def test_interpolation_stays_between_its_ends() -> None:
    low, high = Estimate(512, 8192, 100, 0, 512, 0), Estimate(8192, 8192, 100, 0, 8192, 0)
    assert interpolate(low, high, 100 + 4000) == 3840
    assert interpolate(low, high, 0) == 512
    assert interpolate(low, high, 10**9) == 7936
    assert interpolate(low, high._replace(kv=512), 10**9) == 512


@pytest.mark.parametrize(
    ("available", "kv", "mib"),
    [
        (None, 1 << 30, 4096),  # four full slots
        (None, 1 << 40, 8192),  # llama.cpp's default is the most
        (4 << 30, 1 << 30, 1356),  # half of what is left: (4096 - 128 - 128 - 1024 - 104) / 2
        (int(1.2 * (1 << 30)), 1 << 30, 0),
        (64 << 30, 1 << 20, 0),  # 4 MiB would not be worth it
    ],
)
def test_prompt_cache(available: int | None, kv: int, mib: int) -> None:
    estimate = Estimate(8192, 8192, 100 << 20, 0, kv, 4 << 20)
    assert prompt_cache(Room(available), estimate) == mib


def test_reads_what_the_core_says() -> None:
    found = read_estimate(
        {
            "context": 8192, "context_train": 8192, "layers": 30, "repacked": 60,
            "host": {"model": 100, "context": 20, "compute": 3},
            "devices": [{"name": "Vulkan0", "free": 9, "total": 10, "model": 1, "context": 2, "compute": 4}],
        }
    )  # fmt: skip
    assert found == Estimate(8192, 8192, 100, 60, 20, 3, (DeviceShare("Vulkan0", 7, 9, 10),))
    with pytest.raises(EngineError, match="failed to load model"):
        read_estimate({"error": "failed to load model."})


def test_table_says_what_goes_where() -> None:
    found = memory.table(Estimate(8192, 8192, 100, 60, 20, 3), Room(GB), 64)
    assert (found["weights_mapped"], found["weights_repacked"], found["kv_cache"], found["compute"]) == (40, 60, 20, 3)
    assert (found["needed"], found["available"], found["fits"]) == (123, GB, True)
    assert found["prompt_cache_at_most"] == 64 << 20
    assert "weights_loaded" in memory.table(Estimate(1, 1, 1, 0, 0, 0), Room(None), 0, mapped=False)


@pytest.mark.parametrize(("size", "text"), [(4_900_000_000, "4.9 GB"), (312_400_000, "312 MB"), (-5, "0 MB")])
def test_sizes(size: int, text: str) -> None:
    assert memory_text.size_text(size) == text


def test_the_largest_program_is_named(tmp_path: Path) -> None:
    for number, name, pages in [("7", "small", 10), ("8", "firefox", 800_000), ("9", "editor", 200_000)]:
        folder = tmp_path / number
        folder.mkdir()
        (folder / "statm").write_text(f"900000 {pages} 5 1 0 3 0\n")
        (folder / "comm").write_text(f"{name}\n")
    (tmp_path / "11").mkdir()  # ended while we looked
    (tmp_path / "meminfo").touch()
    assert memory_text.largest_program(str(tmp_path)) == "firefox uses 3.3 GB"
    assert memory_text.largest_program(str(tmp_path / "8")) == ""
    assert memory_text.largest_program(str(tmp_path / "nowhere")) == ""
