"""The shader compiler that remembers: a stand-in for glslc tells how often it was asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from solofile.builder import paths
from solofile.builder.shared_shaders import sharing
from solofile.builder.vulkan_kit import Kit

GLSLC = """#!/bin/sh
echo "$*" >>"${0%/*}/asked"
while [ $# -gt 0 ]; do
    case $1 in -o) output=$2 ;; -MF) dependencies=$2 ;; fail.comp) exit 3 ;; esac
    shift
done
[ "$output" = - ] && exec echo spir-v
echo "shader $output" >"$output"
if [ -n "$dependencies" ]; then echo "$output: a.comp" >"$dependencies"; fi
"""


class Compiler:
    def __init__(self, folder: Path, key: str = "kit") -> None:
        folder.mkdir()
        (folder / "include").mkdir()
        (folder / "glslc").write_text(GLSLC)
        (folder / "glslc").chmod(0o755)
        self._asked = folder / "asked"
        self.kit = sharing(Kit(folder, key, "a test's kit"))

    @property
    def count(self) -> int:
        return len(self._asked.read_text().splitlines()) if self._asked.exists() else 0

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self.kit.glslc, "-fshader-stage=compute", *words]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=20)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path / "cache"))
    return Compiler(tmp_path / "kit with a space")


def test_a_shader_is_compiled_for_one_target_and_copied_for_the_next(compiler: Compiler, tmp_path: Path) -> None:
    first, second = tmp_path / "linux tree", tmp_path / "windows tree"
    for folder in (first, second):
        folder.mkdir()
        dependencies = folder / "a.comp.cpp.d"
        done = compiler.run("a.comp", "-o", folder / "a_f32.spv", "-O", "-MD", "-MF", dependencies, "-DX=1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert dependencies.read_text().startswith(f"{folder / 'a_f32.spv'}:")
    assert compiler.count == 1
    assert (first / "a_f32.spv").read_bytes() == (second / "a_f32.spv").read_bytes()
    assert compiler.run("a.comp", "-o", second / "a_f16.spv").returncode == 0
    assert compiler.count == 2


def test_a_failure_is_passed_on_and_not_kept(compiler: Compiler, tmp_path: Path) -> None:
    for count in (1, 2):
        assert compiler.run("fail.comp", "-o", tmp_path / "fail.spv").returncode == 3
        assert compiler.count == count


def test_what_makes_no_file_is_passed_on(compiler: Compiler) -> None:
    for count in (1, 2):
        assert compiler.run("-o", "-", "feature.comp").stdout == "spir-v\n"
        assert compiler.count == count


def test_another_kit_has_shaders_of_its_own(compiler: Compiler, tmp_path: Path) -> None:
    other = Compiler(tmp_path / "newer", key="newer")
    assert other.kit.folder != compiler.kit.folder
    for one in (compiler, other):
        assert one.run("a.comp", "-o", tmp_path / "a.spv").returncode == 0
        assert one.count == 1
    assert sharing(Kit(tmp_path / "newer", "newer", "")).folder == other.kit.folder
