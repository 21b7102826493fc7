"""Icon, version and application manifest of a launcher for Windows, as Windows' own functions read them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from runners import Runner
from solofile.builder.build import BuildRequest, build_bundle
from solofile.builder.errors import BadInput
from solofile.builder.launcher import build_launcher
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.progress import SilentProgress
from solofile.builder.recipe import read_recipe
from solofile.builder.windows_resources import Label, icons, labelled
from solofile.runtime import integrity
from solofile.runtime.container import Bundle
from solofile.runtime.manifest import LlamaCpp
from zig_cc import WINDOWS, zig_cc

IMAGES = (b"\x89PNG one image", b"\x89PNG a second image, larger")
TITLE = "Mein Modell – 模型"


def ico(images: tuple[bytes, ...] = IMAGES) -> bytes:
    """An .ico file of these images."""
    head, offset = struct.pack("<3H", 0, 1, len(images)), 6 + 16 * len(images)
    for image in images:
        head += struct.pack("<4B2H2I", 32, 32, 0, 0, 1, 32, len(image), offset)
        offset += len(image)
    return head + b"".join(images)


@pytest.fixture(scope="module")
def launcher() -> bytes:
    return build_launcher("windows-x86_64").read_bytes()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program for Windows that asks it about another."""
    source = Path(__file__).with_name("resource_reader.c")
    return zig_cc(tmp_path_factory.mktemp("reader") / "reader.exe", "-municode", source, "-lversion", triple=WINDOWS)


@pytest.mark.parametrize("icon", [None, ico()])
def test_windows_reads_them(wine: Runner, reader: Path, launcher: bytes, tmp_path: Path, icon: bytes | None) -> None:
    program = tmp_path / "labelled.exe"
    program.write_bytes(labelled(launcher, Label(TITLE, "mein-modell", "1.22.0", icon)))
    said = wine.run(reader, wine.path(program), timeout=60).stdout.splitlines()
    assert said == [
        f"FileDescription={TITLE}",
        f"ProductName={TITLE}",
        "FileVersion=1.22.0",
        "OriginalFilename=mein-modell.exe",
        "fixed=1.22",
        f"icon={6 + 14 * len(IMAGES) if icon else 0} manifest=1",
    ]


def test_the_launcher_still_starts(wine: Runner, launcher: bytes, tmp_path: Path) -> None:
    program = tmp_path / "labelled.exe"
    program.write_bytes(labelled(launcher, Label(TITLE, "mein-modell", "0.1.0", ico())))
    done = wine.run(program, timeout=60)
    assert done.returncode == 2
    assert "its end records are missing or wrong" in done.stderr


def test_the_same_label_gives_the_same_bytes(launcher: bytes) -> None:
    label = Label(TITLE, "m", "0.1.0", ico())
    assert labelled(launcher, label) == labelled(launcher, label)
    with pytest.raises(BadInput, match="has resources already"):
        labelled(labelled(launcher, label), label)


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"", "cut short"), (b"\x89PNG\r\n\x1a\n" * 9, "no .ico"), (ico()[:-1], "cut short"), (ico(()), "no .ico")],
)
def test_what_is_no_icon(data: bytes, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        icons(data)


def test_a_bundle_for_windows_is_labelled_from_its_recipe(launcher: bytes, gguf_path: Path, tmp_path: Path) -> None:
    facts = PackFacts("windows-x86_64", "Windows 10", "3.11", LlamaCpp("0.5.0", "0" * 40, "sdist"), ("x64",))
    files = [PackSource("runtime/windows-x86_64/solofile-runtime.exe", b"MZ", 0o755)]
    files.append(PackSource("native/windows-x86_64/ggml-cpu-x64.dll", b"MZ", 0o755))
    write_pack(tmp_path / "pack.zip", facts=facts, launcher=launcher, files=files)
    (tmp_path / "our.ico").write_bytes(ico())
    recipe = f'name = "our"\ntitle = "{TITLE}"\nicon = "our.ico"\nversion = "2.7"\n[model]\npath = "{gguf_path}"\n'
    (tmp_path / "our.toml").write_text(recipe)
    request = replace(BuildRequest(**vars(read_recipe(tmp_path / "our.toml"))), output=tmp_path / "our.exe")
    built = build_bundle(request, lambda _: [Pack.open(tmp_path / "pack.zip")], SilentProgress)
    expected = labelled(launcher, Label(TITLE, "our", "2.7", ico()))
    with Bundle.open(built.path) as bundle:
        assert bundle.read("launcher") == expected
        assert bundle.manifest.targets["windows-x86_64"].launcher.size == len(expected)
        assert integrity.verify(bundle) == []
    (tmp_path / "our.ico").unlink()
    with pytest.raises(BadInput, match=r"our\.ico cannot be read"):
        build_bundle(replace(request, force=True), lambda _: [Pack.open(tmp_path / "pack.zip")], SilentProgress)
