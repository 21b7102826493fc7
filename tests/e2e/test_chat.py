"""The chat of a real bundle in a real terminal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import QUESTION
from terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")]

SLOW = 60.0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal("e2e", tmp_path, columns=120)
    yield made
    made.close()


def test_an_answer_is_stopped_and_a_second_ctrl_c_leaves(
    terminal: Terminal, smollm2_bundle: Path, environment: dict[str, str]
) -> None:
    terminal.start([smollm2_bundle, "--chat", "--ignore-eos", "-n", "3000"], environment)
    assert terminal.sees("\n>", SLOW), terminal.screen()
    terminal.type(QUESTION, "Enter")
    assert terminal.sees("Paris", SLOW), terminal.screen()
    terminal.type("", "C-c")
    assert terminal.sees("\n>", times=2), terminal.screen()
    assert terminal.left(0.5) is None, "the first Ctrl-C ends the answer and not the chat"
    before = terminal.screen()
    time.sleep(0.5)
    assert terminal.screen() == before, "the answer went on after Ctrl-C"
    terminal.type("", "C-c")
    assert terminal.left() == 0, terminal.screen()
    assert terminal.echoes()


def test_a_conversation_is_saved_and_gone_on_with(
    terminal: Terminal, smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("The secret word is rhubarb.\n")
    terminal.start([smollm2_bundle, "--chat", "--temp", "0", "-n", "40"], environment)
    assert terminal.sees("\n>", SLOW), terminal.screen()
    terminal.type(f"/file {notes}", "Enter")
    assert terminal.sees("tokens) goes with the next question"), terminal.screen()
    terminal.type("What is the secret word?", "Enter")
    assert terminal.sees("a second · context ", SLOW), terminal.screen()
    terminal.type("/regen", "Enter")
    assert terminal.sees("a second · context ", SLOW), terminal.screen()
    for name in ("chat.json", "chat.md"):
        terminal.type(f"/save {tmp_path / name}", "Enter")
        assert terminal.sees(f"Saved to {tmp_path / name}."), terminal.screen()
    messages = json.loads((tmp_path / "chat.json").read_text())["messages"]
    assert [one["role"] for one in messages] == ["system", "user", "assistant"]
    assert "rhubarb" in messages[1]["content"]
    terminal.type("/clear", "Enter")
    assert terminal.sees("A new conversation."), terminal.screen()
    terminal.type(f"/load {tmp_path / 'chat.md'}", "Enter")
    assert terminal.sees("chat.md: 1 answer."), terminal.screen()
    terminal.type(f"/save {tmp_path / 'again.json'}", "Enter")
    assert terminal.sees("again.json."), terminal.screen()
    assert json.loads((tmp_path / "again.json").read_text())["messages"] == messages
    terminal.type("/quit", "Enter")
    assert terminal.left() == 0, terminal.screen()
    assert terminal.errors.read_text() == ""
