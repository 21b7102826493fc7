"""A build cache of its own for every test, with the native libraries and the sources of the real one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "builder"), str(TESTS / "container")]

from bundles import make_pack  # noqa: E402
from solofile.builder.paths import build_cache  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402


@pytest.fixture
def cache(native_libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The build cache: what is compiled and fetched is there, what is made of models is not."""
    assert native_libraries.is_dir()
    folder = tmp_path / "cache"
    folder.mkdir()
    for name in ("native", "sources", "tools"):
        (folder / name).symlink_to(build_cache() / name)
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of F32 weights that llama.cpp runs."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-F32.gguf", width=256, layers=2)


@pytest.fixture(scope="session")
def pack_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack in which nothing is real."""
    path = tmp_path_factory.mktemp("pack") / "pack.zip"
    make_pack(path).close()
    return path
