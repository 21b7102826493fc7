"""``--launcher FILE``: what is taken, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from solofile.builder import own_launcher
from solofile.builder.build import BuildRequest, build_bundle
from solofile.builder.errors import BadInput
from solofile.builder.launcher import build_launcher
from solofile.builder.own_launcher import read_launcher
from solofile.builder.packfile import Pack
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import PathSource
from solofile.runtime import integrity
from solofile.runtime.container import Bundle


@pytest.fixture(scope="module")
def launchers() -> dict[str, Path]:
    """The real ones, from the real build cache: a module's fixtures come before a test's settings."""
    return {target: build_launcher(target) for target in ("linux-x86_64", "windows-x86_64")}


def test_a_launcher_of_ours_is_taken(launchers: dict[str, Path], tmp_path: Path) -> None:
    for target, path in launchers.items():
        assert read_launcher(path, [target]) == path.read_bytes()
    changed = tmp_path / "signed.exe"
    changed.write_bytes(launchers["windows-x86_64"].read_bytes() + b"a signature")
    assert read_launcher(changed, ["windows-x86_64"]).endswith(b"a signature")


def test_a_launcher_of_another_system_is_refused(launchers: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match="is for linux-x86_64, not for windows-x86_64"):
        read_launcher(launchers["linux-x86_64"], ["windows-x86_64"])


def test_what_is_no_launcher_is_refused(
    launchers: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\n")
    with pytest.raises(BadInput, match="is for no system, not for linux-x86_64"):
        read_launcher(other, ["linux-x86_64"])
    other.write_bytes(launchers["linux-x86_64"].read_bytes()[:8192])
    with pytest.raises(BadInput, match="is no launcher of solofile"):
        read_launcher(other, ["linux-x86_64"])
    with pytest.raises(BadInput, match="cannot be read"):
        read_launcher(tmp_path / "missing", ["linux-x86_64"])
    monkeypatch.setattr(own_launcher, "SIGNED_LIMIT", 1000)
    with pytest.raises(BadInput, match="give the launcher alone"):
        read_launcher(launchers["linux-x86_64"], ["linux-x86_64"])


def test_a_bundle_begins_with_it(launchers: dict[str, Path], gguf_path: Path, pack_path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_bytes(launchers["linux-x86_64"].read_bytes() + b"mine")
    request = BuildRequest(PathSource(gguf_path), output=tmp_path / "x.exe", launcher=own)
    build_bundle(request, lambda _: [Pack.open(pack_path)], SilentProgress)
    assert (tmp_path / "x.exe").read_bytes().startswith(own.read_bytes())
    with Bundle.open(tmp_path / "x.exe") as bundle:
        assert bundle.part("launcher").size == own.stat().st_size
        assert integrity.verify(bundle) == []
