"""--bench on a scripted engine whose speed is known, and --compare with programs in the place of kernel paths."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from choice_support import machine
from fake_engine import FakeEngine, Script
from solofile.runtime import bench, compare, own_program
from solofile.runtime.bench import Plan, measure, plan_of, speeds, within
from solofile.runtime.bench_result import Figure, Result, Row
from solofile.runtime.compare import Candidate, candidates, kept_words, thread_counts
from solofile.runtime.errors import EngineError, InputError
from solofile.runtime.kernel_path import KernelPath

SENTENCE = "Kernels: haswell on 2 threads (it is the fastest)."


def answer(count: int) -> Script:
    """So many tokens, 5 ms each, after 50 ms of prompt."""
    chunks = [b'data: {"content":"x","stop":false,"tokens_predicted":%d}\n\n' % (n + 1) for n in range(count)]
    chunks.append(b'data: {"content":"","stop":true,"tokens_predicted":%d}\n\n' % count)
    return Script(chunks, think=0.05, delay=0.005)


def scripted(*, slots: int = 4, context: int = 4096) -> FakeEngine:
    engine = FakeEngine()
    props = {"total_slots": slots, "default_generation_settings": {"n_ctx": context}, "model_alias": "tiny"}
    engine.on("GET", "/props", Script([json.dumps(props).encode()]))
    engine.on("POST", "/tokenize", Script([b'{"tokens":[1,2,3,4,5,6,7]}']))
    engine.on("POST", "/completion", lambda request: answer(json.loads(request.body)["n_predict"]))
    return engine


def bodies(engine: FakeEngine) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in engine.requests if request.path == "/completion"]


def test_figures_are_those_of_the_clock() -> None:
    engine = scripted()
    result = measure(engine, SENTENCE, Plan(prompt=100, answer=40, runs=3), print)
    one, four = result.rows
    assert (one.streams, four.streams, result.runs, result.model) == (1, 4, 3, "tiny")
    assert one.first.median == pytest.approx(0.055, abs=0.02)
    assert one.prompt.median == pytest.approx(100 / 0.055, rel=0.3)
    assert one.answer.median == pytest.approx(1 / 0.005, rel=0.3)
    assert four.answer.median > 2 * one.answer.median


def test_asks_for_what_no_cache_holds() -> None:
    engine = scripted()
    measure(engine, SENTENCE, Plan(prompt=100, answer=8, runs=2), print)
    warm_up, *asked = bodies(engine)
    assert len(asked) == 2 * (1 + 4)
    assert warm_up["n_predict"] == 8
    assert {len(body["prompt"]) for body in asked} == {100}
    assert len({tuple(body["prompt"]) for body in asked[1:5]}) == 4
    for body in asked:
        assert (body["ignore_eos"], body["cache_prompt"], body["temperature"]) == (True, False, 0)


@pytest.mark.parametrize(
    ("context", "streams", "found"),
    [(4096, 4, (256, 64)), (1284, 4, (256, 64)), (1024, 4, (204, 51)), (512, 1, (256, 64)), (100, 4, (16, 8))],
)
def test_tokens_are_cut_to_the_context(context: int, streams: int, found: tuple[int, int]) -> None:
    assert within(context, streams, 256, 64) == found
    assert (found[0] + found[1]) * streams < context


def test_context_that_is_too_short_is_said() -> None:
    with pytest.raises(InputError, match="give -c 2048"):
        within(64, 4, 256, 64)


def test_one_slot_is_measured_with_one_reader() -> None:
    assert [row.streams for row in measure(scripted(slots=1), SENTENCE, Plan(8, 8, runs=1), print).rows] == [1]


def test_slow_machine_gets_fewer_runs_and_is_told() -> None:
    said: list[str] = []
    result = measure(scripted(), SENTENCE, Plan(8, 8, patience=0.0), said.append)
    assert result.runs == 1
    assert said == ["It is slow here, so 1 of 5 runs must do."]
    assert next(result.lines()) == "tiny: 8 tokens of prompt, 8 of answer; 1 run."


def test_speeds_count_from_when_all_write() -> None:
    first = [(1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4)]
    second = [(2.0, 1), (3.0, 2), (4.0, 4), (4.0, 4)]
    prompt, made, firsts = speeds(0.0, 100, [first, second])
    assert prompt == 100  # 200 tokens within 2 s
    assert made == (4 + 4 - 2 - 1) / 2
    assert firsts == [1.0, 2.0]


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        (Script([b'{"error":{"code":400,"message":"too long"}}'], 400), InputError, "too long"),
        (Script([b'data: {"error":{"code":500,"message":"Compute error"}}\n\n']), EngineError, "Compute error"),
        (Script(error=RuntimeError("boom")), EngineError, "boom"),
        (Script([]), EngineError, "before its first token"),
    ],
)
def test_failures_are_ours(script: Script, kind: type[Exception], says: str) -> None:
    engine = scripted()
    engine.on("POST", "/completion", script)
    with pytest.raises(kind, match=says):
        measure(engine, SENTENCE, Plan(8, 8), print)


def test_model_without_answers_is_refused() -> None:
    engine = FakeEngine()
    with pytest.raises(InputError, match="File Not Found"):
        measure(engine, SENTENCE, Plan(), print)


def test_interruption_cancels_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted()
    engine.on("POST", "/completion", Script([b"data: {}\n\n"], think=30))

    def interrupt(_: threading.Thread, __: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench._Reader, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure(engine, SENTENCE, Plan(8, 8), print)
    assert len(engine.cancelled) == 1


RESULT = Result(
    "tiny", SENTENCE, 256, 64,
    (
        Row(1, Figure((147.2, 145.1, 149.0)), Figure((90.1, 88.0, 90.9)), Figure((1.75, 1.7, 1.8))),
        Row(4, Figure((151.0, 150.0, 152.0)), Figure((101.0, 100.0, 99.5)), Figure((6.5, 6.4, 6.6))),
    ),
)  # fmt: skip


def test_table_for_a_person() -> None:
    assert list(RESULT.lines()) == [
        "tiny: 256 tokens of prompt, 64 of answer; median (least … most) of 3 runs.",
        SENTENCE,
        "",
        "streams  prompt, tokens/s          answer, tokens/s          first token, s",
        "      1  147  (145 … 149)          90.1  (88.0 … 90.9)       1.75  (1.70 … 1.80)",
        "      4  151  (150 … 152)          100  (99.5 … 101)         6.50  (6.40 … 6.60)",
    ]


def test_disturbance_is_said() -> None:
    row = RESULT.rows[0]._replace(answer=Figure((90.0, 45.0, 91.0)))
    uneven = RESULT._replace(rows=(row,))
    assert uneven.disturbance == "The runs differ by up to 51%: run it again when the machine is quiet."
    assert list(uneven.lines())[-2:] == ["", uneven.disturbance]
    assert RESULT._replace(others=0.23).disturbance == (
        "Other programs had 23% of the CPUs: run it again when the machine is quiet."
    )
    assert uneven._replace(others=0.23).disturbance == (
        "The runs differ by up to 51% and other programs had 23% of the CPUs: run it again when the machine is quiet."
    )


class Busy:
    """A machine on which others have a third of the CPUs."""

    def share(self) -> float:
        return 1 / 3


def test_other_programs_are_noticed(monkeypatch: pytest.MonkeyPatch, program: list[str], world: dict[str, str]) -> None:
    monkeypatch.setattr("solofile.runtime.other_load.Watch", Busy)
    assert measure(scripted(), SENTENCE, Plan(8, 8, runs=1), print).others == 1 / 3
    said: list[str] = []
    words = ["-c", "512"]
    compare.compare([CHOSEN], [], words, io.StringIO(), environ=world, command=program, say=said.append)
    assert said[-1] == "Other programs had 33% of the CPUs meanwhile: compare again when the machine is quiet."


def test_json_for_a_program() -> None:
    engine, out = scripted(), io.StringIO()
    facts = {"variant": "haswell", "threads": 2}
    bench.run(engine, SENTENCE, out, as_json=True, plan=Plan(8, 8, runs=2), facts=facts)
    found = json.loads(out.getvalue())
    assert (found["variant"], found["threads"], found["runs"], found["kernels"]) == ("haswell", 2, 2, SENTENCE)
    assert [row["streams"] for row in found["streams"]] == [1, 4]
    assert len(found["streams"][0]["answer_tokens_per_second"]["values"]) == 2
    assert set(found["streams"][0]["seconds_to_first_token"]) == {"median", "least", "most", "values"}


def test_waits_for_the_model() -> None:
    engine = scripted()
    engine.become("failed", message="unknown architecture.")
    with pytest.raises(EngineError, match="unknown architecture"):
        bench.run(engine, SENTENCE, io.StringIO())


def test_figures() -> None:
    assert Figure((3.0, 1.0, 2.0, 10.0)).median == 2.5
    assert Figure((8.0, 10.0, 12.0)).spread == pytest.approx(0.4)
    assert Figure((0.0,)).spread == 0.0
    assert Figure((0.5512,)).text() == "0.551"
    assert Figure((12345.6,)).text() == "12346"


# --- --compare

CHOSEN = Candidate("haswell", 2, 2)


def test_candidates_are_every_variant_with_every_number_of_threads() -> None:
    found = candidates(CHOSEN, ["haswell", "x64"], [1, 2])
    assert found[0] == CHOSEN
    assert set(found[1:]) == {
        Candidate("haswell", 2, 2, repack=False),
        Candidate("haswell", 1, 1),
        Candidate("x64", 1, 1),
        Candidate("x64", 2, 2),
    }
    assert len(found) == 5
    assert candidates(CHOSEN, ["haswell", "x64"], [1, 2], repacks=False) == [
        CHOSEN, Candidate("haswell", 1, 1), Candidate("x64", 2, 2), Candidate("x64", 1, 1),
    ]  # fmt: skip
    path = KernelPath("haswell", "vulkan", "Vulkan0", threads=2, threads_batch=2)
    gpu = Candidate.of(path)
    assert gpu == CHOSEN._replace(gpu="vulkan", device="Vulkan0")
    assert CHOSEN in candidates(gpu, ["haswell"], [2])


@pytest.mark.parametrize(
    ("cores", "allowed", "found"), [(2, 2, [1, 2]), (6, 12, [1, 2, 4, 6, 8, 12]), (1, 1, [1]), (8, 3, [1, 2, 3])]
)
def test_numbers_of_threads(cores: int, allowed: int, found: list[int]) -> None:
    assert thread_counts(cores, allowed) == found


def test_words_force_a_path_and_keep_what_the_user_gave() -> None:
    assert CHOSEN.words() == ["--kernel", "haswell", "-t", "2", "-tb", "2", "--repack", "--gpu", "none"]
    gpu = Candidate("x64", 1, 4, repack=False, gpu="vulkan", device="Vulkan0")
    assert gpu.words() == [
        "--kernel", "x64", "-t", "1", "-tb", "4", "--no-repack", "--gpu", "vulkan", "-dev", "Vulkan0",
    ]  # fmt: skip
    given = ["--bench", "--compare", "-c", "4096", "--kernel", "x64", "--threads", "7", "--temp=0.2", "--json"]
    assert kept_words(given) == ["-c", "4096", "--temp", "0.2"]


PROGRAM = """
import json, os, signal, sys, time
words = sys.argv[1:]
kernel, threads = words[words.index("--kernel") + 1], int(words[words.index("-t") + 1])
assert os.environ["SOLOFILE_BENCH"] == "quick" and "SOLOFILE_CRASH" not in os.environ
assert {"--bench", "--json", "--no-calibrate"} <= set(words) and words[words.index("-c") + 1] == "512"
with open(os.environ["LOG"], "a") as log:
    print(kernel, threads, "--repack" in words, file=log)
if kernel == "crash":
    os.kill(os.getpid(), signal.SIGILL)
if kernel == "refused":
    sys.exit("The kernel variant refused needs AVX512, which this CPU lacks: leave --kernel out.")
if kernel == "silent":
    sys.exit(0)
if kernel == "hang":
    time.sleep(60)
speed = {"haswell": 90, "x64": 30}[kernel] * threads
figure = lambda value: {"values": [value, value + 2]}
print(json.dumps({"streams": [{
    "prompt_tokens_per_second": figure(2 * speed), "answer_tokens_per_second": figure(speed)}]}))
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path)]


@pytest.fixture
def world(tmp_path: Path) -> dict[str, str]:
    return {"LOG": str(tmp_path / "log"), "SOLOFILE_CRASH": "SIGSEGV"}


def test_paths_are_measured_in_turn_and_the_choice_is_marked(program: list[str], world: dict[str, str]) -> None:
    every = candidates(Candidate("haswell", 1, 1), ["haswell", "x64"], [1, 2])
    out = io.StringIO()
    rejected = [(name, "needs AVX512, which this CPU lacks") for name in ("skylakex", "zen4")]
    rejected.append(("sse42", "is not in this bundle: build it with --kernels all"))
    features = machine().features
    compare.compare(every, rejected, ["-c", "512"], out, environ=world, command=program, features=features)
    lines = out.getvalue().splitlines()
    assert lines == [
        "   kernels                  threads  weights        prompt, tokens/s          answer, tokens/s",
        "   haswell                        2  repacked       361  (360 … 362)          181  (180 … 182)",
        "-> haswell                        1  repacked       181  (180 … 182)          91.0  (90.0 … 92.0)",
        "   haswell                        1  as in the file 181  (180 … 182)          91.0  (90.0 … 92.0)",
        "   x64                            2  repacked       121  (120 … 122)          61.0  (60.0 … 62.0)",
        "   x64                            1  repacked       61.0  (60.0 … 62.0)       31.0  (30.0 … 32.0)",
        "",
        "The choice (->) has 50% of the best prompt speed and 50% of the best answer speed; medians (least … most).",
        "Not measured",
        "  2 kernels  this CPU lacks AVX-512 (skylakex, zen4)",
        "  sse42      not in this bundle: build it with --kernels all",
    ]
    log = Path(world["LOG"]).read_text().splitlines()
    assert len(log) == 10
    assert log[:5] == log[5:]
    assert log[0] == "haswell 1 True"


def test_what_cannot_run_is_listed_with_its_reason(program: list[str], world: dict[str, str]) -> None:
    every = [Candidate(name, 1, 1) for name in ("haswell", "crash", "refused", "silent")]
    out = io.StringIO()
    found = compare.compare(every, [], ["-c", "512"], out, environ=world, command=program, as_json=True)
    assert {one.candidate.kernel: one.reason for one in found} == {
        "haswell": "",
        "crash": "ended with SIGILL",
        "refused": "The kernel variant refused needs AVX512, which this CPU lacks: leave --kernel out",
        "silent": "ended without figures",
    }
    paths = json.loads(out.getvalue())["paths"]
    assert [row["chosen"] for row in paths] == [True, False, False, False]
    assert paths[0]["answer_tokens_per_second"]["values"] == [90, 92, 90, 92]
    assert paths[1]["answer_tokens_per_second"] is None
    assert Path(world["LOG"]).read_text().count("crash") == 1  # what cannot run is not tried twice


def test_what_hangs_is_ended(program: list[str], world: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_LEAST_LIMIT", 1.0)
    monkeypatch.setattr(compare, "_SLOWER", 0.0)
    begin = time.monotonic()
    out = io.StringIO()
    found = compare.compare(
        [CHOSEN, Candidate("hang", 1, 1)], [], ["-c", "512"], out, environ=world, command=program, passes=1
    )
    assert found[1].reason == "took longer than 1 s, ten times as long as the choice"
    assert time.monotonic() - begin < 20


def test_time_is_bounded(program: list[str], world: dict[str, str]) -> None:
    every = candidates(CHOSEN, ["haswell", "x64"], [1, 2])
    said: list[str] = []
    out = io.StringIO()
    found = compare.compare(
        every, [], ["-c", "512"], out, environ=world, command=program, budget=0.0, say=said.append
    )  # fmt: skip
    assert [one.reason for one in found] == ["", *["was not measured: 0 minutes were over"] * 4]
    assert found[0].answer is not None
    assert len(found[0].answer.values) == 2
    assert [line for line in said if " of 10" in line] == [f"1 of 10: {' '.join(CHOSEN.words())}"]


def test_a_meter_shows_how_far_it_is() -> None:
    shown: list[int] = []

    class Meter:
        def __call__(self, done: int) -> None:
            shown.append(done)

        def end(self) -> None:
            shown.append(-1)

    out = io.StringIO()
    bench.run(scripted(), SENTENCE, out, plan=Plan(8, 8, runs=2), meter=Meter())  # type: ignore[arg-type]
    assert shown == [0, 250, 500, 750, -1]


def test_interrupted_it_prints_what_there_is(program: list[str], world: dict[str, str]) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            raise KeyboardInterrupt

    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        every = candidates(CHOSEN, ["haswell", "x64"], [1, 2])
        compare.compare(every, [], ["-c", "512"], out, environ=world, command=program, say=say)
    assert said[0] == "1 of 10: --kernel haswell -t 2 -tb 2 --repack --gpu none"
    assert len(out.getvalue().splitlines()) == 4


def test_compared_processes_measure_briefly() -> None:
    assert plan_of({"SOLOFILE_BENCH": "quick"}) == Plan(streams=(1,), runs=2)
    assert plan_of({}) == Plan()


def test_command_is_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_program.command() == [sys.executable, "-m", "solofile.runtime"]
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert own_program.command() == [sys.executable]
