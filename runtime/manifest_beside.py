"""What a manifest says of a part that lies in a file of its own (FORMAT.md)."""

from __future__ import annotations

from dataclasses import dataclass

from solofile.runtime.fields import Fields


@dataclass(frozen=True)
class Beside:
    """A part in a file of its own beside the bundle, named ``file``; ``ends`` is the SHA-256 over its first and its
    last 65,536 bytes."""

    path: str
    file: str
    size: int
    sha256: str
    ends: str


def parse_beside(raw: object, where: str, index: int) -> Beside:
    """Read one. Raises UnknownName, DamagedBundle."""
    fields = Fields(raw, where, f"beside.{index}.", Beside)
    file = fields.text("file")
    if not file or file in (".", "..") or any(letter in '/\\:*?"<>|' or letter < " " for letter in file):
        raise fields.error("file", "must be the name of a file beside the bundle")
    path = fields.text("path")
    if not path.startswith("models/"):
        raise fields.error("path", "must be that of a model")
    return Beside(path, file, fields.count("size"), fields.digest("sha256"), fields.digest("ends"))
