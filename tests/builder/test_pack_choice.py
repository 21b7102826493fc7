"""Which targets are meant, and what of the lists of kernels and GPU backends is for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ggufs import write_gguf
from solofile.builder import cpython_wheels
from solofile.builder.cli import main
from solofile.builder.forms import EXE, output_for
from solofile.builder.pack_choice import FETCHED, expanded, share
from solofile.builder.targets import TARGETS, find_kernels
from solofile.runtime.errors import UnknownName

PAIR = ("linux-aarch64", "linux-x86_64")


def test_targets_with_commas_in_order() -> None:
    assert expanded(["windows-x86_64,linux-x86_64", "linux-aarch64", " linux-x86_64 "]) == (*PAIR, "windows-x86_64")
    assert expanded([]) == ()


def test_universal_are_all_that_can_be_made_from_here() -> None:
    assert expanded(["universal"]) == tuple(sorted(FETCHED)) == expanded(["universal", "linux-x86_64"])
    assert set(TARGETS) >= FETCHED == set(cpython_wheels.WHEELS)


def test_a_target_whose_cpython_must_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    write_gguf(tmp_path / "m.gguf")
    remedy = (
        "There is no CPython for windows-aarch64 on the package index: make a pack by “solofile pack build --target "
        "windows-aarch64 --cpython FILE”, where FILE is an install_only archive of python-build-standalone for it, and "
        "give that to a build as --pack."
    )
    for words in (["build", "m.gguf"], ["pack", "build"]):
        assert main([*words, "--target", "windows-aarch64"]) == 2
        assert remedy in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path != cache) == ["m.gguf"]
    assert not [name for name in ("native", "packs", "tools", "trees") if (cache / name).exists()]


def test_finder_starts_what_has_no_ending() -> None:
    for targets in (["macos-aarch64"], ["macos-aarch64", "macos-x86_64"]):
        assert output_for("m", EXE, targets) == Path("m-macos")
    for targets in (["linux-x86_64"], ["linux-x86_64", "macos-x86_64"], ["universal"]):
        assert output_for("m", EXE, targets) == Path("m.exe")


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="windows-x86_64"):
        expanded(["linux-x86_64,windows-x86-64"])


def test_each_target_gets_its_own_kernels() -> None:
    assert share("linux-x86_64", PAIR, "kernels", "haswell,armv8.2_1") == "haswell"
    assert share("linux-aarch64", PAIR, "kernels", "haswell,armv8.2_1") == "armv8.2_1"
    assert share("linux-x86_64", PAIR, "kernels", "all") == "all"
    assert share("linux-x86_64", PAIR, "gpus", "vulkan") == "vulkan"
    assert share("linux-aarch64", PAIR, "gpus", "vulkan") == ""


def test_a_kernel_that_no_target_has_is_refused() -> None:
    wanted = share("linux-x86_64", PAIR, "kernels", "haswel,armv8.2_1")
    with pytest.raises(UnknownName, match="haswell"):
        find_kernels(TARGETS["linux-x86_64"], wanted)
    assert share("linux-x86_64", ("linux-x86_64",), "kernels", "armv8.2_1") == "armv8.2_1"
