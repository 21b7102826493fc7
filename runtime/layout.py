"""What a bundle says of itself must agree: the rules of FORMAT.md that go beyond a sound archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from solofile.runtime.archive import ALIGNMENT, STORED, Member
from solofile.runtime.ending import damaged, sums_path
from solofile.runtime.manifest import LAUNCHER_PART, Manifest
from solofile.runtime.manifest_behind import PYTHON

PROMPTS = "prompts/"
"""The folder of the states of texts that a model has read already."""

MEMBER_ROOTS = ("runtime/", "native/", "LICENSES/", "models/", "adapters/", PROMPTS, "about/")
PADDING_PREFIX = "models/.align-"


def check_roots(path: str, members: Sequence[Member]) -> None:
    """Every member but the manifest lies in one of the known folders."""
    for member in members[:-1]:
        if not member.path.startswith(MEMBER_ROOTS):
            raise damaged(path, f"{member.path} is no part that a bundle can have")


def check_parts(path: str, members: Sequence[Member], manifest: Manifest) -> None:
    """The parts of the manifest are the launcher and every member but the manifest, at the same places."""
    launcher = (LAUNCHER_PART, 0, members[0].header_offset, members[0].header_offset)
    # Without gaps, each member's data ends where the next member begins.
    places = ((one.path, two.header_offset - one.stored, one.size, one.stored) for one, two in pairwise(members))
    expected = [launcher, *places]
    claimed = [part[:4] for part in manifest.parts]
    if claimed == expected:
        return
    there, named = {part[0] for part in expected}, {part[0] for part in claimed}
    for name in sorted(there - named):
        raise damaged(path, f"its manifest does not name the part {name}")
    for name in sorted(named - there):
        raise damaged(path, f"its manifest names the part {name}, which is not there")
    wrong = next((one[0] for one, two in zip(claimed, expected, strict=False) if one != two), "a part twice")
    raise damaged(path, f"its manifest and its directory disagree about {wrong}")


def check_models(path: str, manifest: Manifest, members: Mapping[str, Member]) -> None:
    """Models and stored prompts are there, models can be mapped, and each target's digest is the one of its sums."""
    apart = {one.path: one.size for one in manifest.beside}
    if len(apart) != len(manifest.beside) or apart.keys() & members.keys():
        raise damaged(path, "its manifest names a part twice")
    for model in manifest.models:
        member = members.get(model.path)
        if apart.get(model.path, member.size if member else None) != model.size:
            raise damaged(path, f"its manifest and its directory disagree about {model.path}")
    for member in members.values():
        if member.path.startswith("models/") and member.path.endswith(".gguf"):
            if member.method != STORED:
                raise damaged(path, f"{member.path} is compressed, so it cannot be mapped")
            if member.data_offset % ALIGNMENT:
                raise damaged(path, f"{member.path} does not begin at a multiple of {ALIGNMENT} bytes")
    stored = {prompt.path for prompt in manifest.prompts}
    for name in sorted(stored ^ {name for name in members if name.startswith(PROMPTS)}):
        raise damaged(path, f"its manifest and its directory disagree about {name}")
    digests = {part.path: part.sha256 for part in manifest.parts}
    for name, target in manifest.targets.items():
        if digests.get(sums_path(name)) != target.pack:
            raise damaged(path, f"the pack digest of {name} is not that of {sums_path(name)}")
    if manifest.behind is not None and manifest.behind.python != digests.get(sums_path(PYTHON)):
        raise damaged(path, f"the digest of its Python modules is not that of {sums_path(PYTHON)}")


def check_behind(path: str, manifest: Manifest, size: int) -> None:
    """The ZIP behind the archive is there where the manifest says so, and of its ``size``."""
    claimed = manifest.behind.size if manifest.behind is not None else 0
    if claimed != size:
        raise damaged(path, f"{size} bytes lie behind its archive in place of {claimed}")
