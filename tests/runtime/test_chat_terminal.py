"""--chat on a terminal: the editor's keys and completion, and the whole program in tmux on a fake engine."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from solofile.runtime import chat_terminal
from solofile.runtime.chat import Chat, Usage
from solofile.runtime.chat_commands import Attachment, Commands
from solofile.runtime.chat_markdown import Painter
from solofile.runtime.chat_printer import Printer
from solofile.runtime.conversation import Piece
from terminal import Terminal

FAKE = [sys.executable, str(Path(__file__).with_name("fake_bundle.py"))]


# --- without a terminal


@pytest.mark.parametrize(
    ("environ", "dumb", "color"),
    [({}, False, True), ({"NO_COLOR": "1"}, False, False), ({"NO_COLOR": ""}, False, True), ({}, True, False)],
)
def test_colour_is_a_wish(environ: dict[str, str], dumb: bool, color: bool) -> None:
    assert chat_terminal.has_color(environ, dumb=dumb) == color


def test_figures(engine: FakeEngine) -> None:
    chat = Chat(engine, None, template=True)
    commands = Commands(chat, lambda _: None, context=8192)
    assert chat_terminal.figures(chat, commands) == ""
    chat.usage = Usage(42, 91.23, 412)
    assert chat_terminal.figures(chat, commands) == "42 tokens at 91.2 a second · context 5 % (412 of 8192)"
    commands.files.append(Attachment("a.pdf", "x", 7))
    assert chat_terminal.figures(chat, commands).startswith("a.pdf (7 tokens) goes with it · 42 tokens")
    commands.context = None
    assert "context" not in chat_terminal.figures(chat, commands)


def test_an_answer_in_colour_ends_with_one_newline() -> None:
    for text in ("**a", "**a**\n", "```\nx\n", "```\nx\n```\n", "x"):
        out = io.StringIO()
        printer = Printer(out, color=True, painter=Painter(color=True))
        printer.write(Piece("hm\x1b[2J", True))
        printer.write(Piece(text))
        printer.end()
        shown = out.getvalue()
        assert shown.startswith("\x1b[2mhm\N{REPLACEMENT CHARACTER}[2J\n\x1b[0m")
        assert shown.replace("\x1b[0m", "").endswith("\n") and not shown.replace("\x1b[0m", "").endswith("\n\n")
        assert printer.answer == text


def typed(*keys: str, history: Path | None = None) -> list[str | BaseException]:
    """What the editor gives for each line, until the keys end."""
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    found: list[str | BaseException] = []
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        chat = Chat(FakeEngine(), None, template=True)
        read = chat_terminal.editor(chat, Commands(chat, lambda _: None), history, pytest.fail)
        for text in keys:
            pipe.send_text(text)
            try:
                found.append(read())
            except (EOFError, KeyboardInterrupt) as end:
                found.append(end)
    return found


ALT_ENTER, CTRL_C, CTRL_D, UP = "\x1b\r", "\x03", "\x04", "\x1b[A"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("one\r", "one"),
        (f"one{ALT_ENTER}two\r", "one\ntwo"),
        ("one\\\rtwo\r", "one\ntwo"),
        ("\x1b[200~one\r\ntwo\nthree\x1b[201~\r", "one\ntwo\nthree"),
        (f"typed{CTRL_C}anew\r", "anew"),
        ("Grüße 🗼\r", "Grüße 🗼"),
        ("\r", ""),
    ],
)
def test_keys(keys: str, line: str) -> None:
    assert typed(keys) == [line]


@pytest.mark.parametrize(("key", "end"), [(CTRL_C, KeyboardInterrupt), (CTRL_D, EOFError)])
def test_keys_that_leave(key: str, end: type[BaseException]) -> None:
    [found] = typed(key)
    assert type(found) is end


def test_history_is_kept_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "chat-history"
    assert typed(f"one{ALT_ENTER}two\r", history=path) == ["one\ntwo"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert typed(f"{UP}\r", history=path) == ["one\ntwo"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "chat-history"
    entry = "\n# 2026-01-01 00:00:00\n+" + "x" * 1000 + "\n"
    path.write_text(entry * 1200 + "\n# 2026-01-02 00:00:00\n+last\n")
    assert typed(f"{UP}\r", history=path) == ["last"]
    assert path.stat().st_size < chat_terminal.KEPT_BYTES
    text = path.read_text()
    assert text.startswith("\n# 2026") and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert chat_terminal.open_history(tmp_path / "link", said.append) is None
    assert "--no-history leaves that out" in said[0]
    assert not (tmp_path / "elsewhere").exists()


def completions(text: str) -> list[str]:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    found = chat_terminal.completer().get_completions(Document(text), CompleteEvent())
    return [one.text for one in found]


def test_completion_of_commands_and_paths(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    assert completions("/") == ["/help", "/system ", "/save ", "/load ", "/regen", "/file ", "/clear", "/quit"]
    assert completions("/s") == ["/system ", "/save "]
    assert completions(f"/file {tmp_path}/no") == ["tes.txt"]
    assert completions(f'/save! "{tmp_path}/fo') == ["lder"]
    for text in ("what", "/system /", "/xyz", "a\n/h", "x /h", ""):
        assert completions(text) == []


def test_nothing_else_imports_the_editor() -> None:
    code = """
import sys
import solofile.runtime.cli, solofile.runtime.serving, solofile.runtime.chat, solofile.runtime.oneshot
import solofile.runtime.chat_terminal, solofile.runtime.chat_commands
from solofile.runtime import app, page_api, attachments, pdf
print([name for name in ("prompt_toolkit", "pypdf", "asyncio", "wcwidth") if name in sys.modules])
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    assert (done.stdout, done.stderr) == (b"[]\n", b"")


# --- in a terminal

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str]) -> Iterator[Start]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux (Debian package tmux)")
    terminal = Terminal("chat", tmp_path)

    def start(scene: str, *words: str, **changes: str) -> Terminal:
        paths = os.pathsep.join(path for path in sys.path if path)
        terminal.start([*FAKE, scene, "--chat", *words], {"PYTHONPATH": paths, **environ, **changes})
        return terminal

    yield start
    terminal.close()


def test_asks_and_leaves(start: Start, environ: dict[str, str]) -> None:
    terminal = start("plain")
    hint = "Tiny Model: /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves."
    assert terminal.sees(f"{hint}\nWelcome to it.\n>")
    terminal.type("Where?", "Enter")
    assert terminal.sees("> Where?\nGrüße aus Paris 🗼\n>"), terminal.screen()
    terminal.type("/qui")
    assert terminal.sees("leave")
    terminal.type("", "Tab", "Enter", "Enter")
    assert terminal.left() == 0, terminal.screen()
    assert terminal.echoes()
    assert terminal.errors.read_text() == ""
    assert "+Where?" in (Path(environ["SOLOFILE_CACHE_DIR"]) / "state" / "chat-history").read_text()


def test_no_history(start: Start, environ: dict[str, str]) -> None:
    terminal = start("plain", "--no-history")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("secret", "Enter")
    assert terminal.sees("Paris")
    terminal.type("", "C-d")
    assert terminal.left() == 0
    assert not (Path(environ["SOLOFILE_CACHE_DIR"]) / "state" / "chat-history").exists()


def test_pasted_lines_stay_lines(start: Start) -> None:
    terminal = start("echo")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.paste("def f():\n    return 1\n")
    assert terminal.sees("return 1")
    terminal.type("", "Enter")
    assert terminal.sees("You said: 'def f():\\n    return 1\\n'"), terminal.screen()


def test_ctrl_c_stops_an_answer_and_a_second_leaves(start: Start) -> None:
    terminal = start("endless")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("Count", "Enter")
    assert terminal.sees("bla bla"), terminal.screen()
    terminal.type("", "C-c")
    assert terminal.sees("\n>", times=2), terminal.screen()
    assert terminal.left(0.3) is None
    terminal.type("typed", "C-c")
    assert terminal.left(0.3) is None, "it empties the line first"
    terminal.type("", "C-c")
    assert terminal.left() == 0, terminal.screen()
    assert terminal.echoes()


def test_termination_at_the_prompt_leaves_the_terminal_as_it_was(start: Start) -> None:
    terminal = start("plain")
    assert terminal.sees("\n>"), terminal.screen()
    shell = terminal.pid()
    [child] = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert terminal.left() == 128 + signal.SIGTERM, terminal.screen()
    assert terminal.echoes()
    assert "Traceback" not in terminal.errors.read_text()


def test_an_engine_that_dies_is_one_sentence(start: Start) -> None:
    terminal = start("dying")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("Where?", "Enter")
    assert terminal.left() == 1, terminal.screen()
    assert terminal.errors.read_text() == "llama.cpp refuses this: it broke.\n"
    assert terminal.echoes()


def test_a_refused_question_is_told_and_the_chat_goes_on(start: Start) -> None:
    terminal = start("refusing")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("too much", "Enter")
    assert terminal.sees("llama.cpp refuses this: too long.\n>"), terminal.screen()


def test_a_model_that_cannot_be_loaded(start: Start) -> None:
    terminal = start("broken")
    assert terminal.left() == 1, terminal.screen()
    assert "The model could not be loaded (the file ends early)" in terminal.errors.read_text()


def test_figures_and_warnings_are_shown(start: Start) -> None:
    terminal = start("counting")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("Where?", "Enter")
    assert terminal.sees("3 tokens at 50.0 a second · context 90 % (90 of 100)"), terminal.screen()
    assert terminal.sees("90 % of the context are used"), terminal.screen()
    assert terminal.sees("The answer was cut here"), terminal.screen()


MARKDOWN = "# Title\n**bold** \N{REPLACEMENT CHARACTER}[2J end"


def test_colours(start: Start) -> None:
    terminal = start("markdown")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("Where?", "Enter")
    assert terminal.sees(MARKDOWN), terminal.screen()
    assert re.search("\x1b\\[(0;)?1m(\x1b\\[[0-9]*m)*# Title", terminal.screen(colors=True))
    assert "\x1b[2mhm" in terminal.screen(colors=True)


def test_no_color(start: Start) -> None:
    terminal = start("markdown", NO_COLOR="1")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("Where?", "Enter")
    assert terminal.sees(MARKDOWN), terminal.screen()
    assert terminal.sees("end\n>")
    shown = terminal.screen(colors=True)
    assert "\x1b[3" not in shown.replace("\x1b[39m", "") and "\x1b[1m" not in shown and "\x1b[2m" not in shown


def test_a_dumb_terminal_has_commands_and_no_escapes(start: Start) -> None:
    terminal = start("counting", TERM="dumb")
    assert terminal.sees("\n>"), terminal.screen()
    terminal.type("/system", "Enter")
    assert terminal.sees("The system prompt: Be brief."), terminal.screen()
    terminal.type("one\\", "Enter")
    assert terminal.sees("\n."), terminal.screen()
    terminal.type("two", "Enter")
    assert terminal.sees("3 tokens at 50.0 a second"), terminal.screen()
    terminal.type("", "C-d")
    assert terminal.left() == 0
    assert "\x1b" not in terminal.screen(colors=True)
