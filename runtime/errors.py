"""The errors of the runtime, one tree.

    SolofileError            exit code 1: a failure of ours
    ├── EngineError          llama.cpp could not load the model or died
    ├── CacheError           the cache folder cannot be used
    └── InputError           exit code 2: what the user gave cannot be used
        ├── DamagedBundle    the bundle's bytes are not what its builder wrote
        ├── UnknownName      an option, key or field that does not exist; carries the nearest known one
        └── RefusedOption    an option of llama.cpp that a bundle does not offer, with the reason

A message is one sentence: the fact, the name, the remedy. Only the command line prints it and exits.
"""

from __future__ import annotations

from collections.abc import Iterable


class SolofileError(Exception):
    """Base of every error that solofile raises on purpose."""

    exit_code = 1


class EngineError(SolofileError):
    """llama.cpp could not load the model, or ended on its own."""


class CacheError(SolofileError):
    """The cache folder cannot be used."""


class InputError(SolofileError):
    """What the user gave cannot be used."""

    exit_code = 2


class DamagedBundle(InputError):  # noqa: N818 - reads as what happened
    """The bundle's bytes are not what its builder wrote."""


class RefusedOption(InputError):  # noqa: N818
    """An option that llama.cpp has and a bundle does not offer."""


class UnknownName(InputError):  # noqa: N818
    """An option, key or field that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        """Say which ``kind`` (for example "option") ``name`` is unknown ``where``, and the nearest of ``known``."""
        self.name = name
        self.nearest = nearest(name, known)
        place = f" in {where}" if where else ""
        remedy = f"did you mean {self.nearest}?" if self.nearest else "see --help for the known ones."
        super().__init__(f"Unknown {kind} {name}{place}: {remedy}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None where nothing is alike."""
    import difflib  # for what goes wrong alone: it takes longer to load than the rest of a launcher in Python

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None
