"""A tiny pack and a tiny GGUF, made once, and a build cache of its own for every test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from solofile.builder.cli import main

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "container")]

from bundles import make_pack  # noqa: E402
from ggufs import write_gguf  # noqa: E402


@pytest.fixture(scope="session")
def pack_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "pack.zip"
    make_pack(path).close()
    return path


@pytest.fixture(scope="session")
def gguf_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "Tiny Model.Q8.gguf")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder, which is the current one: where a test builds."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def build_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(folder))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return folder


@pytest.fixture
def long_model(gguf_path: Path, tmp_path: Path) -> Path:
    """One whose copy takes a moment."""
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_path.read_bytes() + os.urandom(12 << 20))
    return path


@pytest.fixture
def old_bundle(long_model: Path, pack_path: Path, folder: Path) -> Path:
    """A bundle of it."""
    assert main(["build", str(long_model), "--pack", str(pack_path), "-o", "old.exe", "--title", "Old"]) == 0
    return folder / "old.exe"
