"""The launcher as a file: static, small, for any processor, and compiled once."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

import pytest
from solofile.builder import launcher as launcher_module
from solofile.builder.launcher import SIZE_LIMIT, build_launcher, launcher_key
from solofile.runtime.errors import UnknownName
from synthetic_bundle import TARGET, Content, Synthetic, run, write_bundle

PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 2, 3, 0x6474E551


def program_headers(data: bytes) -> list[tuple[int, int, int]]:
    """Type, flags and size in memory of each segment of a 64-bit ELF file."""
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    entries = [struct.unpack_from("<IIQQQQQQ", data, offset + size * i) for i in range(count)]
    return [(entry[0], entry[1], entry[6]) for entry in entries]


def test_static_small_and_without_an_executable_stack(launcher: Path) -> None:
    data = launcher.read_bytes()
    assert len(data) < SIZE_LIMIT
    headers = program_headers(data)
    assert {kind for kind, _, _ in headers}.isdisjoint({PT_DYNAMIC, PT_INTERP})
    assert [flags for kind, flags, _ in headers if kind == PT_GNU_STACK] == [6]


def test_no_path_of_the_building_machine_is_in_it(launcher: Path) -> None:
    data = launcher.read_bytes()
    for text in (b"/home/", b"/root/", b".zig", str(launcher.parent.parent).encode()):
        assert text not in data


def test_a_second_call_does_nothing(launcher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be compiled")

    monkeypatch.setattr(subprocess, "run", refuse)
    before, started = launcher.stat(), time.monotonic()
    assert build_launcher(TARGET) == launcher
    assert time.monotonic() - started < 0.5
    assert launcher.stat() == before


def test_the_key_follows_what_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    key = launcher_key("x86_64-linux-musl")
    assert launcher_key("aarch64-linux-musl") != key
    monkeypatch.setattr(launcher_module, "OPTIONS", ("-OReleaseSmall",))
    assert launcher_key("x86_64-linux-musl") != key


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(UnknownName, match="linux-x86_64"):
        build_launcher("linux-x86-64")


def test_a_cold_and_a_warm_start_are_quick(launcher: Path, probe: bytes, tmp_path: Path) -> None:
    """Generous limits: they catch a mistake of kind (reading all at each start), not of degree."""
    files = {f"_internal/d{i % 20}/f{i}": Content(bytes([i]) * 400_000) for i in range(150)}
    bundle = write_bundle(
        tmp_path / "b.exe", launcher.read_bytes(), {**files, "solofile-runtime": Content(probe, 0o755)}
    )
    cold = fastest(bundle, tmp_path, caches=3)
    warm = fastest(bundle, tmp_path, caches=1)
    assert cold < 3.0
    assert warm < 0.1


def fastest(bundle: Synthetic, folder: Path, *, caches: int) -> float:
    """The fastest of several starts; with one cache, which is warm after the first, or with a new one each."""
    times = []
    for i in range(6 if caches == 1 else caches):
        started = time.monotonic()
        cache = folder / f"cache-{caches}-{0 if caches == 1 else i}"
        assert run([bundle.path, "exit", "0"], {"SOLOFILE_CACHE": cache}).code == 0
        times.append(time.monotonic() - started)
    return min(times)
