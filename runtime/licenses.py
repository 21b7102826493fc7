"""The mode --licenses: whose work is in this file, and under which terms."""

from __future__ import annotations

from typing import TextIO

from solofile.runtime.container import Bundle

FOLDER = "LICENSES/"


def write(bundle: Bundle, out: TextIO) -> None:
    """Print every text in ``LICENSES`` under its name, and what the manifest says of the models' licenses."""
    for model in bundle.manifest.models:
        out.write(f"{model.name}: {model.license or 'the model file names no license'}\n")
    for path in bundle.parts:
        if path.startswith(FOLDER) and path.endswith(".txt"):
            name = path.removeprefix(FOLDER).removesuffix(".txt")
            text = bundle.read(path).decode("utf-8", "replace").rstrip("\n")
            out.write(f"\n{'=' * len(name)}\n{name}\n{'=' * len(name)}\n\n{text}\n")
