"""The errors of the builder, one tree.

    SolofileError                exit code 1: a failure of ours
    └── BuildError               a build could not be done
        ├── ToolError            a program that a build runs (compiler, pip, PyInstaller) is missing or failed
        │   ├── MissingTool      exit code 2, an InputError too: one that the user has to provide
    │   └── NotFetched       exit code 2, an InputError too: pip could not fetch what a build needs
        ├── PackError            a pack is damaged, or is not for this target
        └── BadInput             exit code 2, an InputError too: what the user gave cannot be used
            ├── BadModel         the model file is no GGUF, is cut short, is one that cannot be bundled
            ├── BadRecipe        a recipe that says too little, too much or the wrong thing
            ├── BadSource        a model that cannot be fetched, or is not the one that the recipe means
            ├── BadKey           a key that cannot be read, or is no key; a wrong password
            ├── BadSignature     a signature that is none, is by another key or over another file
            └── BadOutput        the output cannot be written: it exists, no permission, no space

A message is one sentence: the fact, the name, the remedy. Only the command line prints it and exits. An unknown option,
key or target is the runtime's UnknownName, which carries the nearest known one.
"""

from __future__ import annotations

from solofile.runtime.errors import InputError, SolofileError


class BuildError(SolofileError):
    """A build could not be done."""


class ToolError(BuildError):
    """A program that a build runs is missing or failed."""


class MissingTool(ToolError, InputError):  # noqa: N818 - reads as what happened
    """A program or a header that the user has to provide is missing, or too old."""

    exit_code = 2


class NotFetched(ToolError, InputError):  # noqa: N818 - reads as what happened
    """Something that a build needs could not be fetched: no network, or not what is pinned."""

    exit_code = 2


class PackError(BuildError):
    """A pack is damaged, or is not for this target."""


class BadInput(BuildError, InputError):  # noqa: N818 - reads as what happened
    """What the user gave cannot be used."""

    exit_code = 2


class BadModel(BadInput):
    """The model file cannot be bundled."""


class BadRecipe(BadInput):
    """The recipe cannot be used."""


class BadSource(BadInput):
    """The model cannot be fetched, or is not the one that the recipe means."""


class BadKey(BadInput):
    """A key cannot be used."""


class BadSignature(BadInput):
    """A signature does not prove what it should."""


class BadOutput(BadInput):
    """The output cannot be written."""
