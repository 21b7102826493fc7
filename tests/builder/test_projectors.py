"""Projectors beside their models: what is taken, what is refused, where they lie."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from ggufs import write_gguf
from solofile.builder.cli import main
from solofile.builder.recipe import read_recipe
from solofile.builder.sources import HubSource
from solofile.runtime.archive import ALIGNMENT
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify

sys.path.append(str(Path(__file__).parents[1]))

from tiny_model import write_tiny_model, write_tiny_projector


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_tiny_model(Path("m.gguf"))
    write_tiny_projector(Path("mmproj-m-F32.gguf"))
    return folder


def build(pack: Path, *words: str, code: int = 0) -> None:
    assert main(["build", *words, "--pack", str(pack), "--force"]) == code


def test_by_the_command_line_and_by_a_recipe(pack_path: Path) -> None:
    build(pack_path, "m.gguf", "--mmproj", "mmproj-m-F32.gguf", "-o", "see.exe")
    with Bundle.open("see.exe") as bundle:
        assert verify(bundle) == []
        path = "models/mmproj-m-F32.gguf"
        assert bundle.manifest.arguments == ("--mmproj", path)
        assert [one.path for one in bundle.manifest.models] == ["models/m.gguf"]
        assert bundle.data_offset(path) % ALIGNMENT == 0
        assert b"".join(bundle.open_part(path)) == Path("mmproj-m-F32.gguf").read_bytes()
    Path("r.toml").write_text('name = "see"\n[model]\npath = "m.gguf"\n[projector]\npath = "mmproj-m-F32.gguf"\n')
    build(pack_path, "r.toml", "-o", "again.exe")
    assert Path("again.exe").read_bytes() == Path("see.exe").read_bytes()
    assert main(["set", "see.exe", "-o", "set.exe", "--args=-c 99"]) == 0
    with Bundle.open("set.exe") as bundle:  # what names a part stays
        assert bundle.manifest.arguments == ("--mmproj", path, "-c", "99")


def test_of_one_among_several(pack_path: Path) -> None:
    write_tiny_model(Path("other.gguf"), layers=2)
    own = '[models.projector]\npath = "mmproj-m-F32.gguf"\n'
    text = f'name = "x"\n[[models]]\npath = "m.gguf"\n{own}[[models]]\npath = "other.gguf"\n'
    Path("r.toml").write_text(text)
    build(pack_path, "r.toml")
    with Bundle.open("x.exe") as bundle:
        first, second = bundle.manifest.models
        assert (first.arguments, second.arguments) == (("--mmproj", "models/mmproj-m-F32.gguf"), ())
        assert bundle.manifest.arguments == ()
    Path("r.toml").write_text(text + own)
    build(pack_path, "r.toml")
    with Bundle.open("x.exe") as bundle:  # the same file is there once
        assert {one.arguments for one in bundle.manifest.models} == {("--mmproj", "models/mmproj-m-F32.gguf")}
        assert sum("mmproj" in path for path in bundle.parts) == 1


def test_what_is_refused(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_projector(Path("wide.gguf"), width=128)
    write_gguf(Path("model.gguf"))
    Path("cut.gguf").write_bytes(Path("mmproj-m-F32.gguf").read_bytes()[:-100])
    for name, says in (
        ("wide.gguf", "wide.gguf is for a model of width 128 and not of 64"),
        ("model.gguf", "model.gguf is no projector (its architecture is llama)"),
        ("cut.gguf", "cut.gguf is cut short"),
        ("none.gguf", "none.gguf cannot be read: No such file"),
    ):
        build(pack_path, "m.gguf", "--mmproj", name, "-o", "x.exe", code=2)
        assert says in capsys.readouterr().err
    assert not Path("x.exe").exists()
    build(pack_path, "--from", "old.exe", "--mmproj", "mmproj-m-F32.gguf", "-o", "x.exe", code=2)
    assert "--mmproj goes with a model and not with --from" in capsys.readouterr().err
    build(pack_path, "mmproj-m-F32.gguf", "-o", "x.exe", code=2)
    assert "is a projector for images or sound and not a model" in capsys.readouterr().err


def test_pinned_with_its_model(folder: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hub.toml").write_text(
        'name = "x"\nverified = false\n[model]\nhf = "a/b"\nfile = "m.gguf"\n[projector]\nhf = "a/b"\nfile = "p.gguf"\n'
    )
    assert read_recipe(Path("hub.toml")).projector == HubSource("a/b", "p.gguf")
    uris = [(folder / name).as_uri() for name in ("m.gguf", "mmproj-m-F32.gguf")]
    Path("r.toml").write_text(
        f'name = "x"\nverified = false\n[model]\nurl = "{uris[0]}"\n\n[projector]\nurl = "{uris[1]}"\n'
    )
    assert main(["recipe", "pin", "r.toml"]) == 0
    sums = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("m.gguf", "mmproj-m-F32.gguf")]
    recipe = read_recipe(Path("r.toml"))
    assert [getattr(one, "sha256", None) for one in (recipe.source, recipe.projector)] == sums
    build(pack_path, "r.toml")
    write_tiny_projector(Path("mmproj-m-F32.gguf"), width=128)
    Path("r.toml").write_text(Path("r.toml").read_text().replace(sums[1], "0" * 64).replace("verified = true", ""))
    assert main(["recipe", "pin", "r.toml"]) == 2
    assert "is not the file that is meant" in capsys.readouterr().err
