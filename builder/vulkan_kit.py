"""What ggml's Vulkan backend is built with: a shader compiler (glslc), Vulkan's headers and SPIR-V's.

A kit is a folder with ``include/`` (vulkan, vk_video, spirv) and ``glslc``. By default it is made of pinned Debian
packages (vulkan_packages.py), so that two machines build the same thing. A Vulkan SDK that the user names goes before
them (VULKAN_SDK), and where no Debian mirror is in reach, what the system has installed is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import apt, vulkan_packages
from solofile.builder.errors import MissingTool
from solofile.builder.hashing import file_sha256, folder_digests
from solofile.builder.paths import cache_folder, made_at

VARIABLE = "VULKAN_SDK"
OLDEST_HEADERS = (1, 4, 309)
"""The oldest headers that this llama.cpp is known to build with."""
FOLDERS = ("vulkan", "vk_video", "spirv")
HEADERS = ("vulkan/vulkan.hpp", "vulkan/vulkan_core.h", "spirv/unified1/spirv.hpp")

FEATURES = {
    "coopmat": ("GL_KHR_cooperative_matrix", "cooperative matrix"),
    "coopmat2": ("GL_NV_cooperative_matrix2", "cooperative matrix 2"),
    "coopmat2_decode_vector": ("GL_NV_cooperative_matrix_decode_vector", "cooperative matrix decode vector"),
    "integer_dot": ("GL_EXT_integer_dot_product", "integer dot product"),
    "bfloat16": ("GL_EXT_bfloat16", "bfloat16"),
    "float_e2m1": ("GL_EXT_float_e2m1", "float e2m1"),
    "float_e4m3": ("GL_EXT_float_e4m3", "float e4m3"),
}
"""By the name of ggml's test shader: the extension that a compiler may lack, and its name for people."""

_NEWER = f"set {VARIABLE} to a Vulkan SDK with headers {'.'.join(map(str, OLDEST_HEADERS))} or newer"
_REMEDY = f"build where apt reaches a Debian mirror, or {_NEWER}"


@dataclass(frozen=True)
class Kit:
    """A kit; ``key`` stands for everything in it, ``origin`` says where it is from."""

    folder: Path
    key: str
    origin: str

    @property
    def glslc(self) -> Path:
        """The shader compiler."""
        return self.folder / "glslc"

    @property
    def terms(self) -> bytes:
        """The license of the headers, which are compiled into the library."""
        file = self.folder / "copyright"
        if file.is_file():
            return file.read_bytes()
        return (self.folder / "include" / HEADERS[1]).read_bytes().partition(b"*/")[0] + b"*/\n"

    def lacks(self, shaders: Path) -> tuple[str, ...]:
        """What the compiler cannot do of all that ggml's shaders can use; ``shaders`` has a test for each feature."""
        lacking = []
        for shader, (extension, name) in FEATURES.items():
            said = _complaint(self.glslc, shaders / f"{shader}.comp")
            if f"extension not supported: {extension}" in said:
                lacking.append(name)
            elif said:
                raise MissingTool(f"{self.origin} cannot compile ggml's shaders ({said.splitlines()[0]}): {_NEWER}.")
        return tuple(lacking)


def find_kit() -> Kit:
    """The kit for this machine, fetched when it is not there. Raises MissingTool."""
    named = os.environ.get(VARIABLE)
    if named:
        return installed_kit(Path(named), f"{VARIABLE} ({named})")
    if vulkan_packages.can_run():
        folder = cache_folder("tools") / f"vulkan-{vulkan_packages.key()}"
        if vulkan_packages.fetch(folder):
            return Kit(folder, vulkan_packages.key(), vulkan_packages.ORIGIN)
    return installed_kit(Path("/usr"), "this system")


def kit_origin() -> str:
    """Where the kit would come from, or why there is none, in a few words; nothing is fetched."""
    if not os.environ.get(VARIABLE) and vulkan_packages.can_run() and apt.available():
        return vulkan_packages.ORIGIN
    try:
        return find_kit().origin
    except MissingTool as error:
        return f"nothing: {error}"


def installed_kit(prefix: Path, where: str) -> Kit:
    """A kit out of what is installed below ``prefix`` (``bin/glslc``, ``include/vulkan`` …). Raises MissingTool."""
    compiler = shutil.which("glslc", path=str(prefix / "bin"))
    if compiler is None:
        raise MissingTool(f"GPU builds need the shader compiler glslc, and {where} has none: {_REMEDY}.")
    include = prefix / "include"
    for header in HEADERS:
        if not (include / header).is_file():
            raise MissingTool(f"GPU builds need the header {header}, and {where} has none: {_REMEDY}.")
    version = header_version((include / HEADERS[1]).read_text("utf-8"))
    words = ".".join(map(str, version))
    if version < OLDEST_HEADERS:
        raise MissingTool(f"The Vulkan headers of {where} are too old ({words}): {_REMEDY}.")
    origin = f"glslc and Vulkan headers {words} of {where}"
    return _taken(include, Path(compiler).absolute(), origin)


def header_version(text: str) -> tuple[int, ...]:
    """The version that vulkan_core.h names, such as (1, 4, 309)."""
    complete = re.search(r"VK_HEADER_VERSION_COMPLETE VK_MAKE_API_VERSION\(0, (\d+), (\d+),", text)
    patch = re.search(r"#define VK_HEADER_VERSION (\d+)", text)
    return (*map(int, complete.groups()), int(patch[1])) if complete and patch else (0,)


def _taken(include: Path, compiler: Path, origin: str) -> Kit:
    """The headers copied, since ``include`` holds others too, which must not be found; the compiler by a link."""
    said = apt.run([str(compiler), "--version"]) or ""
    digests = [f"{name}/{file} {digest}" for name in FOLDERS for file, digest in folder_digests(include / name).items()]
    key = _key([str(compiler), file_sha256(compiler), said, *digests])
    folder = cache_folder("tools") / f"vulkan-{key}"
    if not folder.is_dir():
        with made_at(folder) as made:
            for name in FOLDERS:
                if (include / name).is_dir():
                    shutil.copytree(include / name, made / "include" / name)
            (made / "glslc").symlink_to(compiler)
    return Kit(folder, key, origin)


def _complaint(glslc: Path, shader: Path) -> str:
    """What the compiler has against a compute shader; nothing if it takes it."""
    command = [str(glslc), "-o", os.devnull, "-fshader-stage=compute", "--target-env=vulkan1.3", str(shader)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{glslc}: {error.strerror}"
    return done.stderr.strip() or f"{glslc} ended with code {done.returncode}" if done.returncode else ""


def _key(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
