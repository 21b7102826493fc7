"""Threads, batches, flash attention, memory, NUMA, context, and what llama.cpp is told of it all."""

from __future__ import annotations

import os
import resource
from typing import Any

import pytest
from choice_support import BOTH, GIB, MODEL, RTX, chosen, listing, losers, machine, measured
from solofile.runtime import choose_memory, choose_work, options
from solofile.runtime.choice import Decision, Known, Wishes, arguments, overruled, wishes
from solofile.runtime.errors import InputError
from solofile.runtime.hardware import NumaNode


def calibrated(decode: dict[str, float], prompt: dict[str, float] | None = None, path: str = "haswell") -> Known:
    return Known(calibration={"path": path, "decode": decode, "prompt": prompt or {}})


HYBRID = {
    "cores": 14, "logical": 20, "allowed": 20, "allowed_cores": 6, "performance_cores": 6, "efficiency_cores": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "threads", "reason"),
    [
        ({}, 8, "one for each physical core that this process may run on"),
        ({"allowed": 1, "allowed_cores": 1}, 1, "this process may run on 1 of 16 CPUs"),
        ({"quota": 0.5}, 1, "this container may use 0.5 CPUs: more threads would wait for each other"),
        ({"quota": 2.0}, 2, "this container may use 2 CPUs: more threads would wait for each other"),
        (
            HYBRID,
            6,
            "one for each performance core: all wait for the slowest",
        ),
        ({"cores": 1, "logical": 1, "allowed": 1, "allowed_cores": 1}, 1, "there is one core to run on"),
    ],
)
def test_threads_by_rule(facts: dict[str, Any], threads: int, reason: str) -> None:
    choice = chosen(machine(**facts))
    assert (choice.path.threads, choice.path.threads_batch) == (threads, threads)
    assert choice.of("threads").reason == reason
    assert "measured" in losers(choice, "threads").get("16", "measured")


@pytest.mark.parametrize(
    ("table", "threads"),
    [({"4": 10, "8": 10.4}, 8), ({"4": 10.6, "8": 10}, 4), ({"4": 10.2, "8": 10.4}, 4), ({"8": 10, "16": 11}, 16),
     ({"4": 99}, 8), ({"4": "fast", "8": None, "x": 3}, 8), ({"8": 10.0, "4": 12.0, "2": 12.0}, 2)],
)  # fmt: skip
def test_threads_measured(table: dict[str, Any], threads: int) -> None:
    choice = chosen(known=calibrated(table))
    assert (choice.path.threads, choice.path.threads_batch) == (threads, 8)


def test_threads_measured_say_so() -> None:
    choice = chosen(known=calibrated({"4": 12.5, "8": 10.0}, {"8": 100.0, "16": 130.0}))
    assert choice.of("threads") == Decision(
        "threads", "4", "measured: 12 tokens/s", (("8", "measured 10 against 12 tokens/s"),)
    )
    assert choice.path.threads_batch == 16
    assert choice.sentence.startswith("Kernels: haswell on 4 threads, 16 for prompts (")


def test_a_calibration_of_another_path_does_not_count() -> None:
    assert chosen(known=calibrated({"4": 20, "8": 10}, path="haswell-norepack")).path.threads == 8


def test_threads_by_wish() -> None:
    choice = chosen(known=calibrated({"4": 20, "8": 10}), wishes=Wishes(threads=3))
    assert (choice.path.threads, choice.path.threads_batch) == (3, 3)
    assert choice.of("threads").reason == "it was asked for with -t 3"
    assert chosen(wishes=Wishes(threads=3, threads_batch=5)).path.threads_batch == 5
    assert chosen(wishes=Wishes(threads_batch=5)).path.threads == 8


def test_threads_are_not_left_to_llama_cpp() -> None:
    wishes = Wishes(threads=-1, threads_batch=0)
    path = chosen(wishes=wishes).path
    assert (path.threads, path.threads_batch) == (8, 8)
    assert arguments(path, wishes)[:4] == ("-t", "8", "-tb", "8")
    assert overruled(path, wishes) == {"-t", "-tb"}
    assert overruled(path, Wishes(threads=2)) == frozenset()


@pytest.mark.parametrize(
    ("facts", "decode", "prompt"),
    [
        ({}, (4, 8, 16), (8, 16)),
        ({"cores": 2, "logical": 2, "allowed": 2, "allowed_cores": 2}, (1, 2), (2,)),
        ({"allowed": 1, "allowed_cores": 1}, (1,), (1,)),
        ({"quota": 1.5}, (1, 2), (1, 2)),
        ({"quota": 0.5}, (1,), (1,)),
        (HYBRID, (3, 6, 14, 20), (6, 14, 20)),
    ],
)
def test_what_is_worth_measuring(facts: dict[str, Any], decode: tuple[int, ...], prompt: tuple[int, ...]) -> None:
    assert choose_work.candidates(machine(**facts)) == (decode, prompt)


def calibration(known: Known | None = None, wishes: Wishes | None = None, **facts: Any) -> dict[str, Any] | None:
    known, wishes, on = known or Known(), wishes or Wishes(), machine(**facts)
    return choose_work.calibration(on, chosen(on, known=known, wishes=wishes).path, wishes, known)


def test_what_the_engine_is_to_measure() -> None:
    both = {"seconds": 2.0, "depth": 128, "decode_threads": [4, 8, 16], "prompt_threads": [8, 16]}
    assert calibration() == both
    assert calibration(calibrated({"8": 10.0}, path="x64")) == both
    assert calibration(calibrated({"8": 10.0})) is None
    assert calibration(Known(crash="SIGSEGV")) is None
    assert calibration(wishes=Wishes(threads=4)) is None
    assert calibration(wishes=Wishes(threads_batch=4)) == {**both, "prompt_threads": []}
    two = {"cores": 2, "logical": 2, "allowed": 2, "allowed_cores": 2}
    assert calibration(**two) == {**both, "decode_threads": [1, 2], "prompt_threads": []}
    assert calibration(quota=0.5) is None


def attention(flash: float, plain: float) -> dict[str, Any]:
    """Seconds of the piece of work that both kinds of attention take; the rest takes 16."""
    table = {"flash": {"1": flash / 256, "64": flash / 8}, "plain": {"1": plain / 256, "64": plain / 8}}
    return {"haswell": measured(32, 16, attention=table)}


@pytest.mark.parametrize(("flash", "plain", "value"), [(2, 2, "auto"), (1, 4, "auto"), (3, 1.5, "auto"), (4, 2, "off")])
def test_flash_attention_measured(flash: float, plain: float, value: str) -> None:
    assert chosen(known=Known(attention(flash, plain))).path.flash == value


def test_flash_attention_stays_where_it_is_needed() -> None:
    known = Known(attention(4, 2))
    assert losers(chosen(known=known), "flash attention") == {"on": "measured 11 % slower with a context of 512 tokens"}
    long = chosen(known=known, wishes=Wishes(context=32768))
    assert (long.path.flash, losers(long, "flash attention")) == ("auto", {"off": "measured 11 % faster"})
    packed = chosen(known=known, wishes=Wishes(cache_type="q8_0"))
    assert (packed.path.flash, packed.of("flash attention").reason) == ("auto", "a V cache of type q8_0 needs it")
    assert chosen(known=known, wishes=Wishes(flash="on")).path.flash == "on"


def test_flash_attention_on_a_device_of_the_type_cpu() -> None:
    """Mesa takes minutes to compile it for a CPU, at the first prompt of a start."""
    shown = listing(("Vulkan0", "llvmpipe", 8.0))
    known = Known({"haswell": measured(100, 10), "vulkan": listing(), "vulkan-cpu": shown, "vulkan-cpu:Vulkan0": shown})

    def decision(**wishes: Any) -> tuple[str, str]:
        choice = chosen(offer=BOTH, wishes=Wishes(gpu="vulkan", **wishes), known=known)
        assert choice.path.flash == choice.of("flash attention").value
        return choice.path.flash, choice.of("flash attention").reason

    assert decision() == ("off", "Vulkan0 computes on the CPU")
    assert decision(flash="on") == ("on", "it was asked for with -fa on")
    assert decision(cache_type="q8_0")[0] == decision(context=32768)[0] == "auto"
    real = Known({"haswell": measured(100, 10), "vulkan": shown, "vulkan:Vulkan0": shown})
    assert chosen(offer=BOTH, wishes=Wishes(gpu="vulkan"), known=real).path.flash == "auto"


def test_batches() -> None:
    assert (chosen().path.batch, chosen().path.ubatch) == (2048, 512)
    choice = chosen(wishes=Wishes(batch=256, ubatch=128))
    assert choice.of("batch") == ("batch", "256, 128 at once", "it was asked for with -b and -ub", ())


@pytest.mark.parametrize(
    ("large", "free", "wishes", "ubatch", "reason"),
    [
        (12000, 20, Wishes(), 2048, "the GPU has the memory for it and is faster so, measured 12000 against 10000"),
        (10400, 20, Wishes(), 512, "is not clearly faster: measured 10400 against 10000 tokens/s of a prompt"),
        (12000, 4, Wishes(), 512, "takes memory that the GPU needs for layers: measured 12000 against 10000"),
        (12000, 20, Wishes(ubatch=256), 256, "it was asked for with -ub"),
    ],
)
def test_batches_of_a_gpu(large: int, free: float, wishes: Wishes, ubatch: int, reason: str) -> None:
    gpu = measured(8000, 100)
    assert gpu.result is not None
    seconds = {**gpu.result["seconds"], "512": 512 / 10000, "2048": 2048 / large}
    known = Known(
        {
            "haswell": measured(100, 10),
            "vulkan": listing(("Vulkan0", "A GPU", free)),
            "vulkan:Vulkan0": gpu._replace(result={**gpu.result, "seconds": seconds}),
        }
    )
    choice = chosen(machine(gpus=(RTX,)), BOTH, wishes, known)
    decision = choice.of("batch")
    assert choice.path.ubatch == ubatch
    assert reason in " ".join((decision.reason, *(why for _, why in decision.losers)))


@pytest.mark.parametrize(
    ("memory", "known", "wish", "size"),
    [(28 * GIB, None, None, 8192), (10 * GIB, None, None, 1082), (6 * GIB, None, None, 0), (None, None, None, 0),
     (28 * GIB, 300, None, 300), (28 * GIB, 0, None, 0), (28 * GIB, 300, 1000, 1000), (6 * GIB, None, -1, -1)],
)  # fmt: skip
def test_prompt_cache(memory: int | None, known: int | None, wish: int | None, size: int) -> None:
    choice = chosen(machine(memory=memory), wishes=Wishes(cache_ram=wish), known=Known(cache_ram=known))
    assert choice.path.cache_ram == size
    assert ("--cache-ram" in arguments(choice.path, Wishes(cache_ram=wish))) is (wish is None)


def test_nothing_is_locked_unless_asked_for() -> None:
    choice = chosen(lockable=8 << 20)
    assert choice.path.load_mode == "auto"
    assert "yours to ask for: --load-mode mmap+mlock" in losers(choice, "load mode")["mmap+mlock"]
    assert chosen(wishes=Wishes(load_mode="mmap+mlock")).path.load_mode == "mmap+mlock"
    assert chosen(wishes=Wishes(load_mode="none"), lockable=8 << 20).path.load_mode == "none"
    with pytest.raises(InputError, match=r"^--load-mode mlock would lock 5,000 MB where 8.4 MB are allowed: raise the"):
        chosen(wishes=Wishes(load_mode="mlock"), lockable=8 << 20)


def test_what_may_be_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, resource.RLIM_INFINITY))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_memory.lockable() == 8 << 20
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose_memory.lockable() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert choose_memory.lockable() is None


NODES = (NumaNode(0, frozenset(range(8))), NumaNode(1, frozenset(range(8, 16))))


@pytest.mark.parametrize(
    ("facts", "value", "reason"),
    [
        ({}, "", "all memory is equally near to all CPUs"),
        ({"numa": NODES}, "distribute", "the memory is on 2 nodes: threads stay beside the part of the weights"),
        ({"numa": NODES, "allowed": 8, "allowed_cores": 4}, "", "threads would be bound to CPUs that this"),
        ({"numa": NODES, "quota": 4.0}, "", "threads would be bound to CPUs that this"),
        ({"numa": NODES, "cores": 1, "allowed_cores": 1}, "", "1 threads do not reach all 2 nodes"),
    ],
)
def test_numa(facts: dict[str, Any], value: str, reason: str) -> None:
    choice = chosen(machine(**facts))
    assert choice.path.numa == value
    assert choice.of("NUMA").reason.startswith(reason)
    assert ("--numa" in arguments(choice.path, Wishes())) is bool(value)


def test_numa_by_wish() -> None:
    assert chosen(wishes=Wishes(numa="isolate")).path.numa == "isolate"


def test_context() -> None:
    assert (chosen().path.context, chosen().of("context").value) == (0, "8,192 tokens")
    assert chosen(wishes=Wishes(context=512)).path.context == 512


def test_arguments() -> None:
    path = chosen().path
    assert arguments(path, Wishes()) == (
        "-t", "8", "-tb", "8", "-b", "2048", "-ub", "512", "-fa", "auto", "--cache-ram", "8192", "--load-mode", "auto",
        "-dev", "none",
    )  # fmt: skip
    all_given = Wishes(None, None, None, None, 1, 2, 3, 4, "on", False, 5, "mmap", "isolate", 512, None)
    assert arguments(chosen(wishes=all_given).path, all_given) == ("-dev", "none")
    assert "--no-repack" in arguments(path._replace(repack=False), Wishes())


def test_a_context_of_0_does_not_undo_what_fits() -> None:
    assert "-c" in overruled(chosen().path, Wishes(context=0))
    assert "-c" not in overruled(chosen().path, Wishes(context=512))


def test_wishes_are_read_from_the_options() -> None:
    words = "-t 3 -tb 4 -b 5 -ub 6 -fa off --no-repack -cram 7 -lm mmap --numa isolate -c 512 -ngl 9 -dev Vulkan0"
    given = options.parse([*words.split(), "-ctv", "q8_0"])
    assert wishes("x64", "auto", given) == Wishes(
        "x64", "auto", "9", "Vulkan0", 3, 4, 5, 6, "off", False, 7, "mmap", "isolate", 512, "q8_0"
    )
    assert wishes(None, None, ()) == Wishes()


def test_report_is_plain_data() -> None:
    import json

    report = chosen().report()
    assert json.loads(json.dumps(report)) == json.loads(json.dumps(report, default=lambda _: pytest.fail("not plain")))
    assert [one["part"] for one in report["decisions"]] == [
        "kernel", "repack", "gpu", "gpu layers", "threads", "threads for prompts", "batch", "flash attention",
        "prompt cache", "load mode", "NUMA", "context",
    ]  # fmt: skip
    assert all(one["reason"] for one in report["decisions"])


def test_decided_elsewhere() -> None:
    choice = chosen()
    shorter = choice.decided(choice.path._replace(context=2048), Decision("context", "2048", "more does not fit"))
    assert (shorter.path.context, shorter.of("context").reason) == (2048, "more does not fit")
    assert len(shorter.decisions) == len(choice.decisions) and choice.path.context == 0
    assert MODEL.context_length == 8192
