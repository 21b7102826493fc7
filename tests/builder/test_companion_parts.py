"""LoRA adapters and a draft model beside the model: what is taken, what is refused, where it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from ggufs import write_gguf
from solofile.builder.cli import main
from solofile.builder.errors import BadRecipe
from solofile.builder.recipe import Adapter, Draft, read_recipe
from solofile.builder.sources import HubSource, PathSource
from solofile.runtime.archive import ALIGNMENT
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify

SHA = "0123456789abcdef" * 4
RECIPE = """
name = "tiny"
arguments = ["-c", "99"]
[model]
path = "m.gguf"
[draft]
path = "small.gguf"
tokens = 3
[[adapters]]
path = "a.gguf"
[[adapters]]
path = "other/a.gguf"
scale = 0.25
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    (folder / "other").mkdir(parents=True)
    monkeypatch.chdir(folder)
    write_gguf(Path("m.gguf"))
    write_gguf(Path("small.gguf"), name="small", tokens=120)
    write_adapter(Path("a.gguf"))
    write_adapter(Path("other/a.gguf"), alpha=2)
    return folder


def write_adapter(path: Path, *, architecture: str = "llama", kind: str = "lora", alpha: float = 1) -> None:
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_tensor("output_norm.weight.lora_a", np.ones((2, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def build(pack: Path, text: str = RECIPE) -> int:
    Path("r.toml").write_text(text)
    return main(["build", "r.toml", "--pack", str(pack), "--force"])


def test_what_a_recipe_says(folder: Path) -> None:
    text = '[draft]\nhf = "a/b"\nfile = "d.gguf"\n'
    Path("r.toml").write_text(RECIPE.partition("[draft]")[0] + f'{text}sha256 = "{SHA}"\nsize = 5\n')
    recipe = read_recipe(Path("r.toml"))
    assert (recipe.draft, recipe.adapters) == (Draft(HubSource("a/b", "d.gguf", "main", SHA, 5)), ())
    Path("r.toml").write_text(RECIPE)
    assert read_recipe(folder / "r.toml").adapters == (
        Adapter(PathSource(folder / "a.gguf"), 1.0),
        Adapter(PathSource(folder / "other/a.gguf"), 0.25),
    )


def test_where_they_lie(pack_path: Path) -> None:
    assert build(pack_path) == 0
    with Bundle.open("tiny.exe") as bundle:
        assert verify(bundle) == []
        manifest = bundle.manifest
        assert [model.path for model in manifest.models] == ["models/m.gguf"]
        for path, file in (
            ("adapters/a.gguf", "a.gguf"),
            ("adapters/a-2.gguf", "other/a.gguf"),
            ("models/draft-small.gguf", "small.gguf"),
        ):
            assert bundle.data_offset(path) % ALIGNMENT == 0
            assert b"".join(bundle.open_part(path)) == Path(file).read_bytes()
        assert manifest.arguments == (
            *("--lora", "adapters/a.gguf", "--lora-scaled", "adapters/a-2.gguf:0.25"),
            *("--spec-draft-model", "models/draft-small.gguf", "--spec-type", "draft-simple"),
            *("--spec-draft-n-max", "3", "-c", "99"),
        )
    first = Path("tiny.exe").read_bytes()
    assert build(pack_path) == 0
    assert Path("tiny.exe").read_bytes() == first


def test_sums_are_checked(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RECIPE.replace('path = "a.gguf"', f'path = "a.gguf"\nsha256 = "{SHA}"')
    assert build(pack_path, text) == 2
    assert f"a.gguf is not the file that is meant: its SHA-256 is {sha256('a.gguf')}" in capsys.readouterr().err
    assert not Path("tiny.exe").exists()
    text = RECIPE.replace('path = "a.gguf"', f'path = "a.gguf"\nsha256 = "{sha256("a.gguf")}"')
    assert build(pack_path, text) == 0


def sha256(name: str) -> str:
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def test_what_is_no_adapter_for_this_model(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for write, says in (
        (lambda: write_adapter(Path("a.gguf"), architecture="qwen3"), "is an adapter for qwen3 and not for llama"),
        (lambda: write_adapter(Path("a.gguf"), kind="control"), "a.gguf is no LoRA adapter"),
        (lambda: Path("a.gguf").write_bytes(Path("m.gguf").read_bytes()), "a.gguf is no LoRA adapter"),
        (lambda: Path("a.gguf").write_bytes(b"GGUF"), "a.gguf is cut short"),
        (lambda: Path("a.gguf").write_bytes(b"x" * 99), "a.gguf cannot be used"),
        (lambda: Path("a.gguf").unlink(), "a.gguf cannot be read: No such file"),
    ):
        write()
        assert build(pack_path) == 2
        assert says in capsys.readouterr().err
    assert not Path("tiny.exe").exists()


def test_draft_of_another_family(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(Path("small.gguf"), tokens=229)
    assert build(pack_path) == 2
    assert "another vocabulary than the model (229 tokens of gpt2 beside 100 of gpt2)" in capsys.readouterr().err
    write_gguf(Path("small.gguf"), tokens=228)
    assert build(pack_path) == 0
    Path("small.gguf").write_bytes(Path("a.gguf").read_bytes())
    assert build(pack_path) == 2
    assert "is of the kind “adapter”" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[adapters]]\nscale = 1", "must name one of adapters.path, adapters.url and adapters.hf; it names none"),
        ('[[adapters]]\nurl = "https://x/a.gguf"', r"adapters\.sha256 is missing: give it\."),
        ('[[adapters]]\npath = "a"\nrevision = "v"', r"adapters\.revision does not go with adapters\.path"),
        ('[[adapters]]\npath = "a"\nscale = "1"', r"adapters\.scale must be a number"),
        ('[adapters]\npath = "a"', r"adapters must be tables, each headed \[\[adapters\]\]"),
        ("[draft]\ntokens = 1", "must name one of draft.path"),
        ('[draft]\npath = "a"\ntokens = 0', r"draft\.tokens must be a whole number from 1"),
        (
            f'[draft]\nhf = "a/b"\nfile = "a-00001-of-00002.gguf"\nsha256 = "{SHA}"',
            r"draft\.sha256 must be a list|is a part of a split file",
        ),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    Path("r.toml").write_text(f'[model]\npath = "m.gguf"\n{text}')
    with pytest.raises(BadRecipe, match=says):
        read_recipe(Path("r.toml"))


def test_extended_recipes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("parent.toml").write_text(RECIPE)
    child = folder / "child.toml"
    child.write_text('extends = "parent.toml"\n[draft]\ntokens = 9\n')
    recipe = read_recipe(child)
    assert recipe.draft == Draft(PathSource(folder / "small.gguf"), 9)
    assert len(recipe.adapters) == 2
    child.write_text('extends = "parent.toml"\n[[adapters]]\npath = "x.gguf"\n')
    assert read_recipe(child).adapters == (Adapter(PathSource(folder / "x.gguf")),)
    assert main(["recipe", "check", "child.toml"]) == 2
    assert "x.gguf, which does not exist" in capsys.readouterr().err
    assert main(["recipe", "show", "parent.toml"]) == 0
    assert '[[adapters]]\npath = "other/a.gguf"\nscale = 0.25\n' in capsys.readouterr().out
    child.write_text('extends = "parent.toml"\n[model]\npath = "m.gguf"\n')
    recipe = read_recipe(child)
    assert (recipe.draft, recipe.adapters) == (None, ())
