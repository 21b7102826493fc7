"""Measuring how many threads are fastest, in the loaded context, between the load and the first request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from embedding import host_file
from solofile.runtime.engine import LlamaEngine, Member
from solofile.runtime.errors import InputError
from tiny_model import write_tiny_model
from tiny_others import write_tiny_encoder, write_tiny_mamba

Live = Callable[..., dict[str, Any]]

WISH = {"seconds": 0.8, "decode_threads": [1, 2], "prompt_threads": [1, 2], "depth": 64}

two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


def check(found: dict[str, Any], *, decodes: bool = True) -> None:
    """What holds for each calibration that was not interrupted."""
    assert not found["interrupted"]
    assert set(found["prompt"]) <= {"1", "2"}
    assert set(found["decode"]) <= ({"1", "2"} if decodes else set())
    assert all(rate > 0 for kind in ("decode", "prompt") for rate in found[kind].values())
    for kind, threads in (("decode", "threads"), ("prompt", "threads_batch")):
        rates = found[kind]
        if len(rates) == 2:
            # The fewest that are within 3 % of the best; the rates are told with two digits after the point.
            wanted = 1 if rates["1"] * 1.03 >= rates["2"] - 0.02 else 2
            assert found[threads] in (wanted, 1 if rates["1"] * 1.03 >= rates["2"] + 0.02 else 2)
    assert 0 < found["cpu_share"] <= 1


def test_it_measures_and_applies_the_best(live: Live, large_member: Member) -> None:
    found = live("calibrated", "-c", "1024", "-t", "2", model=large_member, calibrate=WISH)
    check(found["calibration"])
    assert set(found["calibration"]["decode"]) == {"1", "2"}
    assert found["computing"] == found["calibration"]["threads"]


def test_an_answer_is_the_same_with_and_without(live: Live, large_member: Member) -> None:
    options = ("-c", "1024", "-t", "1", "-np", "1")
    with_it = live("calibrated", *options, model=large_member, calibrate={**WISH, "decode_threads": [1]})
    without = live("calibrated", *options, model=large_member)
    assert with_it["calibration"]["threads"] == 1
    assert without["calibration"] is None
    assert with_it["said"] == without["said"]
    assert with_it["cached"] == 0


def test_on_one_cpu_one_thread_is_best_and_takes_the_place_of_two(live: Live, large_member: Member) -> None:
    wish = {**WISH, "seconds": 3}
    found = live("crowded", "-c", "1024", "-t", "2", model=large_member, calibrate=wish)
    check(found["calibration"])
    assert (found["calibration"]["threads"], found["calibration"]["threads_batch"]) == (1, 1)
    assert found["computing"] == 1


@two_cpus
def test_the_number_of_threads_is_kept_after_a_sleep(live: Live, large_member: Member) -> None:
    found = live("asleep", "-c", "1024", "-t", "2", model=large_member, calibrate=WISH)
    assert found["computing"] == found["calibration"]["threads"]


def test_a_request_ends_it_and_is_answered_at_once(live: Live, large_member: Member) -> None:
    wish = {**WISH, "seconds": 60, "prompt_threads": [1]}
    found = live("interrupted", "-c", "1024", "-t", "1", "-np", "1", model=large_member, calibrate=wish)
    assert found["statuses"] == [200, 200, 200]
    assert found["before"] is None  # those need no model, and leave it alone
    assert found["calibration"]["interrupted"]
    assert (found["calibration"]["threads"], found["calibration"]["threads_batch"]) == (1, 1)
    assert found["said"][0] == found["said"][1]
    assert found["seconds"] < found["alone"] + 1


def test_a_stop_ends_it(live: Live, large_member: Member) -> None:
    found = live("stopped", "-c", "1024", "-t", "1", model=large_member, calibrate={**WISH, "seconds": 60})
    assert found["phase"] == "stopped"
    assert found["seconds"] < 2


@pytest.mark.parametrize(
    "options",
    [
        ("-c", "256", "-np", "4", "--no-kv-unified"),  # a slot has 64 tokens
        ("-c", "1024", "-np", "4", "--kv-unified"),
        ("-c", "512", "--no-warmup"),
        ("-c", "64", "-b", "16", "-ub", "8"),
        ("-c", "4096", "-fa", "off", "-ctk", "f32"),
    ],
    ids=" ".join,
)
def test_contexts_of_all_kinds(live: Live, options: tuple[str, ...]) -> None:
    found = live("calibrated", *options, "-t", "2", calibrate=WISH)
    check(found["calibration"])
    assert found["said"] == live("calibrated", *options, "-t", "2")["said"]


def test_a_recurrent_model(live: Live, tmp_path: Path) -> None:
    model = host_file(tmp_path, write_tiny_mamba(tmp_path / "mamba.gguf"))
    found = live("calibrated", "-c", "512", "-t", "2", model=model, calibrate=WISH)
    check(found["calibration"])
    assert found["said"] == live("calibrated", "-c", "512", "-t", "2", model=model)["said"]


@pytest.mark.parametrize("context", ["96", "1024"])
def test_an_encoder_has_prompts_alone(live: Live, tmp_path: Path, context: str) -> None:
    # More context than the encoder has positions for: those would lie outside its weights.
    model = host_file(tmp_path, write_tiny_encoder(tmp_path / "bert.gguf", context=96))
    options = ("--embeddings", "-c", context, "-b", context, "-ub", context, "-t", "2")
    found = live("calibrated", *options, model=model, calibrate=WISH)
    check(found["calibration"], decodes=False)
    assert found["calibration"]["batch"] <= 96
    assert found["said"] == live("calibrated", *options, model=model)["said"]


def test_embeddings_of_a_chat_model(live: Live) -> None:
    options = ("--embeddings", "--pooling", "mean", "-c", "512", "-t", "2")
    found = live("calibrated", *options, calibrate=WISH)
    check(found["calibration"], decodes=False)
    assert found["said"] == live("calibrated", *options)["said"]


def test_a_draft_model_is_left_alone(live: Live, tmp_path: Path) -> None:
    draft = write_tiny_model(tmp_path / "draft.gguf")
    found = live("calibrated", "-c", "512", "-t", "2", "-md", str(draft), calibrate=WISH)
    check(found["calibration"])
    assert found["said"] == live("calibrated", "-c", "512", "-t", "2", "-md", str(draft))["said"]


def test_too_little_time_for_a_comparison_changes_nothing(live: Live, large_member: Member) -> None:
    found = live(
        "calibrated", "-c", "1024", "-t", "2", "-np", "1", model=large_member, calibrate={**WISH, "seconds": 0.001}
    )["calibration"]  # fmt: skip
    assert len(found["decode"]) <= 1
    assert found["prompt"] == {}
    assert (found["threads"], found["threads_batch"]) == (2, 2)


@pytest.mark.parametrize(
    "wish", ["{", "[]", "{}", '{"seconds": 0}', '{"seconds": 1, "decode_threads": [0]}', '{"seconds": "many"}']
)
def test_a_wish_that_cannot_be_read_is_an_error(native_dir: Path, backend: Path, member: Member, wish: str) -> None:
    with pytest.raises(InputError, match="calibration"):
        LlamaEngine.start(native_dir, [backend], ["-m", member.name], [member], calibrate=wish)
