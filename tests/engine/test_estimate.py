"""The memory that a model will take, known before it is loaded."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from embedding import host_file
from solofile.runtime.engine import Member, estimate, prepare
from solofile.runtime.hardware import detect
from tiny_model import write_tiny_model, write_tiny_projector

Live = Callable[..., dict[str, Any]]

MIB = 1 << 20


def logged(text: str, kind: str) -> float:
    """The bytes that llama.cpp's own messages name for buffers of a ``kind``, of the last layout."""
    found = re.findall(rf"(\S+) {kind} buffer size = +([\d.]+) MiB", text)
    last = dict(found)
    return sum(float(size) for size in last.values()) * MIB


@pytest.mark.parametrize("options", [("-c", "2048"), ("-c", "8192", "-np", "4", "--no-kv-unified"), ("-c", "0")])
def test_it_is_what_the_engine_takes(live: Live, large_member: Member, options: tuple[str, ...]) -> None:
    expected = live("estimated", *options, model=large_member)["expected"]
    said = live("logged", *options, "--no-warmup", model=large_member, messages=True)["messages"]
    assert expected["host"]["context"] == pytest.approx(logged(said, "KV"), rel=0.05)
    assert expected["host"]["compute"] == pytest.approx(logged(said, "compute"), rel=0.05)
    assert expected["host"]["model"] == pytest.approx(logged(said, "model"), rel=0.05)
    assert (expected["layers"], expected["context_train"], expected["devices"]) == (8, 16384, [])
    assert expected["context"] == (int(options[1]) or 16384)


def test_a_longer_context_costs_what_it_was_expected_to(live: Live, large_member: Member) -> None:
    found = [live("estimated", "-c", context, model=large_member) for context in ("1024", "16384")]
    expected = found[1]["expected"]["host"]["context"] - found[0]["expected"]["host"]["context"]
    assert found[1]["private"] - found[0]["private"] == pytest.approx(expected, rel=0.05)


def test_it_leaves_nothing_behind(live: Live) -> None:
    found = live("estimated", "-c", "2048", "-t", "1")  # which also looks that nothing is printed
    assert found["phase"] == "ready"
    assert found["expected"] == found["again"]
    assert found["said"] == live("calibrated", "-c", "2048", "-t", "1", "--no-warmup")["said"]


def test_repacked_weights_are_told_apart(live: Live, tmp_path: Path, native_libraries: Path) -> None:
    if "avx2" not in detect().features:
        pytest.skip("this CPU repacks nothing")
    plain, packed = write_tiny_model(tmp_path / "plain.gguf", layers=4, width=512), tmp_path / "packed.gguf"
    program = native_libraries / "reference/llama-quantize"
    subprocess.run([program, "--pure", plain, packed, "Q4_0"], check=True, capture_output=True, timeout=120)
    model = host_file(tmp_path, packed)
    found = live("estimated", "-c", "512", model=model, variant="haswell")
    assert 0.5 * model.size < found["expected"]["repacked"] <= found["expected"]["host"]["model"]
    assert found["private"] > found["expected"]["repacked"] + 0.95 * found["expected"]["host"]["context"]
    unpacked = live("estimated", "-c", "512", "--no-repack", model=model, variant="haswell")["expected"]
    assert unpacked["repacked"] == 0
    assert unpacked["host"]["model"] == found["expected"]["host"]["model"]


def test_a_draft_model_and_a_projector_count(live: Live, large_member: Member, tmp_path: Path) -> None:
    draft, projector = (
        write_tiny_model(tmp_path / "draft.gguf"),
        write_tiny_projector(tmp_path / "mmproj.gguf", width=512),
    )
    options = ("-c", "1024", "-np", "1")
    alone = live("estimated", *options, model=large_member)["expected"]["host"]
    with_draft = live("estimated", *options, "-md", str(draft), model=large_member)["expected"]["host"]
    with_projector = live("estimated", *options, "--mmproj", str(projector), model=large_member)["expected"]["host"]
    assert 0.5 * draft.stat().st_size < with_draft["model"] - alone["model"] < 1.1 * draft.stat().st_size
    assert with_draft["context"] > alone["context"]
    assert with_projector["model"] - alone["model"] > 0.5 * projector.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["-m", "gone.gguf"], "gone.gguf"), (["--no-such-option"], "--no-such-option"), ([], "no model is named")],
)
def test_what_cannot_be_found_out_is_a_sentence(
    native_dir: Path, backend: Path, arguments: list[str], said: str
) -> None:
    found = estimate(prepare(native_dir, [backend], []), arguments)
    assert set(found) == {"error"}
    assert said in found["error"]
