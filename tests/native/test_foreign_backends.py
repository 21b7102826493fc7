"""GPU backends for Windows and macOS that are given as files: what is taken, what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from solofile.builder import backends
from solofile.builder.errors import BadInput
from solofile.builder.mach import MachError, read_mach
from solofile.builder.native import Native
from solofile.runtime.manifest import Gpu
from zig_cc import compile_library

OFFERED = 'const char *ggml_type_name(int type) { return type ? 0 : "f32"; }'
BACKEND = """
{mark} void *ggml_backend_init(void);
extern const char *{symbol}(int);
void *ggml_backend_init(void) {{ return (void *){symbol}(0); }}
"""
WINDOWS, MACOS = "windows-x86_64", "macos-aarch64"
TRIPLES = {
    WINDOWS: "x86_64-windows-gnu", MACOS: "aarch64-macos.13.1", "windows-aarch64": "aarch64-windows-gnu",
    "macos-x86_64": "x86_64-macos.11.0",
}  # fmt: skip
NAMES = {"windows": ("", ".dll"), "macos": ("lib", ".dylib")}


class Lab:
    """A bundle's own ggml for a target, as far as backends look at it, and backends made for it."""

    def __init__(self, folder: Path, target: str) -> None:
        self.target, self.folder = target, folder
        self.prefix, self.ending = NAMES[target.partition("-")[0]]
        self.base = self.compile("ggml-base", self.marked(OFFERED), folder=folder / "lib")
        self.compile("ggml", self.marked("int ggml_backend_reg_count(void) { return 0; }"), folder=folder / "lib")
        self.libraries = Native("key", target, (), folder / "lib", None)

    def marked(self, source: str) -> str:
        return f"__declspec(dllexport) {source}" if self.ending == ".dll" else source

    def compile(self, name: str, source: str, *words: str | Path, folder: Path | None = None, target: str = "") -> Path:
        place = folder or self.folder
        place.mkdir(parents=True, exist_ok=True)
        output = place / f"{self.prefix}{name}{self.ending}"
        more = [f"-Wl,-install_name,@rpath/{output.name}"] if self.ending == ".dylib" else []
        if self.ending == ".dll":
            more = [f"-Wl,--out-implib,{output}.lib"]
        return compile_library(output, source, *more, *words, triple=TRIPLES[target or self.target])

    def backend(self, symbol: str = "ggml_type_name", base: Path | None = None) -> Path:
        mark = "__declspec(dllexport)" if self.ending == ".dll" else ""
        linked = base or self.base
        library = Path(f"{linked}.lib") if self.ending == ".dll" else linked
        return self.compile("ggml-cuda", BACKEND.format(mark=mark, symbol=symbol), library)

    def take(self, path: Path) -> tuple[backends.GpuLibrary, list[str]]:
        said: list[str] = []
        (taken,) = backends.given_backends([path], self.libraries, said.append)
        return taken, said

    def refused(self, path: Path) -> str:
        with pytest.raises(BadInput) as caught:
            self.take(path)
        return str(caught.value)


@pytest.fixture(params=[WINDOWS, MACOS])
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(backends, "build_cache", lambda: tmp_path / "cache")
    return Lab(tmp_path / "made", request.param)


def test_a_good_one_is_taken_as_it_is(lab: Lab) -> None:
    path = lab.backend()
    taken, said = lab.take(path)
    assert said == [f"{path.name} was not tried here (it is for {lab.target}); its symbols fit."]
    assert taken.name == "cuda" and taken.path.name == path.name
    assert taken.path.read_bytes() == path.read_bytes()
    assert taken.facts == Gpu("Windows 10" if lab.target == WINDOWS else "macOS 13.1", (), ())


def test_what_it_needs_is_told(lab: Lab) -> None:
    driver = lab.compile("nvcuda", lab.marked("int driver(int a) { return a; }"))
    other = Path(f"{driver}.lib") if lab.target == WINDOWS else driver
    source = BACKEND.format(mark="__declspec(dllexport)" if lab.target == WINDOWS else "", symbol="ggml_type_name")
    source += "int driver(int); __attribute__((used)) int asks(void) { return driver(1); }"
    base = Path(f"{lab.base}.lib") if lab.target == WINDOWS else lab.base
    taken, _ = lab.take(lab.compile("ggml-cuda", source, base, other))
    assert taken.facts.needs == (driver.name if lab.target == WINDOWS else f"@rpath/{driver.name}",)


def test_another_ggml(lab: Lab) -> None:
    source = lab.marked(OFFERED.replace("ggml_type_name", "ggml_newer"))
    newer = lab.compile("ggml-base", source, folder=lab.folder / "newer")
    said = lab.refused(lab.backend("ggml_newer", newer))
    assert "is of another ggml (it needs ggml_newer): build it from llama-cpp-python==" in said


def test_no_backend(lab: Lab) -> None:
    path = lab.compile("ggml-cuda", lab.marked("int other(void) { return 1; }"))
    said = lab.refused(path)
    assert "cannot be loaded by ggml (it has no ggml_backend_init): build it with GGML_BACKEND_DL=ON" in said


def test_another_name_of_ggml(lab: Lab) -> None:
    older = lab.compile("ggml-base-0", lab.marked(OFFERED), folder=lab.folder / "n")
    said = lab.refused(lab.backend(base=older))
    assert "ggml-base-0" in said and "which no bundle has: link it with " in said


def test_another_processor(lab: Lab) -> None:
    other = "windows-aarch64" if lab.target == WINDOWS else "macos-x86_64"
    path = lab.compile("ggml-cuda", lab.marked("void *ggml_backend_init(void) { return 0; }"), target=other)
    assert lab.refused(path) == f"The GPU backend {path} is for {other}: build it for {lab.target}."


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF\x02\x01 cut short"])
def test_no_library(lab: Lab, content: bytes) -> None:
    path = lab.backend()
    path.write_bytes(content)
    assert "is for no system that is known: build it for" in lab.refused(path)


def test_cut_short(lab: Lab) -> None:
    path = lab.backend()
    path.write_bytes(path.read_bytes()[:1200])
    assert "cannot be used (" in lab.refused(path)


def test_names_of_files() -> None:
    assert backends.backend_name(Path("libggml-metal.dylib")) == "metal"
    assert backends.backend_name(Path("ggml-cuda.dll")) == "cuda"
    for name in ("libggml-cuda.dll", "ggml-cuda.so", "ggml-base.dll", "libggml-cpu.dylib", "ggml-cuda.dylib"):
        with pytest.raises(BadInput, match="is not named like a GPU backend"):
            backends.backend_name(Path(name))


def test_mach_o_that_is_none() -> None:
    whole = bytearray(64)
    struct.pack_into("<4sIIIII", whole, 0, b"\xcf\xfa\xed\xfe", 0x0100000C, 0, 6, 3, 100)
    for data in (b"", b"MZ", bytes(whole[:20]), bytes(whole)):
        with pytest.raises(MachError, match="no Mach-O file of 64 bits that can be read"):
            read_mach(data)
