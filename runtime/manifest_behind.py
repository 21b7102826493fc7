"""What a manifest says of a file that is started by a Python (FORMAT.md)."""

from __future__ import annotations

from dataclasses import dataclass

from solofile.runtime.fields import Fields

PYZ, APE = "pyz", "ape"
BEHIND_FORMS = (PYZ, APE)
PYTHON = "python"
"""Where the runtime's own modules and the packages that it uses lie, as a target's files do: ``runtime/python/…``."""


@dataclass(frozen=True)
class Behind:
    """The ZIP behind the archive, in which a Python finds the launcher.

    ``form`` is ``pyz`` or ``ape``; ``size`` and ``sha256`` are of its bytes. ``python`` is the SHA-256 of
    ``runtime/python.sums``, None where a bundle starts a frozen runtime.
    """

    form: str
    size: int
    sha256: str
    python: str | None


def parse_behind(raw: object, where: str) -> Behind:
    """Read it. Raises UnknownName, DamagedBundle."""
    fields = Fields(raw, where, "behind.", Behind)
    form = fields.text("form")
    if form not in BEHIND_FORMS:
        raise fields.error("form", "must be pyz or ape")
    python = None if fields.value("python") is None else fields.digest("python")
    return Behind(form, fields.count("size"), fields.digest("sha256"), python)
