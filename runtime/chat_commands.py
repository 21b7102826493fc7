"""The commands of --chat on a terminal: a line that begins with a slash and a known or mistyped word."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from solofile.runtime import chat_files
from solofile.runtime.chat import AGAIN, ASK, LEAVE, NOTHING, Chat, Step
from solofile.runtime.conversation import Message
from solofile.runtime.errors import EngineError, InputError, SolofileError, UnknownName, nearest

Say = Callable[[str], None]

COMMANDS = {
    "help": ("", "list the commands and the keys"),
    "system": ("TEXT", "set the system prompt; alone: show it; with -: remove it"),
    "save": ("PATH", "write the conversation to a .json or .md; /save! replaces one"),
    "load": ("PATH", "go on with a conversation that was saved"),
    "regen": ("", "answer the last question anew"),
    "file": ("PATH", "put a text or a PDF into the next question; alone: take it out"),
    "clear": ("", "begin anew under the same system prompt"),
    "quit": ("", "leave"),
}
TAKES_PATH = ("save", "load", "file")

KEYS = """\
Enter sends. Alt-Enter, or a backslash before Enter, begins a new line.
Ctrl-C stops an answer, and leaves where there is none. Ctrl-D leaves.
A question that begins with a slash is asked with two: //…"""

_COMMAND = re.compile(r"/([A-Za-z]+)(!?)(?:[ \t\n]+|$)")
_MUCH = 0.8
"""The share of the context from which on a warning is due."""


class Attachment(NamedTuple):
    """A file that goes with the next question."""

    name: str
    text: str
    tokens: int


class Commands:
    """Obeys each line of a conversation."""

    def __init__(self, chat: Chat, say: Say, context: int | None = None) -> None:
        """``say`` tells what came of a command; ``context`` are the tokens that the model has room for."""
        self._chat, self._say = chat, say
        self.context = context
        self.files: list[Attachment] = []
        self._saved: Path | None = None
        self._warned = False

    def obey(self, line: str) -> Step:
        """What the line asks for; what goes wrong with a command is said."""
        if not line.strip() and not self.files:
            return Step(NOTHING)
        if line.startswith("//"):
            return self._ask(line[1:])
        found = _COMMAND.match(line)
        if found is None:
            return self._ask(line)
        try:
            return self._do(found[1].lower(), found[2] == "!", line[found.end() :].strip())
        except SolofileError as error:
            if isinstance(error, EngineError) and not self._chat.alive:
                raise
            self._say(str(error))
            return Step(NOTHING)

    def _ask(self, question: str) -> Step:
        files, self.files = self.files, []
        texts = [f"{one.name}:\n{fenced(one.text)}" for one in files]
        return Step(ASK, "\n\n".join([*texts, question] if question.strip() else texts))

    def _do(self, name: str, force: bool, rest: str) -> Step:
        if name not in COMMANDS or (force and name != "save"):
            raise UnknownCommand(name)
        if rest and not COMMANDS[name][0]:
            raise InputError(f"/{name} takes nothing after it: leave {rest.split()[0]} out, or ask without the slash.")
        if name == "quit":
            return Step(LEAVE)
        if name == "regen":
            return self._again()
        if name == "save":
            self._save(rest, force=force)
        else:
            {"help": self._help, "system": self._system, "load": self._load, "file": self._file, "clear": self._clear}[
                name
            ](rest)
        return Step(NOTHING)

    def _help(self, _: str) -> None:
        width = max(len(f"/{name} {takes}") for name, (takes, _) in COMMANDS.items())
        rows = [f"  {f'/{name} {takes}':{width}}  {does}" for name, (takes, does) in COMMANDS.items()]
        self._say("\n".join([*rows, KEYS]))

    def _system(self, text: str) -> None:
        chat = self._chat
        if not chat.template:
            raise InputError("This model knows no chat, so there is no system prompt: write it at the beginning.")
        if not text:
            self._say(f"The system prompt: {chat.system}" if chat.system else "There is no system prompt.")
            return
        turns = [turn for turn in chat.history if turn.role != "system"]
        chat.begin_anew(None if text == "-" else text, turns)
        self._say("The system prompt is removed." if text == "-" else "The system prompt is set.")

    def _again(self) -> Step:
        if not any(turn.role == "user" for turn in self._chat.history):
            raise InputError("There is no question yet that could be answered anew: ask one.")
        return Step(AGAIN)

    def _save(self, text: str, *, force: bool) -> None:
        path = chat_files.path_of(text) if text else self._saved
        if path is None:
            raise InputError("/save needs a path: end it in .json or .md, as in /save chat.md.")
        if not any(turn.role != "system" for turn in self._chat.history):
            raise InputError("There is nothing to save yet: ask something.")
        if path.exists() and not force and path != self._saved:
            raise InputError(f"{path} exists: give another path, or replace it by /save! {path}.")
        chat_files.save(path, self._chat.history)
        self._saved = path
        self._say(f"Saved to {path}.")

    def _load(self, text: str) -> None:
        if not text:
            raise InputError("/load needs a path, as in /load chat.md.")
        path = chat_files.path_of(text)
        turns = chat_files.load(path)
        system = next((turn.content for turn in turns if turn.role == "system"), None)
        rest = [turn for turn in turns if turn.role != "system"]
        self._chat.begin_anew(system if self._chat.template else None, rest)
        self._saved, self._warned = path, False
        answers = sum(turn.role == "assistant" for turn in rest)
        self._say(f"Loaded {path}: {answers} answer{'' if answers == 1 else 's'}.")
        if (last := last_answer(rest)) is not None:
            self._say(last)

    def _file(self, text: str) -> None:
        if not text:
            self._say("No file goes with the next question." if self.files else "There is no file to leave out.")
            self.files = []
            return
        from solofile.runtime import attachments

        path = chat_files.path_of(text)
        try:
            with path.open("rb") as file:
                data = file.read(attachments.MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}): give another path.") from error
        found = attachments.read(path.name, data)
        tokens = attachments.count_tokens(self._chat.engine, found.text)
        if self.context is not None and tokens >= self.context:
            raise InputError(
                f"{found.name} takes {tokens} tokens and the context has room for {self.context}: attach a part of it."
            )
        self.files.append(Attachment(found.name, found.text, tokens))
        pages = "" if found.pages is None else f"{found.pages} page{'' if found.pages == 1 else 's'}, "
        self._say(f"{found.name} ({pages}{tokens} tokens) goes with the next question.")

    def _clear(self, _: str) -> None:
        self._chat.begin_anew(self._chat.system)
        self.files, self._saved, self._warned = [], None, False
        self._say("A new conversation.")

    def warning(self) -> str:
        """A sentence when the context is nearly full, once; else an empty one."""
        used = self._chat.usage.context if self._chat.usage else 0
        if self.context is None or used < self.context * _MUCH:
            self._warned = False
            return ""
        if self._warned and used < self.context * 0.95:
            return ""
        self._warned = True
        share = f"{100 * used // self.context} % of the context are used ({used} of {self.context} tokens)"
        return f"{share}: /save what matters and begin anew by /clear, before the model can take no more."


class UnknownCommand(UnknownName):
    """A command that does not exist."""

    def __init__(self, name: str) -> None:
        InputError.__init__(self, "")
        self.name = name
        self.nearest = nearest(name, COMMANDS)
        remedy = f"did you mean /{self.nearest}?" if self.nearest else "/help lists them."
        self.args = (f"Unknown command /{name}: {remedy} To ask that, write //{name}…",)


def fenced(text: str) -> str:
    """A text between fences that it does not hold itself."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def last_answer(turns: Sequence[Message]) -> str | None:
    """The last answer, for somebody who goes on with a conversation."""
    return next((turn.content for turn in reversed(turns) if turn.role == "assistant"), None)
