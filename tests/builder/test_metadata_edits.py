"""Changes of a model's metadata: by the type that the key has, the weights as they were, the layout out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from ggufs import write_gguf
from solofile.builder.archive_writer import Span
from solofile.builder.cli import main
from solofile.builder.errors import BadInput
from solofile.builder.gguf_check import check_model
from solofile.builder.gguf_edit import edited
from solofile.builder.hashing import file_sha256
from solofile.builder.metadata_edits import Edit, named_edit, parse_edit
from solofile.builder.progress import SilentProgress
from solofile.builder.recipe import read_recipe
from solofile.runtime.container import Bundle
from solofile.runtime.errors import UnknownName


def change(model: Path, *words: str, remove: tuple[str, ...] = (), span: Span | None = None) -> Path:
    edits = [*map(parse_edit, words), *(Edit(key, None) for key in remove)]
    return edited(model, span, "new.gguf", file_sha256(model), edits, lambda *_: SilentProgress())


def values(path: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def kinds(path: Path) -> dict[str, list[gguf.GGUFValueType]]:
    return {name: field.types for name, field in gguf.GGUFReader(path).fields.items()}


def tensors(path: Path) -> dict[str, tuple[bytes, int]]:
    return {one.name: (one.data.tobytes(), int(one.tensor_type)) for one in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("alignment", [32, 256])
def test_what_is_named_changes_and_nothing_else(tmp_path: Path, alignment: int) -> None:
    model = write_gguf(tmp_path / "m.gguf", alignment=alignment)
    words = ("general.name=Helper = mine", "llama.context_length=0x1000", "my.flag:bool=True", "my.part:f32=0.5")
    new = change(model, *words, remove=("general.license",))
    wanted = values(model) | {
        "general.name": "Helper = mine", "llama.context_length": 4096, "my.flag": True, "my.part": 0.5
    }  # fmt: skip
    del wanted["general.license"]
    assert values(new) == wanted
    assert kinds(new)["llama.context_length"] == [gguf.GGUFValueType.UINT32]
    assert tensors(new) == tensors(model)
    assert list(values(new))[:2] == list(values(model))[:2], "entries stay in their place"
    facts = check_model(new)
    assert (facts.name, facts.context_length, facts.license) == ("Helper = mine", 4096, None)


def test_lists(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", tokens=3)
    new = change(model, "tokenizer.ggml.scores=[1, 2.5, -1e3]", 'tokenizer.ggml.tokens=["a", "ü", ""]')
    assert values(new)["tokenizer.ggml.scores"] == [1, 2.5, -1000]
    assert values(new)["tokenizer.ggml.tokens"] == ["a", "ü", ""]
    with pytest.raises(BadInput, match=r"tokenizer\.ggml\.scores is a list: write it as one"):
        change(model, "tokenizer.ggml.scores=1")


def test_a_model_inside_another_file(gguf_path: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.write_bytes(bytes(1000) + gguf_path.read_bytes() + bytes(1000))
    new = change(host, "general.name=x", span=Span(1000, gguf_path.stat().st_size))
    assert tensors(new) == tensors(gguf_path)
    assert new.stat().st_size <= gguf_path.stat().st_size


def test_same_bytes_and_only_once(gguf_path: Path) -> None:
    first = change(gguf_path, "general.name=x")
    data, time = first.read_bytes(), first.stat().st_mtime_ns
    assert change(gguf_path, "general.name=x").stat().st_mtime_ns == time
    first.unlink()
    assert change(gguf_path, "general.name=x").read_bytes() == data
    assert change(gguf_path, "general.name=y") != first


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("general.alignment=64", "general.alignment says how the weights lie"),
        ("general.architecture=llama", "says how the weights lie"),
        ("split.count:u16=1", "says how the weights lie"),
        ("general.name", "is no change of metadata: write KEY=VALUE"),
        ("=x", "is no change of metadata"),
        ("llama.context_length=many", "cannot be “many”: it is of the type u32"),
        ("llama.context_length=-1", "cannot be “-1”: it is of the type u32"),
        ("llama.context_length=4294967296", "it is of the type u32"),
        ("llama.context_length:str=8192", "is of the type u32 in the model, and llama.cpp reads it as that"),
        ("general.name:u32=5", "is of the type str in the model"),
        ("my.key=5", "The model has no metadata key my.key: name its type"),
        ("my.flag:bool=yes", "cannot be “yes”: it is of the type bool"),
        ("my.key:u33=5", "Unknown type u33 in “my.key:u33”: did you mean u32"),
        ("general.name=Tiny Model", "says all that already: leave --metadata out"),
    ],
)
def test_mistakes(gguf_path: Path, build_cache: Path, word: str, says: str) -> None:
    with pytest.raises((BadInput, UnknownName), match=says):
        change(gguf_path, word)
    left = build_cache / "edited"
    assert not left.exists() or not [one for one in left.iterdir() if one.is_dir()]


def test_key_to_remove_that_is_not_there(gguf_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown metadata key general\.nam: did you mean general\.name"):
        change(gguf_path, remove=("general.nam",))


def test_values_of_a_recipe() -> None:
    assert named_edit("a.b:u32", 5) == Edit("a.b", "5", "u32")
    assert named_edit("a.b", True) == Edit("a.b", "true")
    assert named_edit("a.b", "true story") == Edit("a.b", "true story")
    assert named_edit("a.b", [1, 2]) == Edit("a.b", "[1, 2]")


def test_recipe(gguf_path: Path, pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(
        f'name = "helper"\nremove_metadata = ["general.license"]\n[model]\npath = "{gguf_path}"\n'
        '[metadata]\ngeneral.name = "Helper"\n"my.key:i16" = -5\n'
    )
    assert read_recipe(Path("r.toml")).metadata == (
        Edit("general.name", "Helper"), Edit("my.key", "-5", "i16"), Edit("general.license", None)
    )  # fmt: skip
    assert main(["recipe", "check", "r.toml"]) == 0
    assert main(["build", "r.toml", "--pack", str(pack_path), "--metadata", "my.key=6"]) == 2
    assert main(["build", "r.toml", "--pack", str(pack_path), "--metadata", "llama.context_length=512"]) == 0
    with Bundle.open("helper.exe") as bundle:
        (model,) = bundle.manifest.models
        assert bundle.manifest.title == "Helper"
    origin = model.origin
    assert origin is not None and origin.quantized is None
    assert (origin.name, origin.sha256) == (gguf_path.name, file_sha256(gguf_path))
    assert origin.edited == ("general.name", "my.key", "general.license", "llama.context_length")
    assert (model.context_length, model.license) == (512, None)


def test_shown_as_toml(gguf_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f'[model]\npath = "{gguf_path}"\n[metadata]\ngeneral.name = "Helper"\n"a.b:u32" = 5\n')
    assert main(["recipe", "show", str(path)]) == 0
    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    assert read_recipe(shown).metadata == read_recipe(path).metadata


def test_inspected(gguf_path: Path, pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "x.exe")
    assert main(["build", str(gguf_path), "-o", output, "--pack", str(pack_path), "--metadata", "general.name=N"]) == 0
    capsys.readouterr()
    assert main(["inspect", output]) == 0
    assert "metadata edited (general.name)" in capsys.readouterr().out
    assert main(["inspect", output, "--json"]) == 0
    origin = json.loads(capsys.readouterr().out)["manifest"]["models"][0]["origin"]
    assert origin["edited"] == ["general.name"]


def test_weights_are_where_the_header_says(gguf_path: Path) -> None:
    new = change(gguf_path, "general.name=" + "x" * 1000)
    reader = gguf.GGUFReader(new)
    assert reader.data_offset % 32 == 0
    assert np.array_equal(reader.tensors[0].data, gguf.GGUFReader(gguf_path).tensors[0].data)
