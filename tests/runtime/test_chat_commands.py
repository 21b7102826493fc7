"""The commands of --chat, without a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script
from solofile.runtime.chat import AGAIN, ASK, LEAVE, NOTHING, Chat, Step, Usage
from solofile.runtime.chat_commands import COMMANDS, Commands, fenced
from solofile.runtime.conversation import Message
from solofile.runtime.errors import EngineError

DONE = Step(NOTHING)


class Talk:
    """A conversation, its commands, and what they say."""

    def __init__(self, engine: FakeEngine, *, template: bool = True) -> None:
        self.said: list[str] = []
        self.chat = Chat(engine, "Be brief.", template=template)
        self.commands = Commands(self.chat, self.said.append, context=1000)

    def __call__(self, line: str) -> Step:
        self.said.clear()
        return self.commands.obey(line)

    def answered(self, question: str = "Where?", answer: str = "Paris.") -> None:
        self.chat.history += [Message("user", question), Message("assistant", answer)]


@pytest.fixture
def talk(engine: FakeEngine) -> Talk:
    engine.on("POST", "/tokenize", Script([json.dumps({"tokens": [1] * 12}).encode()]))
    return Talk(engine)


@pytest.mark.parametrize("line", ["What is /etc?", "/etc/passwd is what?", "/ what?", "/2", "  /help", "a\n/help"])
def test_what_is_no_command_is_asked(talk: Talk, line: str) -> None:
    assert talk(line) == Step(ASK, line)


def test_a_slash_can_be_asked(talk: Talk) -> None:
    assert talk("//help me") == Step(ASK, "/help me")


@pytest.mark.parametrize("line", ["", "  ", "\n"])
def test_nothing_asks_nothing(talk: Talk, line: str) -> None:
    assert (talk(line), talk.said) == (DONE, [])


def test_help_names_every_command_and_the_keys(talk: Talk) -> None:
    assert talk("/help") == DONE
    [text] = talk.said
    assert [name for name in COMMANDS if f"/{name}" not in text] == []
    assert "Alt-Enter" in text and "Ctrl-C" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/hlep", "Unknown command /hlep: did you mean /help? To ask that, write //hlep…"),
        ("/xyz", "Unknown command /xyz: /help lists them. To ask that, write //xyz…"),
        ("/help!", "Unknown command /help: did you mean /help? To ask that, write //help…"),
        ("/quit now", "/quit takes nothing after it: leave now out, or ask without the slash."),
        ("/regen", "There is no question yet that could be answered anew: ask one."),
        ("/save", "/save needs a path: end it in .json or .md, as in /save chat.md."),
        ("/load", "/load needs a path, as in /load chat.md."),
        ("/load nowhere.md", "nowhere.md cannot be read (No such file or directory): give another path."),
        ("/file nowhere.md", "nowhere.md cannot be read (No such file or directory): give another path."),
        ("/save chat.md", "There is nothing to save yet: ask something."),
    ],
)
def test_what_goes_wrong_is_one_sentence(talk: Talk, line: str, said: str) -> None:
    assert (talk(line), talk.said) == (DONE, [said])


def test_case_does_not_matter(talk: Talk) -> None:
    assert talk("/QUIT") == Step(LEAVE)


def test_the_system_prompt_is_shown_set_and_removed(talk: Talk) -> None:
    talk.answered()
    turns = talk.chat.history[1:]
    talk("/system")
    assert talk.said == ["The system prompt: Be brief."]
    talk("/system Be\nlong.")
    assert talk.chat.history == [Message("system", "Be\nlong."), *turns]
    talk("/system -")
    assert talk.chat.history == turns
    talk("/system")
    assert talk.said == ["There is no system prompt."]


def test_without_turns_there_is_no_system_prompt(engine: FakeEngine) -> None:
    talk = Talk(engine, template=False)
    assert talk("/system x") == DONE
    assert "knows no chat" in talk.said[0]


def test_clear_keeps_the_system_prompt(talk: Talk) -> None:
    talk.answered()
    talk("/clear")
    assert talk.chat.history == [Message("system", "Be brief.")]


def test_regen_asks_again_and_brings_the_old_answer_back_where_nothing_comes(talk: Talk) -> None:
    talk.answered()
    before = list(talk.chat.history)
    assert talk("/regen") == Step(AGAIN)
    answer = talk.chat.again()
    assert answer is not None
    assert [turn.role for turn in talk.chat.history] == ["system", "user"]
    assert "".join(piece.text for piece in answer) == "Paris."
    talk.chat.forget()
    assert talk.chat.history == before


def test_save_and_load(talk: Talk, tmp_path: Path) -> None:
    talk.answered()
    path = tmp_path / "my chat.md"
    talk(f'/save "{path}"')
    assert talk.said == [f"Saved to {path}."]
    kept = list(talk.chat.history)
    talk.answered("And Italy?", "Rome.")
    assert talk("/save") == DONE
    assert talk.said == [f"Saved to {path}."], "the path of last time"
    talk("/clear")
    talk(f"/load {path}")
    assert talk.said == [f"Loaded {path}: 2 answers.", "Rome."]
    assert talk.chat.history == [*kept, Message("user", "And Italy?"), Message("assistant", "Rome.")]


def test_a_file_of_somebody_is_replaced_only_when_asked_for(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text("mine")
    talk.answered()
    talk(f"/save {path}")
    assert talk.said == [f"{path} exists: give another path, or replace it by /save! {path}."]
    assert path.read_text() == "mine"
    talk(f"/save! {path}")
    assert talk.said == [f"Saved to {path}."]


def test_a_file_goes_with_the_next_question(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("# Notes\n```\ncode\n```\n")
    assert talk(f"/file {path}") == DONE
    assert talk.said == ["notes.txt (12 tokens) goes with the next question."]
    assert talk("What is it?") == Step(ASK, "notes.txt:\n````\n# Notes\n```\ncode\n```\n````\n\nWhat is it?")
    assert talk("And?") == Step(ASK, "And?")


def test_a_file_alone_is_a_question_and_can_be_left_out(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    talk(f"/file {path}")
    assert talk("") == Step(ASK, "notes.txt:\n```\nx\n```")
    talk(f"/file {path}")
    talk("/file")
    assert talk.said == ["No file goes with the next question."]
    assert talk("") == DONE


def test_a_file_that_does_not_fit(talk: Talk, tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "book.txt"
    path.write_text("x")
    engine.on("POST", "/tokenize", Script([json.dumps({"tokens": [1] * 1000}).encode()]))
    talk(f"/file {path}")
    assert talk.said == [
        "book.txt takes 1000 tokens and the context has room for 1000: attach a part of it."
    ]  # fmt: skip
    path.write_bytes(b"\0")
    talk(f"/file {path}")
    assert talk.said == ["book.txt is neither a text nor a PDF: attach one of these."]
    assert talk.commands.files == []


def test_an_engine_that_is_no_more_ends_it(talk: Talk, tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    engine.on("POST", "/tokenize", Script([b"{}"], 500))
    talk(f"/file {path}")
    assert talk.said == ["llama.cpp did not count the tokens (status 500): ask again."]
    engine.become("failed")
    with pytest.raises(EngineError):
        talk(f"/file {path}")


def test_warns_before_the_context_is_full(talk: Talk) -> None:
    def after(context: int) -> str:
        talk.chat.usage = Usage(10, 50.0, context)
        return talk.commands.warning()

    assert after(799) == ""
    assert after(810).startswith("81 % of the context are used (810 of 1000 tokens)")
    assert after(820) == "", "once is enough"
    assert after(960).startswith("96 % ")
    assert after(100) == ""
    assert after(900).startswith("90 % ")
    talk.commands.context = None
    assert after(900) == ""


def test_fences_are_longer_than_those_inside() -> None:
    assert fenced("x\n") == "```\nx\n```"
    assert fenced("`````").startswith("``````\n")
