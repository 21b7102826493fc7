"""What a bundle says of itself must agree: the rules of FORMAT.md that go beyond a sound archive."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

from solofile.runtime.archive import ALIGNMENT, END_SIZE, STORED, Member
from solofile.runtime.errors import DamagedBundle, InputError
from solofile.runtime.manifest import FORMAT, LAUNCHER_PART, Manifest

COMMENT_MAGIC = b"solofile "
COMMENT_PREFIX = COMMENT_MAGIC + str(FORMAT).encode() + b" "
COMMENT_SIZE = len(COMMENT_PREFIX) + 64
TAIL_SIZE = END_SIZE + COMMENT_SIZE
PROMPTS = "prompts/"
"""The folder of the states of texts that a model has read already."""

MEMBER_ROOTS = ("runtime/", "native/", "LICENSES/", "models/", "adapters/", PROMPTS, "about/")
PADDING_PREFIX = "models/.align-"


def comment_of(manifest: bytes, directory: bytes) -> bytes:
    """The comment of the end record: the magic, the format version and the digest over manifest and directory."""
    return COMMENT_PREFIX + hashlib.sha256(manifest + directory).hexdigest().encode()


def sums_path(target: str) -> str:
    """The member that lists a target's runtime files with their SHA-256; its own SHA-256 is the pack's digest."""
    return f"runtime/{target}.sums"


def damaged(path: str, what: str) -> DamagedBundle:
    """The error for the bundle at ``path``, with the remedy."""
    return DamagedBundle(f"{path} is damaged: {what}; copy or download it again.")


def check_version(path: str, tail: bytes) -> None:
    """Tell a bundle of a newer format, whose end may be of another length, from a damaged one."""
    version = tail[tail.rfind(COMMENT_MAGIC) + len(COMMENT_MAGIC) :].split(b" ")[0] if COMMENT_MAGIC in tail else b""
    if version.isdigit() and len(version) < 10 and int(version) > FORMAT:
        raise InputError(
            f"{path} was built by a newer solofile (format {int(version)}, this one reads {FORMAT}): "
            "use that version to read it."
        )


def check_digest(path: str, comment: bytes, manifest: bytes, directory: bytes) -> None:
    """The comment names the format and holds the digest over manifest and directory."""
    if not comment.startswith(COMMENT_PREFIX):
        raise damaged(path, "its comment does not name the format")
    if comment != comment_of(manifest, directory):
        raise damaged(path, "its directory, its manifest or the digest over them was changed")


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
