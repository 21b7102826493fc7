"""Bundles of two files: when they are made, what is in them, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.builder import splitting
from solofile.builder.build import BuildRequest, Built, build_bundle
from solofile.builder.changing import Changes, change_settings
from solofile.builder.errors import BadInput
from solofile.builder.packfile import Pack
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import PathSource
from solofile.runtime import integrity
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle, InputError

Build = Callable[..., Built]


@pytest.fixture
def build(gguf_path: Path, pack_path: Path, tmp_path: Path) -> Build:
    """Builds the tiny model with some settings."""

    def build(name: str = "tiny.exe", **settings: object) -> Built:
        request = BuildRequest(PathSource(gguf_path), output=tmp_path / name, **settings)  # type: ignore[arg-type]
        return build_bundle(request, lambda _: [Pack.open(pack_path)], SilentProgress)

    return build


@pytest.mark.parametrize(
    ("text", "size"), [("4g", 2**32 - 1), ("500M", 500 * 2**20 - 1), ("12345", 12345), ("2GiB", 2**31 - 1)]
)
def test_sizes(text: str, size: int) -> None:
    assert splitting.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "0", "-1", "4t", "4 g 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadInput, match="is no size"):
        splitting.parse_size(text)


def test_windows_has_a_limit_of_its_own() -> None:
    assert splitting.split_limit(None, ["linux-x86_64"]) is None
    assert splitting.split_limit(None, ["linux-x86_64", "windows-x86_64"]) == 2**32 - 1
    assert splitting.split_limit("8g", ["windows-x86_64"]) == 2**32 - 1
    assert splitting.split_limit("1g", ["windows-x86_64"]) == 2**30 - 1
    assert splitting.split_limit("8g", ["macos-aarch64"]) == 2**33 - 1


def test_the_model_lies_beside(build: Build, gguf_path: Path) -> None:
    built = build(split="1")
    assert built.apart == built.path.with_name("tiny.gguf")
    assert built.apart.read_bytes() == gguf_path.read_bytes()
    (beside,) = built.manifest.beside
    assert (beside.file, beside.size) == ("tiny.gguf", gguf_path.stat().st_size)
    assert beside.sha256 == hashlib.sha256(gguf_path.read_bytes()).hexdigest()
    with Bundle.open(built.path) as bundle:
        assert bundle.place(built.manifest.default_model) == (built.apart, 0)
        assert built.manifest.default_model not in bundle.members
        assert integrity.verify(bundle) == []


def test_what_fits_is_one_file(build: Build) -> None:
    built = build(split="1g")
    assert (built.apart, built.manifest.beside) == (None, ())
    assert b'"beside"' not in built.manifest.to_json()
    assert [path.name for path in built.path.parent.iterdir()] == ["tiny.exe"]


def test_a_file_that_is_there_is_not_replaced(build: Build, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_text("mine")
    with pytest.raises(BadInput, match=r"tiny\.gguf exists"):
        build(split="1")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]
    assert build(split="1", force=True).apart


def test_extract_writes_the_model_too(build: Build, gguf_path: Path, tmp_path: Path) -> None:
    built = build(split="1")
    with Bundle.open(built.path) as bundle:
        integrity.extract(bundle, tmp_path / "out")
    assert (tmp_path / "out" / built.manifest.default_model).read_bytes() == gguf_path.read_bytes()


def test_the_second_file_is_checked_when_the_first_is_opened(build: Build) -> None:
    built = build(split="1")
    assert built.apart is not None
    data = built.apart.read_bytes()
    for changed, what in (
        (data[:-1], "bytes in place of"),
        (b"X" + data[1:], "is not the file that belongs to tiny.exe"),
    ):
        built.apart.write_bytes(changed)
        with pytest.raises(DamagedBundle, match=what):
            Bundle.open(built.path)
    built.apart.unlink()
    with pytest.raises(InputError, match=r"needs tiny\.gguf beside it"):
        Bundle.open(built.path)


def test_verify_finds_what_a_start_does_not_see(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(split="1")
    assert built.apart is not None
    monkeypatch.setattr("solofile.runtime.beside.check", lambda *_: None)
    built.apart.write_bytes(built.apart.read_bytes()[:-1] + b"?")
    with Bundle.open(built.path) as bundle:
        assert [damage.path for damage in integrity.verify(bundle)] == [built.manifest.default_model]


def test_a_split_bundle_is_not_changed_in_place(build: Build, tmp_path: Path) -> None:
    built = build(split="1")
    with Bundle.open(built.path) as bundle, pytest.raises(BadInput, match="is split into two files"):
        change_settings(bundle, tmp_path / "new.exe", Changes(), SilentProgress)


def test_both_may_be_moved_together(build: Build, tmp_path: Path) -> None:
    built = build(split="1")
    assert built.apart is not None
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for path in (built.path, built.apart):
        shutil.move(path, folder)
    Bundle.open(folder / "tiny.exe").close()
