"""Conversations as files: OpenAI's messages in JSON, or Markdown that people read, by the ending of the name.

Both keep every character. In Markdown a comment tells where a turn begins; a line of a turn that looks like one is told
apart by a backslash.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solofile.runtime.conversation import Message
from solofile.runtime.errors import InputError

ROLES = ("system", "user", "assistant")
_MAX_BYTES = 64 * 1024 * 1024

_TITLES = {"system": "System", "user": "You", "assistant": "Answer"}
_TURN = re.compile(r"^<!-- role: (system|user|assistant) -->\n### .*\n\n", re.MULTILINE)
_LIKE_A_TURN = re.compile(r"^<!-- \\*role:", re.MULTILINE)
_ESCAPED = re.compile(r"^<!-- \\(\\*role:)", re.MULTILINE)
_END = "\n\n"


def path_of(text: str) -> Path:
    """The path that a person typed: ``~`` is the home folder, quotes around it are not part of it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


def save(path: Path, history: Sequence[Message]) -> None:
    """Write a conversation, by rename: what was there stays until all is written. Raises InputError."""
    data = (to_json if _is_json(path) else to_markdown)(history)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): give another path.") from error


def load(path: Path) -> list[Message]:
    """Read a conversation. Raises InputError."""
    read = from_json if _is_json(path) else from_markdown
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is larger than {_MAX_BYTES >> 20} MB: that is no conversation.")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: load what /save has written.") from error
    turns = read(text.replace("\r\n", "\n"))
    if not turns:
        raise InputError(f"{path} holds no conversation: load what /save has written, or OpenAI's messages.")
    return turns


def _is_json(path: Path) -> bool:
    """Is it JSON, or Markdown? Raises InputError where its name says neither."""
    ending = path.suffix.lower()
    if ending not in (".json", ".md", ".markdown"):
        raise InputError(f"{path.name or path} says no format: let it end in .json or .md.")
    return ending == ".json"


def to_json(history: Sequence[Message]) -> bytes:
    """OpenAI's messages."""
    messages = [{"role": turn.role, "content": turn.content} for turn in history]
    return (json.dumps({"messages": messages}, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def from_json(text: str) -> list[Message]:
    """The messages, as an object or a bare list; empty where these are none. Of the parts of one, the texts count."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list):
        return []
    turns = [_message(one) for one in messages]
    return [turn for turn in turns if turn is not None] if None not in turns else []


def _message(raw: Any) -> Message | None:
    if not isinstance(raw, dict) or raw.get("role") not in ROLES:
        return None
    content = raw.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(text for text in texts if isinstance(text, str))
    return Message(raw["role"], content) if isinstance(content, str) else None


def to_markdown(history: Sequence[Message]) -> bytes:
    """One heading a turn."""
    parts = [
        f"<!-- role: {turn.role} -->\n### {_TITLES[turn.role]}\n\n{_escape(turn.content)}{_END}" for turn in history
    ]
    return "".join(parts).encode("utf-8", "replace")


def from_markdown(text: str) -> list[Message]:
    """The turns; empty where there are none."""
    begins = list(_TURN.finditer(text))
    ends = [*(begin.start() for begin in begins), len(text)][1:]
    return [
        Message(begin[1], _unescape(text[begin.end() : end].removesuffix(_END)))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _escape(content: str) -> str:
    return _LIKE_A_TURN.sub(lambda found: found[0].replace("<!-- ", "<!-- \\", 1), content)


def _unescape(content: str) -> str:
    return _ESCAPED.sub(lambda found: f"<!-- {found[1]}", content)
