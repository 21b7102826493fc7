"""What an engine is: the narrow interface between HTTP (or a terminal) and llama.cpp's server core.

An engine takes requests as llama-server's HTTP layer would hand them to its handlers, and gives answers as chunks of
bytes. `LlamaEngine` in `engine.py` is the real one; the tests have a scripted one with the same protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Phase = Literal["loading", "ready", "failed", "stopped"]


@dataclass(frozen=True)
class State:
    """Where the engine stands: ``progress`` of the load in 0..1, ``message`` one sentence for a person.

    ``whole``: the message of a failure says what to do about it.
    """

    phase: Phase
    progress: float = 0.0
    message: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Upload:
    """One file of a multipart form."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True)
class Request:
    """One request: ``path`` without prefix and query, ``query`` as in the URL without the question mark."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    files: Mapping[str, Upload] = field(default_factory=dict)


class Response(Protocol):
    """An answer whose status is known and whose body still comes."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header fields, Content-Type among them."""

    def __iter__(self) -> Iterator[bytes]:
        """Block for chunk after chunk until the answer ends; a chunk may be empty."""

    def close(self) -> None:
        """End the answer and free what it holds; may be called again."""


class Call(Protocol):
    """A request that has not been answered yet."""

    def run(self) -> Response:
        """Block until the status is known."""

    def cancel(self) -> None:
        """From any thread: make `run` and the iteration of its answer end soon."""


class Engine(Protocol):
    """What answers requests."""

    def state(self) -> State:
        """Where it stands now; never blocks."""

    def wait(self, timeout: float | None = None) -> State:
        """Block until it is not loading any more, or for ``timeout`` seconds."""

    def reading(self) -> tuple[int, int] | None:
        """(done, total) bytes of the model while it is read first; None where it is not."""

    def call(self, request: Request) -> Call:
        """Prepare an answer; nothing is computed before `Call.run`."""

    def stop(self, timeout: float = 2.0) -> None:
        """End, open calls included, within ``timeout`` seconds."""


def failure(state: State) -> str:
    """What a person is told of a model that could not be loaded, with the remedy."""
    if state.whole:
        return state.message
    why = state.message.rstrip(".") or state.phase
    return f"The model could not be loaded ({why}): --verbose shows llama.cpp's log."
