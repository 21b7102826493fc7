"""How stored prompts get from the bundle to the engine, and what is said of those that do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_bundle import make_bundle, model
from solofile.builder.writer import PromptFile
from solofile.runtime import prompt_restore, settings
from solofile.runtime.container import Bundle
from solofile.runtime.engine_api import State
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.stored_prompts import SYSTEM, Plan
from test_stored_prompts import prompt

STATE = bytes(range(256)) * 9000


class Receiver:
    """Stands for the engine: reads the files that it is given, as llama.cpp would."""

    def __init__(self, outcome: Sequence[dict[str, Any]] = ({"tokens": 1000, "milliseconds": 1.0},)) -> None:
        self.given: list[bytes] | None = None
        self.paths: list[Path] = []
        self._outcome = list(outcome)

    def give_prompts(self, files: Sequence[Path]) -> None:
        self.paths = list(files)
        self.given = [file.read_bytes() for file in files]

    def prompts(self) -> list[dict[str, Any]] | None:
        return self._outcome

    def state(self) -> State:
        return State("ready")


def stored(folder: Path, *prompts: Prompt) -> Bundle:
    folder.mkdir(exist_ok=True)
    files = []
    for number, one in enumerate(prompts):
        file = folder / f"{number}.kv"
        file.write_bytes(STATE + bytes([number]))
        files.append(PromptFile(one, file))
    return Bundle.open(make_bundle(folder, prompts=files, system_prompt="Be kind."))


def restored(bundle: Bundle, found: Plan, cache: Path, engine: Receiver) -> list[str]:
    said: list[str] = []
    prompt_restore.begin(found, bundle, cache, engine, said.append).join(10)  # type: ignore[arg-type]
    return said


def test_bundle_names_the_model_that_it_was_made_with(tmp_path: Path) -> None:
    with stored(tmp_path, prompt()) as bundle:
        [found] = bundle.manifest.prompts
        assert found.model_sha256 == bundle.part(model("tiny").path).sha256
        assert bundle.read(SYSTEM) == STATE + b"\0"


def test_states_are_handed_over_in_order(tmp_path: Path) -> None:
    with stored(tmp_path, prompt(), prompt("prompts/tools.kv")) as bundle:
        engine = Receiver()
        assert restored(bundle, Plan(bundle.manifest.prompts, (), again=True), tmp_path, engine) == []
        assert engine.given == [STATE + b"\0", STATE + b"\1", STATE + b"\0"]
        assert not any(path.exists() for path in engine.paths)


def test_without_files_in_memory_they_lie_in_the_cache_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with stored(tmp_path, prompt()) as bundle:
        engine = Receiver()
        assert restored(bundle, Plan(bundle.manifest.prompts), tmp_path, engine) == []
        assert engine.given == [STATE + b"\0"]
        assert engine.paths[0].is_relative_to(tmp_path / "state")
        assert not engine.paths[0].exists()


def test_damaged_state_is_said_and_left_out(tmp_path: Path) -> None:
    with stored(tmp_path, prompt(), prompt("prompts/tools.kv")) as bundle:
        offset = bundle.part(SYSTEM).offset + 70_000
        with Path(bundle.path).open("r+b") as file:
            file.seek(offset)
            file.write(b"!")
        engine = Receiver()
        [sentence] = restored(bundle, Plan(bundle.manifest.prompts), tmp_path, engine)
        assert engine.given == [STATE + b"\1"]
        assert sentence.startswith(f"The stored prompt {SYSTEM} is not used, since it is damaged, and it is computed")


def test_refusal_of_llama_cpp_is_said(tmp_path: Path) -> None:
    with stored(tmp_path, prompt()) as bundle:
        engine = Receiver([{"error": "n_stream mismatch"}])
        [sentence] = restored(bundle, Plan(bundle.manifest.prompts), tmp_path, engine)
        assert "llama.cpp refuses it (n_stream mismatch)" in sentence


def test_unwritable_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    (tmp_path / "state").write_text("no folder")
    with stored(tmp_path, prompt()) as bundle:
        engine = Receiver()
        [sentence] = restored(bundle, Plan(bundle.manifest.prompts), tmp_path, engine)
        assert "cannot be unpacked" in sentence
        assert engine.given == []


@pytest.mark.parametrize(("words", "used"), [
    (["--server"], [SYSTEM, "prompts/tools.kv"]), (["-p", "Hi"], [SYSTEM]), (["--bench"], []),
    (["--server", "-sys", "Be rude."], ["prompts/tools.kv"]),
])  # fmt: skip
def test_modes(tmp_path: Path, words: list[str], used: list[str], choose: Callable[..., Any]) -> None:
    with stored(tmp_path, prompt(), prompt("prompts/tools.kv")) as bundle:
        launch = settings.resolve(words, bundle.manifest, {})
        found = prompt_restore.plan(launch, bundle, choose(launch, bundle, {}))
        assert [one.path for one in found.used] == used
        if used == [SYSTEM]:
            assert list(prompt_restore.sentences(found)) == ["The stored prompt is taken as read: 1000 tokens."]
            assert not found.again


@pytest.fixture
def choose() -> Callable[..., Any]:
    from rules import choose_by_rules

    return choose_by_rules
