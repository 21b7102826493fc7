"""How the examples are run, and what they said."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import installing
from running import Running

EXAMPLES = Path(__file__).parents[2] / "recipes" / "clients"
KEY = "sesame"
IN_TEST = ("with_openai.py", "with_anthropic.py")
"""Their packages are those of the tests."""

PEER = r"sin6?_port=htons\((\d+)\).*?\"([^\"]+)\""
"""Port and address in strace's lines."""


@dataclass(frozen=True)
class Said:
    """What an example printed for each of the things that it shows, the tokens that it cost, whom it called."""

    parts: dict[str, list[str]]
    tokens: int
    peers: set[tuple[str, int]]
    traced: bool

    def one(self, name: str) -> str:
        """What was printed once."""
        (text,) = self.parts[name]
        return text


class KeyedServer:
    """The server, which wants a key."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def json(self, method: str, path: str, body: object = None) -> Any:
        return self.running.json(method, path, body, Authorization=f"Bearer {KEY}")

    def predicted_tokens(self) -> int:
        """All that it has computed of answers."""
        status, text = self.running.request("GET", "/metrics", Authorization=f"Bearer {KEY}")
        assert status == 200
        found = re.search(r"^llamacpp:tokens_predicted_total (\d+)", text.decode(), re.MULTILINE)
        assert found
        return int(found[1])


def command_of(example: str) -> list[str]:
    """What runs an example."""
    path = EXAMPLES / example
    if path.suffix == ".sh":
        return ["sh", str(path)]
    if path.suffix == ".py":
        return [sys.executable if example in IN_TEST else str(installing.python_with_packages()), str(path)]
    beside = installing.node_modules() / example  # a module's imports are looked for where it lies
    shutil.copy2(path, beside)
    return ["node", str(beside)]
