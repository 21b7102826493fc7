"""Bundles of several models: from the command line and from recipes, and what the other commands make of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ggufs import write_gguf
from solofile.builder.chosen_models import memory_facts
from solofile.builder.cli import main
from solofile.builder.errors import BadRecipe
from solofile.builder.recipe import OneModel, read_recipe
from solofile.builder.sources import HubSource, PathSource
from solofile.runtime.archive import ALIGNMENT
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import Manifest

SHA = "0123456789abcdef" * 4
RECIPE = """
name = "pair"
title = "A pair"
system_prompt = "Help."
arguments = ["--no-slots"]
[license]
spdx = "mit"
file = "mit.txt"
[[models]]
path = "a.gguf"
[[models]]
path = "b.gguf"
name = "big"
title = "The big one"
system_prompt = "Be brief."
context = 512
arguments = ["--no-jinja"]
[models.license]
spdx = "apache-2.0"
file = "apache.txt"
[models.sampling]
temperature = 0.5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_gguf(Path("a.gguf"), name="Model A")
    write_gguf(Path("b.gguf"), name="Model B", tokens=3000)
    Path("mit.txt").write_text("Permission is hereby granted")
    Path("apache.txt").write_text("Apache License")
    Path("r.toml").write_text(RECIPE)
    return folder


def build(pack: Path, *words: str, code: int = 0) -> None:
    assert main(["build", *words, "--pack", str(pack), "--force"]) == code


def manifest_of(path: str) -> Manifest:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []
        return bundle.manifest


def test_from_the_command_line(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(pack_path, "a.gguf", "b.gguf", "-o", "two.exe")
    assert "two.exe: " in capsys.readouterr().out
    with Bundle.open("two.exe") as bundle:
        models = bundle.manifest.models
        assert [(one.name, one.title, one.arguments) for one in models] == [
            ("a", "Model A", ()),
            ("b", "Model B", ()),
        ]
        assert bundle.manifest.default_model == "models/b.gguf"  # the larger one
        assert bundle.manifest.title == "two"
        for one in models:
            assert bundle.data_offset(one.path) % ALIGNMENT == 0
            assert b"".join(bundle.open_part(one.path)) == Path(f"{one.name}.gguf").read_bytes()
    first = Path("two.exe").read_bytes()
    build(pack_path, "a.gguf", "b.gguf", "-o", "two.exe")
    assert Path("two.exe").read_bytes() == first


def test_from_a_recipe(pack_path: Path, folder: Path) -> None:
    recipe = read_recipe(Path("r.toml"))
    assert recipe.models == (
        OneModel(PathSource(Path("a.gguf")), license="mit", license_files=(Path("mit.txt"),)),
        OneModel(
            PathSource(Path("b.gguf")),
            name="big",
            title="The big one",
            system_prompt="Be brief.",
            arguments=("-c", "512", "--temp", "0.5", "--no-jinja"),
            license="apache-2.0",
            license_files=(Path("apache.txt"),),
        ),
    )
    assert main(["recipe", "check", "r.toml"]) == 0
    build(pack_path, "r.toml")
    manifest = manifest_of("pair.exe")
    small, big = manifest.models
    assert (small.name, small.system_prompt, small.arguments, small.license) == ("a", None, (), "mit")
    assert (big.name, big.path, big.title, big.license) == ("big", "models/big.gguf", "The big one", "apache-2.0")
    assert (big.system_prompt, big.arguments) == ("Be brief.", ("-c", "512", "--temp", "0.5", "--no-jinja"))
    assert (manifest.system_prompt, manifest.arguments) == ("Help.", ("--no-slots",))
    with Bundle.open(folder / "pair.exe") as bundle:
        assert bundle.read("LICENSES/model-a.txt") == b"Permission is hereby granted"
        assert bundle.read("LICENSES/model-big.txt") == b"Apache License"


def test_show_is_the_same_recipe_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", "r.toml"]) == 0
    Path("again.toml").write_text(capsys.readouterr().out)
    assert read_recipe(Path("again.toml")) == read_recipe(Path("r.toml"))


def test_what_inspect_says(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(pack_path, "r.toml")
    capsys.readouterr()
    assert main(["inspect", "pair.exe"]) == 0
    page = capsys.readouterr().out
    assert "model          a (llama" in page
    assert "               big (llama" in page and "by default\n" in page
    assert "title: The big one" in page
    assert "                 system prompt: Be brief." in page
    assert "                 arguments: -c 512 --temp 0.5 --no-jinja" in page
    for option, names in (("--tree", ["a.gguf", "big.gguf"]), ("--sbom", ["model:a", "model:big"])):
        assert main(["inspect", "pair.exe", option]) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in names)
    assert main(["inspect", "pair.exe", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["manifest"]["models"]] == ["a", "big"]


def test_one_of_them_is_taken_out(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(pack_path, "r.toml")
    assert main(["extract", "pair.exe", "out", "--model", "big"]) == 0
    assert "out: 1 file." in capsys.readouterr().out
    assert [path.as_posix() for path in sorted(Path("out").rglob("*")) if path.is_file()] == ["out/models/big.gguf"]
    assert Path("out/models/big.gguf").read_bytes() == Path("b.gguf").read_bytes()
    assert main(["extract", "pair.exe", "none", "--model", "bigger"]) == 2
    assert "has no model bigger: it has a, big" in capsys.readouterr().err
    build(pack_path, "pair.exe", "-o", "own.exe")  # a bundle as a source: its own choice
    assert [one.name for one in manifest_of("own.exe").models] == ["big"]


def test_changes_keep_all_of_them(pack_path: Path) -> None:
    build(pack_path, "r.toml")
    before = manifest_of("pair.exe")
    assert main(["set", "pair.exe", "-o", "set.exe", "--title", "New", "--args=-c 99"]) == 0
    changed = manifest_of("set.exe")
    assert (changed.models, changed.title, changed.arguments) == (before.models, "New", ("-c", "99"))
    assert main(["upgrade", "pair.exe", "-o", "up.exe", "--pack", str(pack_path)]) == 0
    assert manifest_of("up.exe") == before
    assert Path("up.exe").read_bytes() == Path("pair.exe").read_bytes()
    assert main(["build", "--from", "pair.exe", "-o", "from.exe", "--pack", str(pack_path)]) == 0
    assert manifest_of("from.exe").models == before.models


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.gguf", "b.gguf"], "needs a name: give -o or --name"),
        (["a.gguf", "other/a.gguf", "-o", "x.exe"], "Two models would be called a"),
        (["a.gguf", "r.toml", "-o", "x.exe"], "The recipe r.toml goes alone"),
        (["a.gguf", "b.gguf", "-o", "x.exe", "--sha256", SHA], "--sha256 goes with one model"),
        (["a.gguf", "b.gguf", "-o", "x.exe", "--mmproj", "m.gguf"], "--mmproj goes with one model"),
        (["a.gguf", "none.gguf", "-o", "x.exe"], "none.gguf does not exist"),
        (["a.gguf", "b.gguf", "-o", "b.gguf"], "is the model itself"),
    ],
)
def test_mistakes_on_the_command_line(
    pack_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    Path("other").mkdir()
    write_gguf(Path("other/a.gguf"))
    build(pack_path, *words, code=2)
    assert says in capsys.readouterr().err
    assert not Path("x.exe").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[model]\npath = "a.gguf"\n[[models]]\npath = "b.gguf"', r"model does not go with \[\[models\]\]"),
        ('[projector]\npath = "p.gguf"\n[[models]]\npath = "b.gguf"', r"write \[models.projector\]"),
        ('[[adapters]]\npath = "p.gguf"\n[[models]]\npath = "b.gguf"', "write a recipe for each model"),
        ('[[models]]\nname = "x"', "must name one of models.path"),
        ('[[models]]\nurl = "https://x/m.gguf"', r"models\.sha256 is missing: give it, or write verified = false"),
        ('[[models]]\npath = "a.gguf"\nlicense = "mit"', r"models\.license must be a table"),
        ('[[models]]\npath = "a.gguf"\n[models.sampling]\ntemperature = "x"', r"models\.sampling\.temperature must be"),
        ('[models]\npath = "a.gguf"', r"models must be tables, each headed \[\[models\]\]"),
    ],
)
def test_mistakes_in_recipes(text: str, says: str) -> None:
    Path("wrong.toml").write_text(text)
    with pytest.raises(BadRecipe, match=says):
        read_recipe(Path("wrong.toml"))


def test_names_that_cannot_be(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text('name = "x"\n[[models]]\npath = "a.gguf"\nname = "../a"\n[[models]]\npath = "b.gguf"\n')
    build(pack_path, "r.toml", code=2)
    assert "The name “../a” cannot be used" in capsys.readouterr().err


def test_extending_replaces_the_models(folder: Path) -> None:
    Path("child.toml").write_text('extends = "r.toml"\n[model]\npath = "a.gguf"\n')
    child = read_recipe(folder / "child.toml")
    assert (child.models, child.source, child.license) == ((), PathSource(folder / "a.gguf"), None)
    Path("other.toml").write_text('extends = "child.toml"\n[[models]]\npath = "b.gguf"\n')
    assert [one.source for one in read_recipe(folder / "other.toml").models] == [PathSource(folder / "b.gguf")]


def test_each_of_them_is_pinned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ((folder / name).as_uri() for name in ("a.gguf", "b.gguf"))
    Path("r.toml").write_text(
        f'name = "pair"\nverified = false\n\n[[models]]\nurl = "{first}"\n\n[[models]]\npath = "a.gguf"\nname = "own"\n'
        f'\n[[models]]\nurl = "{second}"   # the larger one\nname = "big"\n[models.sampling]\nseed = 1\n'
    )
    assert main(["build", "r.toml"]) == 2
    assert "is not verified" in capsys.readouterr().err
    assert main(["recipe", "pin", "r.toml"]) == 0
    recipe = read_recipe(Path("r.toml"))
    assert recipe.verified is True
    sums = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("a.gguf", "b.gguf")]
    assert [getattr(one.source, "sha256", None) for one in recipe.models] == [sums[0], None, sums[1]]
    assert 'url = "' + second + '"   # the larger one\nname = "big"\nsha256 = ' in Path("r.toml").read_text()


def test_several_files_of_a_hub_may_be_unknown() -> None:
    text = 'name = "x"\nverified = false\n' + "".join(f'[[models]]\nhf = "a/b"\nfile = "{n}.gguf"\n' for n in "xy")
    Path("hub.toml").write_text(text)
    assert [one.source for one in read_recipe(Path("hub.toml")).models] == [
        HubSource("a/b", "x.gguf"),
        HubSource("a/b", "y.gguf"),
    ]


def test_targets_of_a_recipe(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text(f'targets = ["linux-x86_64", "macos-x86_64"]{RECIPE}')
    assert main(["recipe", "check", "r.toml"]) == 0
    build(pack_path, "r.toml", code=2)
    assert "is for linux-x86_64 and not for linux-x86_64, macos-x86_64" in capsys.readouterr().err
    build(pack_path, "r.toml", "--target", "linux-x86_64")
    build(pack_path, "r.toml", "--target", "linux", code=2)
    assert "Unknown target linux: did you mean linux-" in capsys.readouterr().err
    Path("r.toml").write_text(f'targets = ["linux-x86_64", "macos-x86-64"]{RECIPE}')
    assert main(["recipe", "check", "r.toml"]) == 2
    assert "Unknown target macos-x86-64: did you mean macos-x86_64?" in capsys.readouterr().err


def test_memory_by_the_numbers_of_a_model() -> None:
    smollm2 = {
        "llama.block_count": 30, "llama.embedding_length": 576, "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": 3, "llama.feed_forward_length": 1536,
    }  # fmt: skip
    token, compute = memory_facts(smollm2, "llama")
    assert token == 2 * 30 * 2 * 3 * 64 + 1024
    assert 14_170_000 < compute < 20_000_000  # llama.cpp lays out 14.2 MB and the mask
    assert memory_facts({"mamba.block_count": 24, "mamba.embedding_length": 768}, "mamba")[0] == 0
    assert memory_facts({"llama.block_count": "x", "llama.embedding_length": -1}, "llama") == (0, 0)
