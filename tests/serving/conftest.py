"""Where the examples of running a bundle as a server lie."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def serving() -> Path:
    return Path(__file__).parents[2] / "recipes" / "serving"
