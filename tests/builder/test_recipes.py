"""Recipes: what they say, and what they get wrong."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from solofile.builder.errors import BadRecipe
from solofile.builder.recipe import Recipe, read_recipe
from solofile.builder.sources import PathSource, UrlSource, WheelSource
from solofile.runtime.errors import UnknownName

SHA = "0123456789abcdef" * 4


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return read_recipe(path)


def test_everything(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        f"""
        name = "tiny"
        title = "Tiny – ein Modell"
        system_prompt = "Be brief."
        arguments = ["-c", "4096"]
        targets = ["linux-x86_64"]
        kernels = ["x64", "haswell"]
        gpu = ["vulkan"]
        backends = ["gpus/libggml-cuda.so"]
        [model]
        url = "https://example.org/m.gguf"
        sha256 = "{SHA.upper()}"
        [license]
        spdx = "mit"
        file = "licenses/mit.txt"
        """,
    )
    assert recipe == Recipe(
        source=UrlSource("https://example.org/m.gguf", SHA),
        name="tiny",
        title="Tiny – ein Modell",
        system_prompt="Be brief.",
        arguments=("-c", "4096"),
        license="mit",
        license_file=tmp_path / "licenses/mit.txt",
        targets=("linux-x86_64",),
        kernels="x64,haswell",
        gpu="vulkan",
        backends=(tmp_path / "gpus/libggml-cuda.so",),
    )


def test_the_least(tmp_path: Path) -> None:
    recipe = read(tmp_path, '[model]\npath = "m.gguf"')
    assert recipe == Recipe(source=PathSource(tmp_path / "m.gguf"))
    assert (recipe.kernels, recipe.gpu, recipe.backends) == ("all", "none", ())


def test_wheel(tmp_path: Path) -> None:
    text = f'[model]\nwheel = "a==1"\nwheel_sha256 = "{SHA}"\nmember = "a/m.gguf"\nsha256 = "{SHA}"'
    assert read(tmp_path, text).source == WheelSource("a==1", SHA, "a/m.gguf", SHA)


def test_shipped_recipes_are_sound() -> None:
    folder = Path(str(files("solofile.recipes")))
    names = [path.name for path in folder.glob("*.toml")]
    assert "smollm2-135m.toml" in names
    for name in names:
        recipe = read_recipe(folder / name)
        assert recipe.name
        assert recipe.title
        assert recipe.license
        assert recipe.license_file
        assert recipe.license_file.is_file()
        assert not isinstance(recipe.source, PathSource)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('system_promt = "x"', "system_promt", "system_prompt"),
        ('[model]\npaht = "x"', "model.paht", "model.path"),
        ('[license]\nspxd = "x"', "license.spxd", "license.spdx"),
        ('[modle]\npath = "x"', "modle", "model"),
    ],
)
def test_unknown_keys(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"Unknown key {key} in the recipe .*recipe.toml: did you mean {nearest}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name one of model.path, model.url and model.wheel; it names none"),
        ('[model]\npath = "a"\nurl = "b"', "it names path and url"),
        ('[model]\nurl = "https://x/m.gguf"', "model.sha256 is missing"),
        ('[model]\nurl = "https://x/m.gguf"\nsha256 = "12"', "model.sha256 must be a SHA-256"),
        (f'[model]\npath = "a"\nsha256 = "{SHA}"', "model.sha256 does not go with model.path"),
        (f'[model]\nwheel = "a==1"\nsha256 = "{SHA}"', "model.wheel_sha256 is missing"),
        (f'[model]\nwheel = "a==1"\nwheel_sha256 = "{SHA}"\nsha256 = "{SHA}"', "model.member is missing"),
        ('model = "m.gguf"', "model must be a table"),
        ('name = 1\n[model]\npath = "a"', "name must be a text"),
        ('title = ""\n[model]\npath = "a"', "title must be a text that is not empty"),
        ('arguments = "-c 1"\n[model]\npath = "a"', "arguments must be a list of texts"),
        ('arguments = [1]\n[model]\npath = "a"', "arguments must be a list of texts"),
        ('targets = "linux"\n[model]\npath = "a"', "targets must be a list"),
        ('kernels = [1]\n[model]\npath = "a"', "kernels must be a list of texts"),
        ('name = "', "is no TOML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadRecipe, match=says) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "recipe.toml") in str(caught.value)
    assert caught.value.exit_code == 2


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="cannot be read: No such file"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(BadRecipe, match="no UTF-8"):
        read_recipe(tmp_path / "latin.toml")
