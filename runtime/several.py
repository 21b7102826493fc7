"""A bundle of several models over the API: which of them answers, and what is said to who asks for another one.

As llama.cpp's router has it: ``/v1/models`` lists all, with their ``status``, and a request that names a model which is
not loaded, or which is not there, is an error. A server of one model takes any name, and so does a bundle of one.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

ROUTED = frozenset(
    """completions v1/completions chat/completions v1/chat/completions v1/responses responses v1/messages
    v1/messages/count_tokens embeddings v1/embeddings v1/rerank v1/reranking rerank reranking v1/audio/transcriptions
    audio/transcriptions completion embedding infill tokenize detokenize apply-template""".split()  # noqa: SIM905
)
"""Paths below the root whose requests may name a model."""


class Several(NamedTuple):
    """The models of a bundle by name; ``aliases`` are the further names of the one that is ``running``."""

    names: tuple[str, ...]
    running: str
    aliases: frozenset[str] = frozenset()

    def refusal(self, name: object) -> str:
        """Why the model of that name does not answer, empty where it does. Who names none gets the one that runs."""
        if not isinstance(name, str) or not name or name == self.running or name in self.aliases:
            return ""
        if name in self.names:
            return (
                f"model '{name}' is not loaded, '{self.running}' is: change it on the page, or start the bundle with "
                f"--use {name}"
            )
        return f"model '{name}' not found: this bundle has {', '.join(self.names)}"

    def asked(self, path: str, body: bytes) -> str:
        """The same of a request's body."""
        if path.lstrip("/") not in ROUTED:
            return ""
        try:
            found = json.loads(body)
        except ValueError:  # llama.cpp says what is wrong with it
            return ""
        return self.refusal(found.get("model")) if isinstance(found, dict) else ""

    def listed(self, body: bytes) -> bytes:
        """The answer of ``/v1/models`` with all models in it, ``body`` being the engine's."""
        found = json.loads(body)
        data = [one | {"status": {"value": "loaded", "args": []}} for one in found.get("data", [])]
        data += [_unloaded(name) for name in self.names if name != self.running]
        return json.dumps(found | {"data": data}, ensure_ascii=False).encode()


def _unloaded(name: str) -> dict[str, Any]:
    return {
        "id": name, "aliases": [], "tags": [], "object": "model", "owned_by": "llamacpp", "created": int(time.time()),
        "status": {"value": "unloaded", "args": []},
    }  # fmt: skip
