"""What the cache must look like."""

from __future__ import annotations

from pathlib import Path

from synthetic_bundle import Run, Synthetic, run

FILE_TIME = 315_532_800


def pack_of(bundle: Synthetic, cache: Path) -> Path:
    """The folder that the bundle's pack belongs in."""
    return cache / "packs" / bundle.digest


def leftovers(cache: Path) -> list[str]:
    """What is in the folder of packs beside packs and their locks."""
    return [path.name for path in (cache / "packs").iterdir() if path.name.startswith(".")]


def assert_whole(bundle: Synthetic, cache: Path) -> None:
    """The pack is in the cache, byte for byte, read-only, with the agreed time, and nothing half is beside it."""
    root, files = pack_of(bundle, cache), bundle.files
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    assert set(found) == set(files)
    for name, path in found.items():
        assert path.read_bytes() == files[name].data, name
        assert path.stat().st_mode & 0o7777 == (0o555 if files[name].mode & 0o111 else 0o444), name
        assert path.stat().st_mtime_ns == FILE_TIME * 10**9, name
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        assert folder.stat().st_mode & 0o7777 == 0o555, folder
    assert leftovers(cache) == []


def start(bundle: Synthetic, cache: Path) -> Run:
    """Start the probe, which must do well."""
    started = run([bundle.path, "exit", "0"], {"SOLOFILE_CACHE": cache})
    assert started.code == 0, started.err
    return started
