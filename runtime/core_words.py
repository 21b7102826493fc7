"""The words that llama.cpp's core is started with, and those of them that decide what it takes of the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING

from solofile.runtime import choice, options, settings

if TYPE_CHECKING:
    from solofile.runtime.selection import Selection
    from solofile.runtime.settings import Launch

_FILES = frozenset({"-m", "-mm", "--spec-draft-model", "--lora", "--lora-scaled", "--control-vector",
                    "--control-vector-scaled"})  # fmt: skip
"""Options that name weights: what counts is what is in them."""

_SCALED = frozenset({"--lora-scaled", "--control-vector-scaled"})

_WITHOUT_EFFECT = """
-t -tb -C -Cr -Cb -Crb --prio --poll --prio-batch --poll-batch --numa -cram --warmup -a --tags -n --keep -s --temp
--top-k --top-p --min-p --repeat-penalty --metrics --props --slots --chat-template --chat-template-file --jinja -v -lv
"""
"""Options that change nothing of what a model takes. One that is missing here costs an estimate, no more."""


def arguments(launch: Launch, selected: Selection, leave_out: Set[str] = frozenset()) -> tuple[str, ...]:
    """What llama.cpp's core is started with for this choice; ``leave_out`` are keys of the user's options."""
    ground, path = selected.ground, selected.choice.path
    own = settings.core_arguments(launch, ground.place.bundle.manifest, path, ground.machine.memory)
    users = settings.core_without(launch, choice.overruled(path, ground.wishes) | leave_out)
    return ("--model", launch.model, *choice.arguments(path, ground.wishes), *own, *users)


def of_layout(words: Sequence[str], digest: Callable[[str], str | None]) -> tuple[str, ...] | None:
    """Those of the words that what a model takes depends on, files named by their ``digest``.

    None where one of the files has none, since then nobody knows what will be in it next time.
    """
    found: list[str] = []
    idle = frozenset(_WITHOUT_EFFECT.split())
    for one in options.parse(words):
        if one.option.key in idle:
            continue
        values: Sequence[str | None] = one.values
        if one.option.key in _FILES:
            values = [_by_digest(one.option.key, value, digest) for value in one.values]
        if None in values:
            return None
        found += [one.spelling, *map(str, values)]
    return tuple(found)


def _by_digest(key: str, value: str, digest: Callable[[str], str | None]) -> str | None:
    """A value with its file named by the digest; the scale behind it changes nothing of what it takes."""
    return digest(value.rpartition(":")[0] if key in _SCALED else value)
