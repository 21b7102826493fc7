"""Recipes: what they say, and what they get wrong."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from solofile.builder.errors import BadRecipe
from solofile.builder.recipe import Recipe, read_recipe
from solofile.builder.recipe_commands import check_recipe
from solofile.builder.recipe_keys import NOT_YET, OPTIONS
from solofile.builder.sources import BundleSource, HubSource, PathSource, Source, SplitSource, UrlSource, WheelSource
from solofile.runtime.errors import UnknownName
from solofile.runtime.options import parse as parse_options

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
        license_files=(tmp_path / "licenses/mit.txt",),
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


def test_keys_that_are_options(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        """
        context = 4096
        chat_template = "chatml"
        arguments = ["--temp", "0.9"]
        [model]
        path = "m.gguf"
        [sampling]
        temperature = 0
        top_k = 20
        min_p = 0.05
        max_tokens = -1
        """,
    )
    assert " ".join(recipe.arguments) == (
        "-c 4096 --temp 0 -n -1 --top-k 20 --min-p 0.05 --chat-template chatml --temp 0.9"
    )
    assert [one.spelling for one in parse_options(recipe.arguments)].count("--temp") == 2


def test_every_key_that_is_an_option(tmp_path: Path) -> None:
    for key, option in OPTIONS.items():
        table, _, name = key.rpartition(".")
        text = f'[model]\npath = "m"\n[{table}]\n{name} = 3\n' if table else f'{name} = 3\n[model]\npath = "m"\n'
        assert read(tmp_path, text).arguments == (option, "3")
        assert len(parse_options([option, "3"])) == 1


def test_texts_in_files(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Sei kurz: ü.\n", "utf-8")
    (tmp_path / "chat.jinja").write_text("{{ messages }}\n{{ x }}\n")
    text = 'system_prompt_file = "prompt.txt"\nchat_template_file = "chat.jinja"\n[model]\npath = "m.gguf"'
    recipe = read(tmp_path, text)
    assert recipe.system_prompt == "Sei kurz: ü."
    assert recipe.arguments == ("--chat-template", "{{ messages }}\n{{ x }}")
    with pytest.raises(BadRecipe, match="system_prompt and system_prompt_file say the same thing"):
        read(tmp_path, 'system_prompt = "x"\n' + text)
    (tmp_path / "prompt.txt").write_bytes(b"\xff")
    with pytest.raises(BadRecipe, match=r"names .*prompt\.txt, which is no UTF-8 text"):
        read(tmp_path, text)
    (tmp_path / "prompt.txt").unlink()
    with pytest.raises(BadRecipe, match=r"names .*prompt\.txt, which cannot be read \(No such file"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (f'path = "m.gguf"\nsha256 = "{SHA}"\nsize = 9', PathSource(Path("m.gguf"), SHA, 9)),
        ('bundle = "old.exe"', BundleSource(Path("old.exe"))),
        ('bundle = "old.exe"\nmember = "small"', BundleSource(Path("old.exe"), "small")),
        (f'url = "https://x/m.gguf"\nsha256 = "{SHA}"\nsize = 7', UrlSource("https://x/m.gguf", SHA, 7)),
        (f'hf = "a/b"\nfile = "c/d.gguf"\nsha256 = "{SHA}"', HubSource("a/b", "c/d.gguf", "main", SHA)),
        (
            f'hf = "a/b"\nfile = "d.gguf"\nrevision = "v1"\nsha256 = "{SHA}"\nsize = 7',
            HubSource("a/b", "d.gguf", "v1", SHA, 7),
        ),
        (
            f'hf = "a/b"\nfile = "c/d-00002-of-00002.gguf"\nsha256 = ["{SHA}", "{SHA[::-1]}"]\nsize = [1, 2]',
            SplitSource(
                (
                    HubSource("a/b", "c/d-00001-of-00002.gguf", "main", SHA, 1),
                    HubSource("a/b", "c/d-00002-of-00002.gguf", "main", SHA[::-1], 2),
                )
            ),
        ),
        (
            f'url = "https://x/y%20z/d-00001-of-00002.gguf?q=1"\nsha256 = ["{SHA}", "{SHA[::-1]}"]',
            SplitSource(
                (
                    UrlSource("https://x/y%20z/d-00001-of-00002.gguf?q=1", SHA),
                    UrlSource("https://x/y%20z/d-00002-of-00002.gguf?q=1", SHA[::-1]),
                )
            ),
        ),
    ],
)
def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, source: Source) -> None:
    monkeypatch.chdir(tmp_path)
    assert read(Path(), f"[model]\n{text}").source == source


def test_not_verified(tmp_path: Path) -> None:
    text = 'verified = false\n[model]\nurl = "https://x/m.gguf"'
    assert read(tmp_path, text).source == UrlSource("https://x/m.gguf", None)
    text = 'verified = false\n[model]\nwheel = "a==1"\nmember = "m"'
    assert read(tmp_path, text).source == WheelSource("a==1", None, "m", None)
    for said in ("", "verified = true\n"):
        with pytest.raises(BadRecipe, match=r"model\.sha256 is missing: .*solofile recipe pin"):
            read(tmp_path, said + '[model]\nhf = "a/b"\nfile = "m.gguf"')


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


PARENT = f"""
name = "parent"
title = "Parent"
verified = true
system_prompt = "parent"
chat_template = "chatml"
arguments = ["-c", "1"]
[model]
url = "https://x/m.gguf"
sha256 = "{SHA}"
[license]
spdx = "mit"
file = "mit.txt"
[sampling]
temperature = 0.5
top_k = 3
"""


def test_extends(tmp_path: Path) -> None:
    write(tmp_path / "base", "parent.toml", PARENT)
    write(tmp_path, "prompt.txt", "child")
    text = """
    extends = "base/parent.toml"
    name = "child"
    system_prompt_file = "prompt.txt"
    arguments = ["-c", "2"]
    [sampling]
    temperature = 0.7
    """
    recipe = read_recipe(write(tmp_path, "child.toml", text))
    assert recipe == Recipe(
        source=UrlSource("https://x/m.gguf", SHA),
        name="child",
        title="Parent",
        system_prompt="child",
        arguments=("--temp", "0.7", "--top-k", "3", "--chat-template", "chatml", "-c", "1", "-c", "2"),
        license="mit",
        license_files=(tmp_path / "base/mit.txt",),
        verified=True,
    )


def test_another_model_takes_nothing_of_the_first_one(tmp_path: Path) -> None:
    write(tmp_path, "parent.toml", PARENT)
    text = 'extends = "parent.toml"\n[model]\npath = "other.gguf"'
    recipe = read_recipe(write(tmp_path, "child.toml", text))
    assert recipe.source == PathSource(tmp_path / "other.gguf")
    assert (recipe.license, recipe.license_files, recipe.verified) == (None, (), None)
    assert recipe.arguments == ("--temp", "0.5", "--top-k", "3", "-c", "1")


def test_sums_of_an_extended_recipes_model(tmp_path: Path) -> None:
    write(tmp_path, "parent.toml", 'verified = false\n[model]\nhf = "a/b"\nfile = "m.gguf"')
    text = f'extends = "parent.toml"\nverified = true\n[model]\nsha256 = "{SHA}"\nsize = 5'
    recipe = read_recipe(write(tmp_path, "child.toml", text))
    assert (recipe.source, recipe.verified) == (HubSource("a/b", "m.gguf", "main", SHA, 5), True)


def test_extends_a_shipped_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, "smollm2-135m.toml", 'extends = "smollm2-135m"\ntitle = "Mine"'))
    assert (recipe.name, recipe.title, recipe.license) == ("smollm2-135m", "Mine", "apache-2.0")
    assert recipe.license_files[0].is_file()
    with pytest.raises(UnknownName, match=r"Unknown recipe smollm2-134m in “extends”.*did you mean smollm2-135m"):
        read(tmp_path, 'extends = "smollm2-134m"')


def test_circles(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", 'extends = "b.toml"')
    write(tmp_path, "b.toml", 'extends = "c/../a.toml"')
    (tmp_path / "c").mkdir()
    with pytest.raises(BadRecipe, match=r"a\.toml extends itself \(.*a\.toml → .*b\.toml → .*a\.toml\)"):
        read_recipe(path)
    with pytest.raises(BadRecipe, match="extends itself"):
        read_recipe(write(tmp_path, "self.toml", 'extends = "self.toml"'))


def test_what_is_wrong_in_an_extended_recipe_names_that_one(tmp_path: Path) -> None:
    write(tmp_path, "parent.toml", "nmae = 1")
    with pytest.raises(UnknownName, match=r"in the recipe .*parent\.toml"):
        read(tmp_path, 'extends = "parent.toml"')
    with pytest.raises(BadRecipe, match=r"none\.toml cannot be read"):
        read(tmp_path, 'extends = "none.toml"')


def test_shipped_recipes_are_sound() -> None:
    folder = Path(str(files("solofile.recipes")))
    names = [path.name for path in folder.glob("*.toml")]
    assert "smollm2-135m.toml" in names
    assert len(names) > 10
    for name in names:
        recipe = read_recipe(folder / name)
        check_recipe(recipe)
        assert recipe.name == name.removesuffix(".toml")
        assert recipe.title
        assert recipe.license
        assert recipe.license_files
        assert recipe.verified is not None
        sums = []
        for source in recipe.sources:
            assert not isinstance(source, (PathSource, BundleSource, SplitSource))
            sums.append(source.sha256 is not None)
        assert all(sums) is recipe.verified


@pytest.mark.parametrize("key", sorted(NOT_YET))
def test_what_a_bundle_cannot_hold_yet(tmp_path: Path, key: str) -> None:
    for text in (f"{key} = 1\n", f"[{key}]\nx = 1\n", f"[model]\n{key} = 1"):
        with pytest.raises(BadRecipe, match=f"{key} cannot be used: .*"):
            read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('system_promt = "x"', "system_promt", "system_prompt"),
        ('[model]\npaht = "x"', "model.paht", "model.path"),
        ('[license]\nspxd = "x"', "license.spxd", "license.spdx"),
        ('[modle]\npath = "x"', "modle", "model"),
        ("temperature = 1", "temperature", "sampling.temperature"),
        ("[model]\ntemprature = 1", "model.temprature", "sampling.temperature"),
        ("[sampling]\ntop-k = 1", "sampling.top-k", "sampling.top_k"),
        ('extend = "x"', "extend", "extends"),
    ],
)
def test_unknown_keys(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"Unknown key {key} in the recipe .*recipe.toml: did you mean {nearest}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name one of model.path, model.url, model.hf, model.wheel and model.bundle; it names none"),
        ('[model]\npath = "a"\nurl = "b"', "it names path and url"),
        ('[model]\nurl = "https://x/m.gguf"', "model.sha256 is missing"),
        ('[model]\nurl = "https://x/m.gguf"\nsha256 = "12"', "model.sha256 must be a SHA-256"),
        (f'[model]\nbundle = "a"\nsha256 = "{SHA}"', "model.sha256 does not go with model.bundle"),
        (f'[model]\nhf = "a/b"\nsha256 = "{SHA}"', "model.file is missing"),
        (f'[model]\nhf = "b"\nfile = "m"\nsha256 = "{SHA}"', "model.hf must be owner/name"),
        (
            f'[model]\nurl = "https://x/m-00001-of-00002.gguf"\nsha256 = "{SHA}"',
            "must be a list of 2, one for each part",
        ),
        (f'[model]\nurl = "https://x/m.gguf"\nsha256 = ["{SHA}"]', "must be one SHA-256: the model is not split"),
        (f'[model]\nurl = "https://x/m.gguf"\nsha256 = "{SHA}"\nsize = [1]', "must be one number"),
        ('[model]\npath = "a"\nsize = 0', "model.size must be a whole number from 1"),
        ('verified = 1\n[model]\npath = "a"', "verified must be true or false"),
        ('context = true\n[model]\npath = "a"', "context must be a whole number"),
        ('[model]\npath = "a"\n[sampling]\ntemperature = "0"', "sampling.temperature must be a number"),
        ('[model]\npath = "a"\n[sampling]\ntop_k = 1.5', "sampling.top_k must be a whole number"),
        ('[model]\npath = "a"\n[sampling]\ntop_p = inf', "sampling.top_p must be a number"),
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
