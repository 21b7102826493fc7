"""Reading a model in order before it is loaded, and what is known of it in memory."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from embedding import host_file
from solofile.runtime.engine import LlamaEngine, Member, prepare, resident
from solofile.runtime.errors import EngineError
from tiny_model import write_tiny_model

Live = Callable[..., dict[str, Any]]

AHEAD = 10 << 20
"""Bytes that may be in memory before they are counted as read."""


@pytest.fixture
def in_public() -> Iterator[Path]:
    """A folder that every user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def on_a_medium(native_dir: Path, large_member: Member) -> Member:
    """The large model, where the page cache can be emptied of it."""
    with large_member.file.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(prepare(native_dir, [], [large_member]), large_member.name):
        pytest.skip("the temporary folder is in memory")
    return large_member


def test_a_cold_model_is_read_in_order_and_once(live: Live, on_a_medium: Member) -> None:
    found = live("cold", "-c", "512", "-np", "1", "-t", "1", model=on_a_medium, read_first=True)
    size = on_a_medium.size
    assert found["before"] == 0
    assert len(found["samples"]) > 5
    for done, total, earlier, later, phase, progress, message in found["samples"]:
        assert total == size
        assert earlier <= done + AHEAD
        assert done <= later
        assert phase == "loading"
        assert 0 <= progress <= done / total
        assert re.fullmatch(r"Reading the model: \d+ of \d+ MB( at [\d.]+ MB/s, \d+ s left)?", message)
    done = [sample[0] for sample in found["samples"]]
    assert all(before <= after for before, after in itertools.pairwise(done))
    assert found["read"] == size
    assert found["phase"] == "ready"
    assert found["later_from_medium"] <= 1 << 20  # the load and an answer: nothing of the model once more
    assert size <= found["of_file"] <= size + 2 * 4096  # and nothing beside it


def test_without_it_the_load_reads_the_model(live: Live, on_a_medium: Member) -> None:
    found = live("cold", "-c", "512", "-np", "1", "-t", "1", model=on_a_medium)
    assert found["samples"] == []
    assert found["phase"] == "ready"
    assert found["later_from_medium"] + found["from_medium"] <= on_a_medium.size + (1 << 20)


def test_a_stop_ends_the_reading(live: Live, on_a_medium: Member) -> None:
    found = live("stopped", "-c", "512", model=on_a_medium, read_first=True)
    assert (found["phase"], found["reading"]) == ("stopped", None)
    assert found["seconds"] < 0.5


def test_a_member_that_is_shorter_than_it_says_is_left_to_the_loader(live: Live, tmp_path: Path) -> None:
    member = host_file(tmp_path, write_tiny_model(tmp_path / "tiny.gguf"))
    longer = replace(member, size=member.size + (64 << 20))
    found = live("calibrated", "-c", "512", model=longer, read_first=True)
    assert found["phase"] == "ready"


def test_what_is_not_known_cannot_be_read(native_dir: Path, backend: Path, member: Member) -> None:
    with pytest.raises(EngineError, match="nothing"):
        LlamaEngine.start(native_dir, [backend], ["-m", member.name], [member], read_first=["nothing"])


def test_residence_of_an_unknown_member_is_unknown(native_dir: Path) -> None:
    assert resident(prepare(native_dir, [], []), "nothing") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_residence_of_a_foreign_file_is_found_by_samples(live: Live, in_public: Path) -> None:
    model = host_file(in_public, write_tiny_model(in_public / "large.gguf", layers=8, width=256))
    found = live("sampled", model=model)
    if found["none"]:
        pytest.skip("the temporary folder is in memory")
    assert found["all"] == model.size
    assert 0.45 * model.size < found["half"] < 0.6 * model.size


def test_busy_tells_how_long_a_batch_has_been_computed(live: Live, large_member: Member) -> None:
    found = live("watched", "-c", "2048", "-np", "1", "-t", "1", "-ub", "32", "-b", "32", model=large_member)
    assert (found["idle"], found["after"]) == (0, 0)
    assert found["most"] > 0.02
    assert found["samples"] > 5
