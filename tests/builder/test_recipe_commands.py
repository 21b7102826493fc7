"""``solofile recipe list|show|check|pin``, and what they do to a recipe's text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ggufs import write_gguf
from solofile.builder import build, recipe_commands, recipe_document, recipe_pin
from solofile.builder.cli import main
from solofile.builder.errors import BadRecipe
from solofile.builder.recipe import read_recipe
from solofile.builder.recipe_document import load, load_text
from solofile.builder.recipe_pin import edited
from solofile.builder.sources import SplitSource, UrlSource
from solofile.runtime.container import Bundle
from test_split_models import TENSORS, write_parts

SHA = "0123456789abcdef" * 4


pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def shipped(tmp_path: Path, gguf_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of that of the shipped recipes, with one to be pinned."""
    folder = tmp_path / "shipped"
    (folder / "licenses").mkdir(parents=True)
    (folder / "licenses/mit.txt").write_text("Permission is hereby granted")
    (folder / "tiny.toml").write_text(
        f'# Tiny, by us.\n\nname = "tiny"\nverified = false   # not yet\n\n[model]   # there\n'
        f'url = "{gguf_path.as_uri()}"\n'
        '# behind\n\n[license]\nspdx = "mit"\nfile = "licenses/mit.txt"\n'
    )
    for module in (build, recipe_document, recipe_commands, recipe_pin):
        monkeypatch.setattr(module, "shipped_folder", lambda: folder)
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["recipe", *words]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list").splitlines()
    assert any(line.split()[:3] == ["smollm2-135m", "verified", "apache-2.0"] for line in lines)
    assert sum("to be pinned" in line for line in lines) >= 10


def test_show_is_the_recipe_again(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    text = said(capsys, "show", "air-gapped-lab")
    assert "air-gapped-lab.toml" in text
    assert "qwen3-8b.toml" in text
    (folder / "copy.toml").write_text(text)
    assert load(folder / "copy.toml").values == load(recipe_commands.find("air-gapped-lab")).values


def test_check(capsys: pytest.CaptureFixture[str], gguf_path: Path, folder: Path) -> None:
    assert "sound; " in said(capsys, "check", "smollm2-135m")
    assert said(capsys, "check", "smollm2-135m.toml").endswith("verified.\n")
    assert "to be pinned before a build: solofile recipe pin qwen3-4b" in said(capsys, "check", "qwen3-4b")
    (folder / "mine.toml").write_text(f'[model]\npath = "{gguf_path}"\n')
    assert said(capsys, "check", "mine.toml").endswith("ready to build.\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[model]\npath = "none.gguf"', "names none.gguf, which does not exist"),
        ('[model]\nbundle = "none.exe"', "names none.exe, which does not exist"),
        ('[model]\npath = "m.gguf"\n[license]\nfile = ["none.txt"]', "names none.txt, which does not exist"),
        ('arguments = ["--temprature", "1"]\n[model]\npath = "m.gguf"', "did you mean --temperature"),
        ('arguments = ["-hf", "x"]\n[model]\npath = "m.gguf"', "is not offered by a bundle"),
        ('targets = ["linux"]\n[model]\npath = "m.gguf"', "Unknown target linux"),
        ('kernels = "haswel"\n[model]\npath = "m.gguf"', "did you mean haswell"),
        ('gpu = ["vulcan"]\n[model]\npath = "m.gguf"', "did you mean vulkan"),
        ('backends = ["x.so"]\n[model]\npath = "m.gguf"', "names x.so, which does not exist"),
        ("x = 1", "Unknown key x"),
    ],
)
def test_check_finds(capsys: pytest.CaptureFixture[str], folder: Path, text: str, says: str) -> None:
    (folder / "m.gguf").touch()
    (folder / "r.toml").write_text(text)
    error = said(capsys, "check", "r.toml", code=2)
    assert error.startswith("solofile: ")
    assert error.count("\n") == 1
    assert says in error


def test_names_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Unknown recipe smollm2: did you mean smollm2-" in said(capsys, "show", "smollm2", code=2)
    assert "none.toml cannot be read" in said(capsys, "check", "none.toml", code=2)
    assert "see solofile recipe --help" in said(capsys, "chekc", code=2)


def test_shipped_recipe_is_pinned_into_a_copy(
    shipped: Path, folder: Path, pack_path: Path, gguf_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (shipped / "tiny.toml").read_text()
    assert main(["build", "tiny", "--pack", str(pack_path)]) == 2
    assert "is not verified: let “solofile recipe pin tiny” fetch" in capsys.readouterr().err
    assert not list(folder.iterdir())
    sha256, size = hashlib.sha256(gguf_path.read_bytes()).hexdigest(), gguf_path.stat().st_size
    said_ = said(capsys, "pin", "tiny")
    assert f"tiny.toml: verified (llama, Q8_0, {size / 1000:.1f} KB, SHA-256 {sha256})" in said_
    assert "solofile build tiny.toml" in said_
    assert (shipped / "tiny.toml").read_text() == before
    assert (folder / "tiny.toml").read_text() == (
        f'# Tiny, by us.\n\nname = "tiny"\nverified = true\n\n[model]   # there\nurl = "{gguf_path.as_uri()}"\n'
        f'sha256 = "{sha256}"\nsize = {size}\n# behind\n\n[license]\nspdx = "mit"\nfile = "licenses/mit.txt"\n'
    )
    assert main(["build", "tiny.toml", "--pack", str(pack_path)]) == 0
    with Bundle.open(folder / "tiny.exe") as bundle:
        assert bundle.read("LICENSES/model-tiny.txt").startswith(b"Permission")
    assert "tiny.toml exists: give --force" in said(capsys, "pin", "tiny", code=2)
    said(capsys, "pin", "tiny", "--force")
    (folder / "other").mkdir()
    said(capsys, "pin", "tiny", "-o", "other/mine.toml")
    assert (folder / "other/licenses/mit.txt").is_file()


def test_own_recipe_is_pinned_in_place(folder: Path, gguf_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.toml").write_text(f'verified = false\n[model]\nurl = "{gguf_path.as_uri()}"\nsize = 3\n')
    assert "bytes in place of 3" in said(capsys, "pin", "r.toml", code=2)
    (folder / "r.toml").write_text(f'[model]\nurl = "{gguf_path.as_uri()}"\nsha256 = "{SHA}"\n')
    assert f"in place of {SHA}" in said(capsys, "pin", "r.toml", code=2)
    (folder / "r.toml").write_text(f'verified = false\n[model]\nurl = "{gguf_path.as_uri()}"\n')
    said(capsys, "pin", "r.toml")
    recipe = read_recipe(folder / "r.toml")
    assert isinstance(recipe.source, UrlSource)
    assert (recipe.verified, recipe.source.size) == (True, gguf_path.stat().st_size)


def test_recipe_that_extends_is_pinned_itself(shipped: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped.is_dir()
    (folder / "lab.toml").write_text('extends = "tiny"\nname = "lab"')
    said(capsys, "pin", "lab.toml")
    recipe = read_recipe(folder / "lab.toml")
    assert recipe.verified is True
    assert recipe.name == "lab"
    assert (
        (folder / "lab.toml").read_text().startswith('extends = "tiny"\nname = "lab"\nverified = true\n\n[model]\nsha')
    )


def test_split_model_is_pinned(folder: Path, capsys: pytest.CaptureFixture[str], pack_path: Path) -> None:
    names = list(TENSORS)
    parts = write_parts(folder, [names[:2], names[2:]])
    (folder / "r.toml").write_text(f'name = "big"\nverified = false\n[model]\nurl = "{parts[0].as_uri()}"\n')
    said(capsys, "pin", "r.toml")
    source = read_recipe(folder / "r.toml").source
    assert isinstance(source, SplitSource)
    assert [part.sha256 for part in source.parts] == [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0


def test_what_comes_is_no_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.gguf").write_text("<html>Sign in</html>")
    text = f'verified = false\n[model]\nurl = "{(folder / "m.gguf").as_uri()}"\n'
    (folder / "r.toml").write_text(text)
    assert "is an HTML page" in said(capsys, "pin", "r.toml", code=2)
    assert (folder / "r.toml").read_text() == text


def test_nothing_to_pin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(folder / "m.gguf")
    (folder / "r.toml").write_text('[model]\npath = "m.gguf"\n')
    assert "there is nothing to fetch and pin" in said(capsys, "pin", "r.toml", code=2)
    (folder / "r.toml").write_text('verified = false\n[model]\nurl = "http://example.org/m.gguf"\n')
    assert "is not encrypted" in said(capsys, "pin", "r.toml", code=2)


VALUES = {"verified": True, "model.sha256": "ab", "model.size": 7}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("[model]\nurl = 'x'", "\nverified = true\n[model]\nurl = 'x'\nsha256 = \"ab\"\nsize = 7\n"),
        (
            "verified=false\n[model]\nsha256 = ''\nsize = 1 # one\n",
            'verified = true\n[model]\nsha256 = "ab"\nsize = 7\n',
        ),
        ("a = 1\n[license]\nb = 1\n", 'a = 1\nverified = true\n[license]\nb = 1\n\n[model]\nsha256 = "ab"\nsize = 7\n'),
    ],
)
def test_edited_text(text: str, result: str) -> None:
    assert edited(text, VALUES, Path("r.toml")).lstrip() == result.lstrip()


@pytest.mark.parametrize(
    "text",
    [
        "model = {url = 'x'}",
        "model.url = 'x'",
        '[model]\nurl = "x"\nsha256 = [\n"a",\n"b"]\n',
        'x = """\n[model]\n"""\n',
    ],
)
def test_text_that_only_a_person_can_edit(text: str) -> None:
    """Whatever comes out reads as what was meant, or nothing comes out."""
    try:
        found = load_text(edited(text, VALUES, Path("r.toml")), Path("r.toml"))
    except BadRecipe as error:
        assert 'put in verified = true, model.sha256 = "ab", model.size = 7 by hand' in str(error)
    else:
        assert (found["verified"], found["model"]["sha256"], found["model"]["size"]) == (True, "ab", 7)
