"""``solofile convert``: a folder of Hugging Face's safetensors becomes a GGUF."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from safetensors_folder import write_folder
from solofile.builder import converting, inputs
from solofile.builder.cli import main
from solofile.builder.converting import EXTRA, NEEDED, TYPES, converted, folder_digest, is_convertible
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import check_model
from solofile.builder.progress import SilentProgress
from solofile.builder.recipe import read_recipe
from solofile.builder.recipe_commands import check_recipe
from solofile.builder.sources import Fetched

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def quiet(*_: object) -> SilentProgress:
    return SilentProgress()


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "Tiny Llama")


@pytest.fixture
def sources(build_cache: Path) -> None:
    """The pinned sources, which are unpacked from the real build cache."""
    real = Path(os.environ.get("HOME", "")) / ".cache/solofile-build/sources" / inputs.LLAMA.stem
    if not real.is_dir():
        pytest.skip("the sources of llama.cpp are not in the build cache")
    (build_cache / "sources").mkdir()
    (build_cache / "sources" / inputs.LLAMA.stem).symlink_to(real)


needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED), reason=f"the extra is not installed: {EXTRA}"
)


def test_what_is_a_model(model_folder: Path, tmp_path: Path) -> None:
    assert is_convertible(model_folder)
    assert not is_convertible(tmp_path)
    (model_folder / "config.json").unlink()
    assert not is_convertible(model_folder)
    assert not is_convertible(tmp_path / "none")


def test_without_the_extra(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    monkeypatch.setattr(converting, "NEEDED", ("torch",))
    for words in (["convert", str(model_folder), "-o", str(tmp_path / "x.gguf")], ["build", str(model_folder)]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error == f"solofile: Converting a folder of safetensors needs torch: {EXTRA}.\n"


@pytest.mark.parametrize("words", [["convert"], ["build"]])
def test_folders_that_are_none(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, str(tmp_path)]) == 2
    assert "is no folder with" in (error := capsys.readouterr().err) or "is a folder: name the GGUF" in error


def test_the_digest_is_of_what_the_converter_reads(model_folder: Path) -> None:
    before = folder_digest(model_folder, quiet)
    (model_folder / "modeling.py").write_text("raise SystemExit")
    (model_folder / "pytorch_model.bin").write_bytes(b"x")
    assert folder_digest(model_folder, quiet) == before
    (model_folder / "config.json").write_text("{}")
    assert folder_digest(model_folder, quiet) != before


def test_recipe_may_name_a_folder(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f'[model]\npath = "{model_folder.name}"\n')
    check_recipe(read_recipe(path))


@pytest.mark.usefixtures("sources")
def test_the_extra_is_what_the_converter_wants() -> None:
    """The versions that the pinned llama.cpp asks for; gguf lies beside its converter."""
    wanted: set[str] = set()
    folder = inputs.llama_source() / "vendor/llama.cpp/requirements"
    for name in ("convert_hf_to_gguf", "convert_legacy_llama"):
        lines = (folder / f"requirements-{name}.txt").read_text().splitlines()
        wanted |= {line.strip() for line in lines if line.strip() and line.strip()[0].isalpha()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]["convert"]) == {one for one in wanted if not one.startswith("gguf")}


@needs_torch
@pytest.mark.usefixtures("sources")
def test_converted(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model_folder / "evil.py").write_text(f"open({str(tmp_path / 'evil')!r}, 'w')")
    output = tmp_path / "tiny.gguf"
    assert main(["convert", str(model_folder), "-o", str(output), "--outtype", "f32"]) == 0
    assert "llama, 116K parameters, F32" in capsys.readouterr().out
    facts = check_model(output)
    assert facts.chat_template and facts.context_length == 2048
    assert not (tmp_path / "evil").exists()
    first, digest = converted(Fetched(model_folder, None, model_folder.name), quiet)
    assert converted(Fetched(model_folder, None, model_folder.name), quiet) == (first, digest)
    assert check_model(first.path).quantization == "F16"


@needs_torch
@pytest.mark.usefixtures("sources")
def test_what_the_converter_cannot_convert(model_folder: Path, tmp_path: Path) -> None:
    config = model_folder / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "NobodyKnowsIt"))
    with pytest.raises(BadModel, match=r"cannot convert .*NobodyKnowsIt"):
        converting.convert(model_folder, tmp_path / "x.gguf", TYPES[0], quiet)
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".*"))
