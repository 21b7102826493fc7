"""The architectures that the pinned llama.cpp knows, read from its source where that is in the build cache."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from solofile.builder import inputs
from solofile.runtime.errors import nearest

SOURCE = "vendor/llama.cpp/src/llama-arch.cpp"
_NAMES = re.compile(r"LLM_ARCH_NAMES = \{(.*?)\n\};", re.DOTALL)
_NAME = re.compile(r'\{\s*LLM_ARCH_(\w+),\s*"([^"]+)"')
NO_MODELS = ("CLIP", "UNKNOWN")
"""Entries of that table that stand for no model."""


def known_architectures() -> frozenset[str]:
    """Their names; none where the source is not here (nothing is fetched for this)."""
    file = inputs.llama_folder() / SOURCE
    return _read(file) if file.is_file() else frozenset()


@cache
def _read(file: Path) -> frozenset[str]:
    table = _NAMES.search(file.read_text("utf-8"))
    return frozenset(name for key, name in _NAME.findall(table[1] if table else "") if key not in NO_MODELS)


def architecture_problem(name: str) -> str | None:
    """A clause about a model of an architecture that llama.cpp does not know; None where it does, or nobody knows."""
    known = known_architectures()
    if not known or name in known:
        return None
    near = nearest(name, known)
    return f"is of the architecture “{name}”, which this llama.cpp does not know" + (
        f" (the nearest that it knows is {near})" if near else ""
    )
