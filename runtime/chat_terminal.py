"""--chat on a terminal: an editor for questions (prompt_toolkit, imported while the model loads), colours, figures.

On a terminal that can do nothing (TERM=dumb) the same without the editor and without colours. Nothing else in the
runtime imports prompt_toolkit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from solofile.runtime import chat as chats
from solofile.runtime.chat import NO_CHAT, Chat
from solofile.runtime.chat_commands import COMMANDS, TAKES_PATH, Commands
from solofile.runtime.chat_markdown import Painter
from solofile.runtime.chat_printer import Printer
from solofile.runtime.chat_wrap import Wrapper
from solofile.runtime.conversation import Answer, wait_ready

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
KEPT_BYTES = 1 << 20
"""Of what was typed; when there is more, the older half goes."""

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def converse(
    chat: Chat, title: str, out: TextIO, history: Path | None, environ: Mapping[str, str], greeting: str | None = None
) -> None:
    """Wait for the model and converse. Raises EngineError when it cannot be loaded or the engine ends on its own."""
    dumb = environ.get("TERM", "") in ("", "dumb") and sys.platform != "win32"
    color = has_color(environ, dumb=dumb)
    shown = Painter(color=False)

    def tell(text: str) -> None:
        text = shown.plain(text)
        out.write(f"{_DIM}{text}{_PLAIN}\n" if color else f"{text}\n")
        out.flush()

    commands = Commands(chat, tell)
    read = plain_reader(out) if dumb else editor(chat, commands, history, tell)
    tell(f"{title}: /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.")
    for line in (greeting or "").splitlines():
        tell(line)
    wait_ready(chat.engine)
    commands.context = chat.context_size()
    if not chat.template:
        tell(NO_CHAT)

    def after(answer: Answer) -> None:
        if answer.finish == "length":
            tell("The answer was cut here: no room is left in the context, or -n is reached.")
        if dumb and (line := figures(chat, commands)):
            tell(line)
        if warning := commands.warning():
            tell(warning)

    def printer() -> Printer:
        return Printer(out, color=color, painter=Painter(color=color), wrapper=None if dumb else wrapper())

    chats.run(chat, read, out, tell, color=color, obey=commands.obey, make_printer=printer, after=after)


def wrapper() -> Wrapper:
    """Breaks lines where this terminal's end."""
    from prompt_toolkit.utils import get_cwidth

    return Wrapper(lambda: shutil.get_terminal_size().columns, get_cwidth)


def has_color(environ: Mapping[str, str], *, dumb: bool) -> bool:
    """May a terminal be written to in colour? NO_COLOR with any value says no (no-color.org)."""
    return not dumb and not environ.get("NO_COLOR")


def figures(chat: Chat, commands: Commands) -> str:
    """What the last answer took and how full the context is, in one line."""
    parts = [f"{one.name} ({one.tokens} tokens) goes with it" for one in commands.files]
    usage = chat.usage
    if usage is not None:
        parts.append(f"{usage.tokens} tokens at {usage.speed:.1f} a second")
        if commands.context:
            share = 100 * usage.context // commands.context
            parts.append(f"context {share} % ({usage.context} of {commands.context})")
    return " · ".join(parts)


def plain_reader(out: TextIO) -> Callable[[], str]:
    """Without an editor: a backslash at the end of a line goes on with the next one."""

    def line(prompt: str) -> str:
        out.write(prompt)  # Python's own would go to standard error
        out.flush()
        return input()

    def read() -> str:
        lines = [line(PROMPT)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(line(". "))
        return "\n".join(lines)

    return read


def editor(chat: Chat, commands: Commands, history: Path | None, tell: Callable[[str], None]) -> Callable[[], str]:
    """An editor of several lines with history, completion and a line of figures below."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.patch_stdout import patch_stdout
    from prompt_toolkit.styles import Style

    kept = open_history(history, tell) if history is not None else None
    session: PromptSession[str] = PromptSession(
        PROMPT,
        multiline=True,
        history=kept or InMemoryHistory(),
        key_bindings=bindings(),
        completer=completer(),
        complete_while_typing=True,
        prompt_continuation="  ",
        bottom_toolbar=lambda: figures(chat, commands) or None,
        enable_open_in_editor=False,
        reserve_space_for_menu=4,
        include_default_pygments_style=False,
        style=Style.from_dict({"bottom-toolbar": "noreverse", "bottom-toolbar.text": "ansibrightblack"}),
    )

    def read() -> str:
        # What other threads have to say stands above the editor.
        with patch_stdout(raw=True) if sys.stderr.isatty() else contextlib.nullcontext():
            return session.prompt()

    return read


def bindings() -> KeyBindings:
    """Enter sends, Alt-Enter and a backslash before Enter begin a new line, Ctrl-C empties the line, then leaves."""
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # it takes what is chosen; a second one sends
        elif buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return keys


def completer() -> Completer:
    """Completes commands, and the paths behind those that take one."""
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    class Slash(Completer):
        def __init__(self) -> None:
            self._paths = PathCompleter(expanduser=True)

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            text = document.text_before_cursor
            name, space, rest = text[1:].partition(" ")
            if not text.startswith("/") or "\n" in text:
                return
            if not space:
                for command, (takes, does) in COMMANDS.items():
                    if command.startswith(name):
                        yield Completion(
                            f"/{command}{' ' if takes else ''}", -len(text), display=f"/{command}", display_meta=does
                        )
            elif name.rstrip("!") in TAKES_PATH:
                path = rest.lstrip("\"'")
                yield from self._paths.get_completions(Document(path, len(path)), complete_event)

    return Slash()


def open_history(path: Path, tell: Callable[[str], None]) -> History | None:
    """What was typed in earlier chats, for this user's eyes alone; None where it cannot be kept, which is said."""
    from prompt_toolkit.history import FileHistory

    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        if size > KEPT_BYTES:
            shorten(path)
    except OSError as error:
        tell(f"What is typed cannot be kept in {path} ({error.strerror or error}): --no-history leaves that out.")
        return None
    return FileHistory(str(path))


def shorten(path: Path) -> None:
    """Keep the newer half of the file, from the beginning of an entry on."""
    from solofile.runtime.locks import Lock

    lock = Lock(path)
    try:
        if not lock.seize(patience=1.0):
            return
        data = path.read_bytes()[-KEPT_BYTES // 2 :]
        temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        try:
            with open(os.open(temporary, flags, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data[data.find(b"\n\n# ") + 1 :])
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    finally:
        lock.close()
