"""A worker that was lost: what is noted, who reads it, how a server goes on; and the room for weights on the disk."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from solofile.runtime import cache, rpc_cache, sharing
from solofile.runtime.control import Control
from solofile.runtime.rpc_settings import Endpoint

WORKER = Endpoint("10.0.0.2", 50052)
Usage = namedtuple("Usage", "total used free")


def crashed(launcher: str = "77") -> dict[str, str]:
    return {"SOLOFILE_CRASH": "SIGABRT", "SOLOFILE_LAUNCHER_PID": launcher}


def give_up(folder: Path, launcher: str = "77") -> tuple[list[str], int]:
    """What is said, and how often the process ended."""
    (folder / "state").mkdir(exist_ok=True)
    said: list[str] = []
    ended: list[int] = []
    environ = {"SOLOFILE_LAUNCHER_PID": launcher}
    sharing.give_up(folder, environ, WORKER, "The worker is gone.", said.append, lambda: ended.append(1))
    return said, len(ended)


def test_the_start_after_it_knows_who_was_lost(tmp_path: Path) -> None:
    said, ended = give_up(tmp_path)
    assert said == ["The worker is gone. Starting once more without it."]
    assert ended == 1
    assert sharing.lost_before(tmp_path, crashed()) == {"10.0.0.2:50052"}


def test_nobody_else_goes_by_the_note(tmp_path: Path) -> None:
    assert not sharing.lost_before(tmp_path, crashed()), "there is none"
    give_up(tmp_path)
    assert not sharing.lost_before(tmp_path, crashed("78")), "another launcher"
    assert not sharing.lost_before(tmp_path, {"SOLOFILE_LAUNCHER_PID": "77"}), "nothing crashed"
    assert not sharing.lost_before(tmp_path, {"SOLOFILE_CRASH": "SIGABRT"}), "no launcher"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"launcher": "77"}', '{"workers": [], "launcher": 77}'])
def test_a_note_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / sharing.NOTE).write_text(text)
    assert not sharing.lost_before(tmp_path, crashed())


def test_a_note_that_cannot_be_written_keeps_nobody_from_ending(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    ended: list[int] = []
    sharing.give_up(tmp_path, {}, WORKER, "It is gone.", lambda _: None, lambda: ended.append(1))
    assert ended


def test_a_server_is_asked_to_go_on_without_a_worker_once() -> None:
    control = Control()
    control.renew(WORKER, "A worker is gone.")
    control.renew(WORKER._replace(port=1), "Another one is gone.")
    control.switch("model")
    assert control.ending
    assert control.lost_worker == WORKER
    assert control.reason == "A worker is gone."
    assert not control.next_model


def weights(folder: Path, *sizes: int) -> list[Path]:
    """Files of these sizes, the first used longest ago."""
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:016x}"
        path.write_bytes(bytes(size))
        os.utime(path, (1000 + number, 1000 + number))
        found.append(path)
    return found


def test_the_oldest_weights_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = weights(tmp_path, 100, 100, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 0, 1000))
    assert rpc_cache.make_room(tmp_path) == 0, "300 of 650"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 900, 100))
    assert rpc_cache.make_room(tmp_path) == 1, "300 of 200"
    assert [one.exists() for one in (first, second, third)] == [False, True, True]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 1000, 0))
    assert rpc_cache.make_room(tmp_path) == 1
    assert not second.exists()
    assert third.exists()


def test_the_folder_is_this_users_alone_and_is_cleared_with_the_rest(tmp_path: Path) -> None:
    folder = rpc_cache.folder_of(tmp_path)
    assert folder == tmp_path / "rpc"
    assert folder.stat().st_mode & 0o777 == 0o700
    weights(folder, 10)
    said: list[str] = []
    cache.clear(tmp_path, set(), said.append)
    assert not folder.exists()
    assert any(str(folder) in one for one in said)
    assert rpc_cache.folder_of(tmp_path / "none" / "there") is None
