"""New bundles out of old ones: the settings or the runtime change, all else stays, byte for byte."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
from bundles import FACTS, TARGET, make_bundle, make_gpu_pack, make_pack, pack_files
from damaging import flip
from solofile.builder import changing
from solofile.builder.changing import Changes, change_runtime, change_settings
from solofile.builder.cli import main
from solofile.builder.errors import BadOutput
from solofile.builder.packfile import Pack, PackSource
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import LlamaCpp, Manifest

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def model(gguf_path: Path, tmp_path: Path) -> Path:
    """A model of some megabytes that does not fill its last block."""
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_path.read_bytes() + os.urandom((3 << 20) + 77))
    return path


@pytest.fixture
def old(model: Path, pack_path: Path, folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "mit.txt").write_text("Permission is hereby granted")
    (tmp_path / "r.toml").write_text(
        f'name = "old"\ntitle = "Old"\nsystem_prompt = "Hi"\narguments = ["-c", "512"]\n'
        f'[model]\npath = "{model}"\n[license]\nspdx = "MIT"\nfile = "mit.txt"\n'
    )
    assert main(["build", str(tmp_path / "r.toml"), "--pack", str(pack_path), "-o", "old.exe"]) == 0
    return folder / "old.exe"


@pytest.fixture
def new_pack(tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - it was built before
    """A newer runtime, of a newer solofile: more of it, another llama.cpp, another launcher's length."""
    monkeypatch.setattr("solofile.builder.inputs.LLAMA_CPP_COMMIT", "fedcba9")
    files = [file for file in pack_files() if "x64" not in Path(file.path).name]
    files += [
        PackSource(f"native/{TARGET}/libggml-cpu-x64.so", os.urandom(200_000), 0o755),
        PackSource("LICENSES/new.txt", b"New"),
    ]
    facts = dataclasses.replace(FACTS, llama_cpp=LlamaCpp("0.6.0", "fedcba9", "llama-cpp-python==0.4.0"))
    make_pack(tmp_path / "new.zip", files, facts).close()
    return tmp_path / "new.zip"


def sound(path: Path) -> Manifest:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []
        bundle.check_headers()
        return bundle.manifest


def test_set_everything(old: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "prompt.txt").write_text("Be brief.\n")
    before = old.read_bytes()
    words = ["--name", "new", "--title", "New", "--system-prompt", "@prompt.txt", "--args", "-c 99 --temp 0.5"]
    assert main(["set", "old.exe", "-o", "new.exe", *words]) == 0
    assert "new.exe: " in capsys.readouterr().out
    manifest, original = sound(folder / "new.exe"), sound(old)
    assert (manifest.name, manifest.title, manifest.system_prompt) == ("new", "New", "Be brief.")
    assert manifest.arguments == ("-c", "99", "--temp", "0.5")
    assert (manifest.parts, manifest.models, manifest.targets) == (original.parts, original.models, original.targets)
    assert old.read_bytes() == before
    assert os.access("new.exe", os.X_OK)
    assert main(["set", "new.exe", "-o", "none.exe", "--system-prompt", "", "--args", ""]) == 0
    manifest = sound(folder / "none.exe")
    assert (manifest.system_prompt, manifest.arguments, manifest.title) == (None, (), "New")


def test_set_keeps_the_arguments_that_name_parts(pack_path: Path, model: Path, folder: Path) -> None:
    """An adapter in the bundle is of no use unless its option stays."""
    arguments = ("-c", "512", "--lora-scaled", "adapters/none.gguf:0.5,models/model.gguf:1", "--lora", "mine.gguf")
    make_bundle(folder / "old.exe", pack_path, [model], arguments=arguments)
    assert main(["set", "old.exe", "-o", "new.exe", "--args", "--temp 0.5"]) == 0
    assert sound(folder / "new.exe").arguments == (*arguments[2:4], "--temp", "0.5")


def test_set_makes_what_a_build_makes(
    model: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689598")
    build = ["build", str(model), "--pack", str(pack_path), "--name", "n"]
    assert main([*build, "-o", "a.exe"]) == 0
    assert main([*build, "-o", "b.exe", "--system-prompt", "x" * 70_000, "--title", "T", "--args", "-c 7"]) == 0
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    words = ["--system-prompt", "x" * 70_000, "--title", "T", "--args", "-c 7"]
    assert main(["set", "a.exe", "-o", "c.exe", *words]) == 0
    assert (folder / "c.exe").read_bytes() == (folder / "b.exe").read_bytes()


def test_upgrade_keeps_model_and_settings(
    old: Path, model: Path, new_pack: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upgrade", "old.exe", "-o", "new.exe", "--pack", str(new_pack)]) == 0
    assert "llama.cpp 0c1e570 before" in (out := capsys.readouterr().out)
    assert "llama.cpp fedcba9 now" in out
    manifest, original = sound(folder / "new.exe"), sound(old)
    assert manifest.llama_cpp.version == "0.6.0"
    for key in ("name", "title", "system_prompt", "arguments", "models", "default_model"):
        assert getattr(manifest, key) == getattr(original, key)
    with Bundle.open("new.exe") as bundle:
        assert b"".join(bundle.open_part("models/model.gguf")) == model.read_bytes()
        assert bundle.read("LICENSES/model-old.txt").startswith(b"Permission")
        assert bundle.read("LICENSES/new.txt") == b"New"
        assert bundle.parts["models/model.gguf"].offset != Bundle.open(old).parts["models/model.gguf"].offset


@pytest.mark.usefixtures("old")
def test_upgrade_makes_what_a_build_makes(new_pack: Path, folder: Path, tmp_path: Path) -> None:
    assert main(["upgrade", "old.exe", "-o", "up.exe", "--pack", str(new_pack)]) == 0
    assert main(["build", str(tmp_path / "r.toml"), "--pack", str(new_pack), "-o", "fresh.exe"]) == 0
    assert (folder / "up.exe").read_bytes() == (folder / "fresh.exe").read_bytes()


def test_upgrade_of_several_models(pack_path: Path, new_pack: Path, folder: Path, tmp_path: Path) -> None:
    """Two models, each beginning where it can be mapped; and the same runtime gives the same bytes."""
    models = []
    for name, size in (("a", 70_001), ("b", 131_072)):
        models.append(tmp_path / f"{name}.gguf")
        models[-1].write_bytes(b"GGUF" + os.urandom(size))
    make_bundle(folder / "two.exe", pack_path, models, licenses={"LICENSES/model-tiny.txt": b"Terms"})
    with Bundle.open("two.exe") as bundle, Pack.open(pack_path) as pack:
        change_runtime(bundle, [pack], folder / "same.exe", Changes())
    assert (folder / "same.exe").read_bytes() == (folder / "two.exe").read_bytes()
    with Bundle.open("two.exe") as bundle, Pack.open(new_pack) as pack:
        change_runtime(bundle, [pack], folder / "new.exe", Changes(title="New"))
    assert sound(folder / "new.exe").title == "New"
    with Bundle.open("new.exe") as bundle:
        for model in models:
            assert b"".join(bundle.open_part(f"models/{model.name}")) == model.read_bytes()


def test_build_from_a_bundle(old: Path, new_pack: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pack", str(new_pack), "--name", "fresh", "--args", "--temp 0.5"]
    assert main(["build", "--from", "old.exe", *words]) == 0
    manifest = sound(folder / "fresh.exe")
    assert (manifest.title, manifest.system_prompt) == ("Old", "Hi")
    assert manifest.arguments == ("-c", "512", "--temp", "0.5")
    assert main(["build", "--from", "old.exe", *words]) == 2
    assert "fresh.exe exists" in capsys.readouterr().err
    assert main(["build", "--pack", str(new_pack)]) == 2
    assert main(["build", "m.gguf", "--from", "old.exe"]) == 2
    assert sound(old).name == "old"


def test_in_place_is_one_rename(old: Path, new_pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The old file stays whole for whoever has it open, as a bundle that runs has."""
    with old.open("rb") as running:
        before = old.read_bytes()
        assert main(["set", "old.exe", "-o", "./old.exe", "--title", "T"]) == 0
        assert main(["upgrade", "old.exe", "-o", "old.exe", "--pack", str(new_pack)]) == 0
        assert running.read() == before
    manifest = sound(old)
    assert (manifest.title, manifest.llama_cpp.commit) == ("T", "fedcba9")
    Path("other.exe").write_text("precious")
    assert main(["set", "old.exe", "-o", "other.exe", "--title", "T"]) == 2
    assert "other.exe exists: give --force" in capsys.readouterr().err
    assert Path("other.exe").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("set old.exe -o x.exe", "Nothing is to be changed"),
        ("set old.exe --title T", "-o"),
        ("set old.exe -o x.exe --name ../x", "cannot be used"),
        ("set old.exe -o x.exe --args --temprature=1", "did you mean --temperature"),
        ("set none.exe -o x.exe --title T", "none.exe cannot be opened"),
        ("set r.toml -o x.exe --title T", "is no bundle"),
        ("set old.exe -o none/x.exe --title T", "does not exist: make it first"),
        ("upgrade old.exe -o x.exe --pack none.zip", "none.zip cannot be opened"),
    ],
)
@pytest.mark.usefixtures("old")
def test_refused(words: str, says: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(tmp_path / "r.toml", folder)
    assert main(words.split()) in (1, 2)
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["old.exe", "r.toml"]


@pytest.mark.parametrize("where", ["launcher", f"runtime/{TARGET}/solofile-runtime", "models/model.gguf", "header"])
def test_damage_that_is_read_is_not_carried_over(
    old: Path, pack_path: Path, folder: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where blocks cannot be shared the old file is read, so it is compared with its manifest."""
    monkeypatch.setattr(changing, "clone_range", lambda *_: 0)
    monkeypatch.setattr("solofile.builder.copying.clone_range", lambda *_: 0)
    with Bundle.open(old) as bundle:
        model = bundle.members["models/model.gguf"]
        part = bundle.part("models/model.gguf" if where == "header" else where)
        flip(old, model.header_offset + 14 if where == "header" else part.offset + part.stored // 2, 1)
    with Bundle.open(old) as bundle:
        with pytest.raises(DamagedBundle, match="model" if where == "header" else Path(where).name):
            change_settings(bundle, folder / "x.exe", Changes(title="T"))
        if where in ("models/model.gguf", "header"):  # the rest of an old bundle does not go into the new one
            with pytest.raises(DamagedBundle), Pack.open(pack_path) as pack:
                change_runtime(bundle, [pack], folder / "x.exe", Changes())
    assert [path.name for path in folder.iterdir()] == ["old.exe"]


def test_gpu_backends_are_kept_or_asked_for(
    model: Path, folder: Path, pack_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_gpu_pack(folder / "gpu.zip").close()
    assert main(["build", str(model), "--pack", "gpu.zip", "-o", "old.exe"]) == 0
    assert main(["upgrade", "old.exe", "-o", "new.exe"]) == 2
    assert "has the GPU backend cuda, which solofile cannot build" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(
        "solofile.builder.commands_change.find_packs", lambda wanted, _: asked.append(wanted) or [Pack.open(pack_path)]
    )
    assert main(["upgrade", "old.exe", "-o", "new.exe", "--gpu", "vulkan"]) == 0
    assert main(["upgrade", "new.exe", "-o", "newer.exe"]) == 0
    assert [(one.targets, one.kernels, one.gpu) for one in asked] == [
        ((TARGET,), "haswell,x64", "vulkan"),
        ((TARGET,), "haswell,x64", "none"),
    ]


def test_no_space(old: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with Bundle.open(old) as bundle, pytest.raises(BadOutput, match="where 1000 are free"):
        change_settings(bundle, folder / "x.exe", Changes(title="T"))
