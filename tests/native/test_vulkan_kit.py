"""Where the shader compiler and Vulkan's headers come from, and what is said when they do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from solofile.builder import apt, gpu, targets, vulkan_kit, vulkan_packages
from solofile.builder.cli import main
from solofile.builder.errors import MissingTool
from solofile.builder.hashing import file_sha256

HEADER = "// Copyright\n#define VK_HEADER_VERSION {patch}\n#define VK_HEADER_VERSION_COMPLETE {complete}\n"
X86 = targets.find_target("linux-x86_64")


def header(minor: int, patch: int) -> str:
    return HEADER.format(patch=patch, complete=f"VK_MAKE_API_VERSION(0, 1, {minor}, VK_HEADER_VERSION)")


def make_sdk(folder: Path, *, minor: int = 4, patch: int = 321, compiler: str = "exit 0") -> Path:
    """A Vulkan SDK as far as a build looks at it; ``compiler`` is what its glslc does."""
    for name in vulkan_kit.HEADERS:
        path = folder / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header(minor, patch))
    (folder / "include" / "stdio.h").write_text("#error not for the target\n")
    glslc = folder / "bin" / "glslc"
    glslc.parent.mkdir(parents=True, exist_ok=True)
    glslc.write_text(f"#!/bin/sh\n{compiler}\n")
    glslc.chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def build_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VULKAN_SDK", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def shaders(tmp_path: Path) -> Path:
    """ggml's test shaders, by name."""
    folder = tmp_path / "shaders"
    folder.mkdir()
    for name in vulkan_kit.FEATURES:
        (folder / f"{name}.comp").touch()
    return folder


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A system without apt; the folder stands for /usr."""
    monkeypatch.setattr(apt, "available", lambda: False)
    installed = vulkan_kit.installed_kit
    monkeypatch.setattr(vulkan_kit, "installed_kit", lambda _, where: installed(tmp_path / "usr", where))
    return tmp_path / "usr"


def test_an_sdk_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = make_sdk(tmp_path / "sdk")
    monkeypatch.setenv("VULKAN_SDK", str(sdk))
    kit = vulkan_kit.find_kit()
    assert kit.origin == f"glslc and Vulkan headers 1.4.321 of VULKAN_SDK ({sdk})"
    assert kit.glslc.resolve() == sdk / "bin" / "glslc"
    assert (kit.folder / "include/vulkan/vulkan.hpp").is_file()
    assert not (kit.folder / "include/stdio.h").exists()  # what else lies there is not for the compiler
    assert kit.terms.startswith(b"// Copyright")


def test_its_key_goes_by_what_is_in_it(tmp_path: Path) -> None:
    def key(sdk: Path) -> str:
        return vulkan_kit.installed_kit(sdk, "here").key

    sdk = make_sdk(tmp_path / "sdk")
    first = key(sdk)
    assert key(sdk) == first
    (sdk / "include/stdio.h").write_text("")
    assert key(sdk) == first
    (sdk / "include/vulkan/vulkan_more.hpp").write_text("")
    second = key(sdk)
    make_sdk(sdk, compiler="echo shaderc 2099")
    assert len({first, second, key(sdk)}) == 3
    assert gpu.gpu_key(X86, {}, vulkan_kit.Kit(tmp_path, first, "")) != gpu.gpu_key(
        X86, {}, vulkan_kit.Kit(tmp_path, second, "")
    )


def test_only_what_goes_into_a_gpu_backend_is_in_its_key(tmp_path: Path) -> None:
    kit = vulkan_kit.Kit(tmp_path, "kit", "")
    sources = {"CMakeLists.txt": "1", "bridge/engine.cpp": "2", "vulkan/loader.c": "3"}
    key = gpu.gpu_key(X86, sources, kit)
    assert gpu.gpu_key(X86, {**sources, "bridge/engine.cpp": "other"}, kit) == key
    assert gpu.gpu_key(X86, {**sources, "vulkan/loader.c": "other"}, kit) != key


def test_what_the_compiler_lacks(tmp_path: Path, shaders: Path) -> None:
    complaint = (
        "case $5 in *bfloat16*) echo 'x.comp:3: error: extension not supported: GL_EXT_bfloat16' >&2; exit 1; esac"
    )
    kit = vulkan_kit.installed_kit(make_sdk(tmp_path / "sdk", compiler=complaint), "here")
    assert kit.lacks(shaders) == ("bfloat16",)


@pytest.mark.parametrize(
    ("compiler", "says"),
    [
        ("echo 'error: invalid value vulkan1.3' >&2; exit 1", "invalid value vulkan1.3"),
        ("kill -9 $$", "ended with code -9"),
    ],
)
def test_a_compiler_that_cannot_compile(tmp_path: Path, shaders: Path, compiler: str, says: str) -> None:
    kit = vulkan_kit.installed_kit(make_sdk(tmp_path / "sdk", compiler=compiler), "here")
    with pytest.raises(MissingTool, match=says):
        kit.lacks(shaders)


def test_nothing_is_there(alone: Path) -> None:
    with pytest.raises(MissingTool, match="need the shader compiler glslc, and this system has none: build where apt"):
        vulkan_kit.find_kit()
    assert vulkan_kit.kit_origin().startswith("nothing: GPU builds need the shader compiler")
    make_sdk(alone)
    assert "1.4.321 of this system" in vulkan_kit.find_kit().origin
    assert "1.4.321 of this system" in vulkan_kit.kit_origin()


@pytest.mark.parametrize("name", vulkan_kit.HEADERS)
def test_a_header_is_missing(alone: Path, name: str) -> None:
    (make_sdk(alone) / "include" / name).unlink()
    with pytest.raises(MissingTool, match=f"need the header {name}, and this system has none"):
        vulkan_kit.find_kit()


def test_old_headers_are_an_error_of_one_sentence(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sdk(alone, minor=3, patch=239)
    assert main(["native", "build", "--gpu", "vulkan"]) == 2
    assert capsys.readouterr().err == (
        "solofile: The Vulkan headers of this system are too old (1.3.239): build where apt reaches a Debian mirror, "
        "or set VULKAN_SDK to a Vulkan SDK with headers 1.4.309 or newer.\n"
    )


class Mirror:
    """Stands in for apt and dpkg: offers packages with the given contents."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offered = {name: name.encode() for name in (*vulkan_packages.PACKAGES, *vulkan_packages.COMPANIONS)}
        self.asked: list[str] = []
        monkeypatch.setattr(vulkan_packages, "can_run", lambda: True)
        monkeypatch.setattr(apt, "available", lambda: True)
        monkeypatch.setattr(apt, "run", self.run)

    def pin(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """Let the pins be those of what is offered."""
        pins = {}
        for name, (version, _) in vulkan_packages.PACKAGES.items():
            (folder / name).write_bytes(self.offered[name])
            pins[name] = (version, file_sha256(folder / name))
        monkeypatch.setattr(vulkan_packages, "PACKAGES", pins)

    def run(
        self, command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> str | None:
        assert environment is None
        self.asked.append(" ".join(command))
        if "indextargets" in command:
            return "http://mirror.example/debian/ bookworm\nhttp://mirror.example/debian/ bookworm-updates"
        if "download" in command:
            name, _, version = command[-1].partition("=")
            if folder and name in self.offered:
                (folder / f"{name}_{version or '1'}_amd64.deb").write_bytes(self.offered[name])
            return ""
        if "--extract" in command:
            self._unpack(Path(command[-1]) / "usr")
        return ""

    @staticmethod
    def _unpack(root: Path) -> None:
        libraries = (*vulkan_packages._LIBRARIES, vulkan_packages._LOADER)
        names = [f"lib/x86_64-linux-gnu/{name}" for name in libraries]
        names += ["bin/glslc", "share/doc/libvulkan-dev/copyright"]
        for name in (*names, *(f"include/{name}" for name in vulkan_kit.HEADERS), "include/vk_video/vulkan_video.h"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)


def test_the_pinned_packages_are_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(monkeypatch)
    mirror.pin(monkeypatch, tmp_path)
    kit = vulkan_kit.find_kit()
    assert kit.origin == vulkan_packages.ORIGIN == vulkan_kit.kit_origin()
    assert kit.key == vulkan_packages.key() and kit.terms == b"share/doc/libvulkan-dev/copyright"
    assert (kit.folder / "lib" / "glslc").is_file() and kit.glslc.stat().st_mode & 0o111
    assert any(line.endswith("download glslc=2025.2-1") for line in mirror.asked)
    count = len(mirror.asked)
    assert vulkan_kit.find_kit() == kit
    assert len(mirror.asked) == count


@pytest.mark.parametrize("name", ["glslc", "spirv-headers"])
def test_packages_that_are_not_the_pinned_ones_are_refused(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mirror = Mirror(monkeypatch)
    mirror.pin(monkeypatch, tmp_path)
    mirror.offered[name] = b"something else"
    with pytest.raises(MissingTool):
        vulkan_kit.find_kit()
    assert "is not the file that is pinned (by its SHA-256), so the system's own" in capsys.readouterr().err
    make_sdk(alone)
    assert "this system" in vulkan_kit.find_kit().origin


def test_no_mirror(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = Mirror(monkeypatch)
    mirror.pin(monkeypatch, tmp_path)
    del mirror.offered["libc6"]
    make_sdk(alone)
    assert "this system" in vulkan_kit.find_kit().origin
    assert "apt could not fetch libc6 of Debian's trixie, so" in capsys.readouterr().err


def test_the_sources_of_another_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(monkeypatch)
    apt.download_from("trixie", ["glslc=1"], tmp_path)
    (line,) = (tmp_path / "sources.list").read_text().splitlines()
    assert line.startswith("deb ") and line.endswith("http://mirror.example/debian/ trixie main")
    update = next(line for line in mirror.asked if line.endswith(" update"))
    assert "Dir::Etc::SourceParts=/dev/null" in update and f"Dir::State::lists={tmp_path}/lists" in update
    assert (tmp_path / "glslc_1_amd64.deb").is_file()


@pytest.mark.skipif(not vulkan_packages.can_run(), reason="the packages are for x86-64 Linux")
def test_the_pinned_compiler_knows_cooperative_matrices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SOLOFILE_BUILD_CACHE")
    if not vulkan_packages.fetch(vulkan_kit.cache_folder("tools") / f"vulkan-{vulkan_packages.key()}"):
        pytest.skip("no Debian mirror is in reach")
    kit = vulkan_kit.find_kit()
    shader = tmp_path / "a.comp"
    shader.write_text("#version 460\n#extension GL_KHR_cooperative_matrix : require\nvoid main() {}\n")
    command = [kit.glslc, "-fshader-stage=compute", "--target-env=vulkan1.3", "-o", tmp_path / "a.spv", shader]
    subprocess.run(command, check=True, timeout=60, env={}, stdout=sys.stderr)
    assert (tmp_path / "a.spv").read_bytes()[:4] == b"\x03\x02\x23\x07"
    version = vulkan_kit.header_version((kit.folder / "include/vulkan/vulkan_core.h").read_text("utf-8"))
    assert version >= vulkan_kit.OLDEST_HEADERS
