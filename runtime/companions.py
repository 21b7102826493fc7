"""The parts of a bundle that a start's options name: LoRA adapters and a draft model, which lie beside the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from solofile.runtime import options
from solofile.runtime.engine import Member

if TYPE_CHECKING:
    from solofile.runtime.container import Bundle

FOLDERS = ("adapters/", "models/")
SCALED = "--lora-scaled"
OPTIONS = frozenset({"--lora", SCALED, "--spec-draft-model"})
"""The options that name one of them. A name of another part, or of none, is that of a file of the user's."""


def companions(bundle: Bundle, words: Sequence[str]) -> tuple[Member, ...]:
    """The parts that the options among ``words`` name, each once."""
    found = {}
    for one in options.parse(words):
        if one.option.key not in OPTIONS:
            continue
        for name in names_in(one.option.key, one.values[0]):
            if name.startswith(FOLDERS) and name in bundle.parts:
                part = bundle.part(name)
                found[name] = Member(name, *bundle.place(part), part.size)
    return tuple(found.values())


def names_in(key: str, value: str) -> Iterator[str]:
    """The names of files in an option's value: llama.cpp takes several with commas, and a scale behind a colon."""
    for item in value.split(","):
        yield item.rpartition(":")[0] if key == SCALED else item
