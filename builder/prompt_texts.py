"""The texts of which a bundle is to hold the state: the system prompt, and a recipe's ``prefix`` files.

A ``.json`` file is the beginning of a chat request as programs send it to ``/v1/chat/completions``: ``messages`` (a
system message with examples behind it, say), ``tools`` and the like. Any other file is a plain text with which prompts
to ``/v1/completions`` begin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solofile.builder.errors import BadRecipe
from solofile.builder.sources import safe_name
from solofile.runtime.errors import UnknownName
from solofile.runtime.stored_prompts import SYSTEM

SYSTEM_NAME = Path(SYSTEM).stem

LEAST_TOKENS = 32
"""A text of fewer is as soon computed as anybody notices, and a bundle that holds its state is slower to build."""

_FIELDS = ("messages", "tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "reasoning_effort")


@dataclass(frozen=True)
class Text:
    """What a model is to read: ``request`` is its entry in the job of the runtime's prompt_child.py, without a name."""

    name: str
    request: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Where its state lies in a bundle."""
        return f"prompts/{self.name}.kv"

    @property
    def size(self) -> int:
        """Bytes of text: no fewer than there are tokens in it, but for what a chat template adds."""
        return len(json.dumps(dict(self.request), ensure_ascii=False).encode())


def system_text(prompt: str) -> Text:
    """The system prompt, as chats begin with it."""
    return Text(SYSTEM_NAME, {"chat": {"messages": [{"role": "system", "content": prompt}]}})


def prefix_texts(files: Sequence[Path]) -> tuple[Text, ...]:
    """The texts in a recipe's files. Raises BadRecipe."""
    texts: dict[str, Text] = {}
    for file in files:
        name = safe_name(file.stem)
        if name in texts or name == SYSTEM_NAME:
            raise BadRecipe(f"Two stored prompts would be called {name}: give the file {file} another name.")
        texts[name] = Text(name, _request(file))
    return tuple(texts.values())


def _request(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise BadRecipe(f"The prefix {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadRecipe(f"The prefix {file} is no UTF-8 text: save it as one.") from error
    if not text.strip():
        raise BadRecipe(f"The prefix {file} is empty: write into it what requests begin with.")
    return {"chat": _chat(file, text)} if file.suffix == ".json" else {"text": text}


def _chat(file: Path, text: str) -> dict[str, Any]:
    try:
        chat = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecipe(f"The prefix {file} is no JSON ({error}): write the beginning of a chat request.") from error
    messages = chat.get("messages") if isinstance(chat, dict) else None
    if not isinstance(messages, list) or not all(isinstance(one, dict) and "role" in one for one in messages):
        raise BadRecipe(f"The prefix {file} must be an object with a list of messages, each with a role.")
    for key in chat:
        if key not in _FIELDS:
            raise UnknownName("field", key, _FIELDS, where=f"the prefix {file}")
    return dict(chat)
