"""States of prompts that are given to an engine: it answers nothing before, and takes no harm from what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Live = Callable[..., dict[str, Any]]
OPTIONS = ("-c", "512", "-np", "1", "-t", "1")


def test_engine_waits_for_what_it_was_promised(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATES", "")
    found = live("prompts", *OPTIONS)
    assert (found["waiting"], found["before"]) == ("loading", None)
    assert (found["phase"], found["outcome"]) == ("ready", None)
    assert found["said"]


def test_what_is_no_state_is_refused(live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    states = {"empty": b"", "garbage": b"garbage " * 999, "cut": b"qsgg\2\0\0\0" + b"\xff" * 4, "missing": None}
    for name, content in states.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("STATES", ":".join(str(tmp_path / name) for name in states))
    found = live("prompts", *OPTIONS, messages=True)
    assert found["phase"] == "ready"
    assert found["said"]
    assert len(found["outcome"]) == len(states)
    assert all(one["error"] for one in found["outcome"])
