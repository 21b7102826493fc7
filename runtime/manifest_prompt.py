"""What a manifest says of a stored prompt (FORMAT.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """The state of a model that has read a text: what it was made with, and so what it can be used with.

    ``path`` is its part, ``model`` and ``model_sha256`` name the model, ``llama_cpp`` is the commit, ``tokens`` how
    many were read. ``flash``: the word for ``-fa``; ``streams``: of the KV cache; ``options``: the words of llama.cpp
    that decide what is in it; ``kernel``: the CPU variant that computed it. It is for a context of ``context_from``
    tokens and more, up to ``context_to`` where there is a limit.
    """

    path: str
    model: str
    model_sha256: str
    llama_cpp: str
    tokens: int
    flash: str
    streams: int
    options: tuple[str, ...]
    kernel: str
    context_from: int
    context_to: int | None
