"""What cannot become a pack or a bundle: one sentence each, exit code 2, nothing left behind, and no compiler asked."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("builder", "container")]

from bundles import FACTS, make_pack  # noqa: E402
from ggufs import write_gguf  # noqa: E402
from solofile.builder import cli, inputs, native  # noqa: E402
from solofile.builder.cpython import running_minor  # noqa: E402

TARGET = "linux-x86_64"
OTHER = b"\x7fELF\2\1\1".ljust(18, b"\0") + (183).to_bytes(2, "little") + bytes(44)
"""The beginning of a library for aarch64."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, packs and an archive of CPython, each of which is wrong in one way."""
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "build cache"))
    monkeypatch.setattr(native, "build", lambda *_, **__: pytest.fail("nothing may be compiled"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_gguf(folder / "m.gguf")
    make_pack(folder / "pack.zip").close()
    other = FACTS.__class__(**{**vars(FACTS), "solofile": "0.0.9"})
    make_pack(folder / "old.zip", facts=other).close()
    with tarfile.open(folder / "cpython.tar.gz", "w:gz") as tar:
        minor = running_minor()
        for name in (f"lib/libpython{minor}.so.1.0", f"lib/python{minor}/os.py"):
            info = tarfile.TarInfo(f"python/{name}")
            info.size = len(OTHER)
            tar.addfile(info, io.BytesIO(OTHER))
    return folder


WRONG = "0" * 64
NOTES = "tried"
"""Where builds note which models are sound, so that they need not look again."""

REFUSED = {
    "unknown target": ("build m.gguf --target linux-x86", "Unknown target linux-x86: did you mean linux-x86_64?"),
    "unknown target of a pack": (
        "pack build --target windows-x64", "Unknown target windows-x64: did you mean windows-x86_64?"
    ),
    "a target without a pack": (
        "build m.gguf --target windows-aarch64", "There is no CPython for windows-aarch64 on the package index: make a "
    ),
    "unknown format": ("build m.gguf --format zipapp", "Unknown format zipapp: "),
    "unknown freezer": ("pack build --freezer frozen", "Unknown freezer frozen: "),
    "a pack of another version": ("build m.gguf --pack old.zip", "it was made by solofile 0.0.9, and this is "),
    "a pack of another version, taken in": ("pack import old.zip", "it was made by solofile 0.0.9, and this is "),
    "a pack for another target": (
        "build m.gguf --pack pack.zip --target windows-x86_64", f"is for {TARGET} and not for windows-x86_64"
    ),
    "a CPython for another machine": (
        f"pack build --target {TARGET} --cpython cpython.tar.gz", "cpython.tar.gz is for linux-aarch64 ("
    ),
    "a CPython of another hash": (
        f"pack build --target {TARGET} --cpython cpython.tar.gz#{WRONG}",
        f"and not {WRONG}: it is not the archive that was meant.",
    ),
    "a pack of another hash": (
        f"pack import pack.zip --sha256 {WRONG}", f"and not {WRONG}: it is not the pack that was meant."
    ),
    "a model of another hash": (
        f"build m.gguf --pack pack.zip --sha256 {WRONG}", f"in place of {WRONG}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(
    case: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("solofile.builder.inputs.LLAMA_CPP_COMMIT", FACTS.llama_cpp.commit)
    words, message = REFUSED[case]
    before = sorted(world.iterdir())
    assert cli.main(words.split()) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert sorted(world.iterdir()) == before
    left = [path for path in (world.parent / "build cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert [path for path in left if path.parent.name != NOTES] == []


def test_no_network_and_no_pack(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked of pip alone; tests/builder/test_offline.py has the same without any network."""
    monkeypatch.undo()
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(world.parent / "build cache"))
    monkeypatch.chdir(world)
    monkeypatch.setattr(inputs, "run_tool", lambda *_: "no route to the package index")
    before = sorted(world.iterdir())
    assert cli.main(["build", "m.gguf", "--progress", "none"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert "pip could not fetch " in said.err and "(no route to the package index)" in said.err
    assert "by “solofile pack import” or --pack" in said.err
    assert sorted(world.iterdir()) == before
