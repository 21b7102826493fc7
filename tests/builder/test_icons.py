"""The page's icon and greeting: what may be an icon, where it lies, how it is changed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from solofile.builder.cli import main
from solofile.builder.errors import BadInput
from solofile.builder.icon import LIMIT, read_icon
from solofile.runtime.archive import ALIGNMENT
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import MANIFEST_NAME

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">{}</svg>'


def png(width: int, height: int, padding: int = 0) -> bytes:
    """A picture of one grey, with so many bytes of a comment in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"tEXt", b"Comment\0" + b"x" * padding), chunk(b"IDAT", rows)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def ico(size: int | None = None) -> bytes:
    image = png(32, 32)
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(image) if size is None else size, 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(16, 16), "png"),
        (png(1024, 1024), "png"),
        (ico(), "ico"),
        (SVG.format('<path d="M0 0h8v8z" fill="#123"/>').encode(), "svg"),
        (SVG.format('<defs><linearGradient id="g"/></defs><rect fill="url(#g)" width="8"/>').encode(), "svg"),
        (b'<?xml version="1.0"?>\n' + SVG.format('<use href="#a"/><style-x xmlns="urn:other"/>').encode(), "svg"),
    ],
)
def test_icons(data: bytes, kind: str) -> None:
    Path("file").write_bytes(data)  # what it is called does not count
    assert read_icon(Path("file")) == (f"about/icon.{kind}", data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GIF89a", "is no PNG, ICO or SVG"),
        (b"", "is no PNG, ICO or SVG"),
        (png(8, 8), "is 8 x 8 pixels large: make it square, with 16 to 1024 pixels a side"),
        (png(2000, 2000), "is 2000 x 2000 pixels large"),
        (png(32, 16), "is 32 x 16 pixels large"),
        (png(32, 32)[:-20], "is a damaged PNG"),
        (png(32, 32, LIMIT), f"has over {LIMIT} bytes"),
        (ico(1 << 20), "is a damaged ICO"),
        (b"\0\0\1\0\0\0", "is a damaged ICO"),
        (SVG.format("<script>alert(1)</script>").encode(), "holds <script>, which is no drawing"),
        (SVG.format("<foreignObject/>").encode(), "holds <foreignObject>"),
        (SVG.format('<animate attributeName="href"/>').encode(), "holds <animate>"),
        (SVG.format('<style>@import "x"</style>').encode(), "holds <style>"),
        (SVG.format('<image href="https://x/y.png"/>').encode(), "holds <image>"),
        (SVG.format('<b xmlns="http://www.w3.org/1999/xhtml"/>').encode(), "holds <b>"),
        (SVG.format('<path onload="x()"/>').encode(), "has the attribute onload in <path>"),
        (SVG.format('<use href="https://x/y.svg#a"/>').encode(), "has the attribute href in <use>"),
        (SVG.format('<rect fill="url(https://x/#g)"/>').encode(), "has the attribute fill in <rect>"),
        (SVG.format('<rect style="fill: URL(//x)"/>').encode(), "has the attribute style in <rect>"),
        (SVG.format('<rect style="fill: url(#a) url(//x)"/>').encode(), "has the attribute style in <rect>"),
        (SVG.format('<rect style="fill: u\\72l(//x)"/>').encode(), "has the attribute style in <rect>"),
        (b'<?xml-stylesheet href="x.css"?>' + SVG.format("").encode(), "or a style sheet"),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.format("&a;").encode(), "has a document type"),
        (SVG.format("<g>").encode(), "is no XML"),
        (b"<svg/>", "has no <svg> of SVG's namespace"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    Path("icon").write_bytes(data)
    with pytest.raises(BadInput, match="The icon icon ") as caught:
        read_icon(Path("icon"))
    assert says in str(caught.value)


def test_missing_icon() -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_icon(Path("none.png"))


def check(path: str, icon: bytes | None, greeting: str | None) -> None:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []
        manifest = bundle.manifest
        assert manifest.greeting == greeting
        assert (bundle.read(manifest.icon) if manifest.icon else None) == icon
        *_, before, last = bundle.members.values()
        assert last.path == MANIFEST_NAME
        assert (before.path == manifest.icon) == (icon is not None)
        assert (before if icon is not None else last).header_offset % ALIGNMENT == 0


def test_built_in_by_a_recipe(pack_path: Path, gguf_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("i.png").write_bytes(png(64, 64))
    text = f'name = "x"\nicon = "i.png"\ngreeting = "Welcome."\n[model]\npath = "{gguf_path}"\n'
    Path("r.toml").write_text(text)
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    check("x.exe", png(64, 64), "Welcome.")
    assert main(["inspect", "x.exe"]) == 0
    page = capsys.readouterr().out
    assert "greeting       Welcome." in page
    assert "icon           about/icon.png" in page
    Path("r.toml").write_text(text.replace("i.png", "none.png"))
    assert main(["recipe", "check", "r.toml"]) == 2
    assert "none.png, which does not exist" in capsys.readouterr().err


def test_changed_in_place(pack_path: Path, gguf_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("i.png").write_bytes(png(64, 64))
    Path("i.svg").write_text(SVG.format(""))
    assert main(["build", str(gguf_path), "-o", "plain.exe", "--pack", str(pack_path)]) == 0
    check("plain.exe", None, None)
    given = ["--icon", "i.png", "--greeting", "Welcome."]
    assert main(["set", "plain.exe", "-o", "one.exe", *given]) == 0
    check("one.exe", png(64, 64), "Welcome.")
    assert main(["build", str(gguf_path), "-o", "built.exe", "--name", "plain", "--pack", str(pack_path), *given]) == 0
    assert Path("built.exe").read_bytes() == Path("one.exe").read_bytes()
    assert main(["set", "one.exe", "-o", "two.exe", "--icon", "i.svg"]) == 0
    check("two.exe", SVG.format("").encode(), "Welcome.")
    assert main(["set", "two.exe", "-o", "three.exe", "--title", "Other"]) == 0
    check("three.exe", SVG.format("").encode(), "Welcome.")
    assert main(["upgrade", "two.exe", "-o", "up.exe", "--pack", str(pack_path)]) == 0
    assert Path("up.exe").read_bytes() == Path("two.exe").read_bytes()
    assert main(["set", "two.exe", "-o", "none.exe", "--icon", "", "--greeting", ""]) == 0
    check("none.exe", None, None)
    assert Path("none.exe").read_bytes() == Path("plain.exe").read_bytes()
    assert main(["set", "plain.exe", "-o", "bad.exe", "--icon", str(gguf_path)]) == 2
    assert "is no PNG, ICO or SVG" in capsys.readouterr().err
    assert not Path("bad.exe").exists()
