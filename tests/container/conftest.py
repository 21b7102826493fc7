"""A tiny pack and a tiny bundle, made once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bundles import make_bundle, make_pack


@pytest.fixture(scope="session")
def pack_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "pack.zip"
    make_pack(path).close()
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files that go in as models: one that fills its last block, and one that does not."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "odd.gguf").write_bytes(b"GGUF" + os.urandom(70_001))
    (folder / "even.gguf").write_bytes(b"GGUF" + os.urandom(131_072 - 4))
    return [folder / "odd.gguf", folder / "even.gguf"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, pack_path: Path, models: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.exe"
    make_bundle(path, pack_path, models)
    return path
