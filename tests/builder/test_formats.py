"""``--format pyz`` and ``--format ape``: what is written, what reads it, what is refused."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import FACTS, make_pack, pack_files
from cosmo_python import write_stand_in
from solofile.builder import behind, cosmo, forms, python_pack
from solofile.builder.behind import Form, directory_entries, form_of, pyz_form
from solofile.builder.build import BuildRequest, build_bundle
from solofile.builder.cli import main
from solofile.builder.errors import BadInput
from solofile.builder.packfile import Pack, PackSource
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import PathSource
from solofile.runtime import ending
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import Manifest
from started_by_python import build, build_ape, tiny_modules

pytestmark = pytest.mark.usefixtures("folder")

TARGET = "linux-x86_64"


@pytest.fixture
def model(gguf_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of some hundred kilobytes, and modules for zipapps."""
    tiny_modules(monkeypatch, tmp_path)
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_path.read_bytes() + os.urandom(300_000))
    return path


@pytest.fixture
def pyz(model: Path, pack_path: Path, folder: Path) -> Path:
    return build(folder / "m.pyz", model, pack_path, "--format", "pyz", "--system-prompt", "Hi")


@pytest.fixture
def ape(model: Path, pack_path: Path, folder: Path) -> Path:
    return build_ape(folder / "m.exe", model, pack_path, "--system-prompt", "Hi")


@pytest.fixture(params=["pyz", "ape"])
def bundle(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def sound(path: Path) -> Manifest:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []
        bundle.check_headers()
        return bundle.manifest


def test_a_zipapp_is_a_bundle_between_a_line_and_a_zip(pyz: Path, model: Path) -> None:
    data, manifest = pyz.read_bytes(), sound(pyz)
    assert data.startswith(b"#!/usr/bin/env python3\n")
    assert os.access(pyz, os.X_OK)
    weights = next(part for part in manifest.parts if part.path.endswith(".gguf"))
    assert weights.offset % 65_536 == 0
    assert data[weights.offset :][: weights.size] == model.read_bytes()
    assert manifest.behind is not None and manifest.behind.form == "pyz"
    assert manifest.behind.python == next(part.sha256 for part in manifest.parts if part.path == "runtime/python.sums")
    assert list(manifest.targets) == [TARGET]
    with zipfile.ZipFile(pyz) as archive:
        assert archive.testzip() is None
        assert {"__main__.py", "solofile/runtime/archive.py"} <= set(archive.namelist())
        assert not [name for name in archive.namelist() if name.endswith(".gguf")]


def test_it_holds_libraries_and_no_frozen_runtime(pyz: Path) -> None:
    paths = [part.path for part in sound(pyz).parts if part.path.startswith(("runtime/", "native/"))]
    assert paths == [
        f"runtime/{TARGET}/native/libllama.so",
        f"runtime/{TARGET}.sums",
        "runtime/python/deep/er/module.py",
        "runtime/python/solofile_start.py",
        "runtime/python.sums",
        f"native/{TARGET}/libggml-cpu-haswell.so",
        f"native/{TARGET}/libggml-cpu-x64.so",
    ]


def test_an_ape_keeps_what_the_python_held(ape: Path, folder: Path) -> None:
    manifest, base = sound(ape), (folder / "cosmo-python").read_bytes()
    assert ape.read_bytes().startswith(base[: base.index(b"PK\1\2")])
    assert manifest.behind is not None and (manifest.behind.form, manifest.behind.python) == ("ape", None)
    assert f"runtime/{TARGET}/solofile-runtime" in [part.path for part in manifest.parts]
    with zipfile.ZipFile(ape) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read(".args") == b"-I\n-m\nsolofile_ape\n..."
        assert archive.read("Lib/os.py").startswith(b"# of the library")
        # The places count from the start of the file, as a program finds them that looks into itself.
        assert all(archive.filelist[at].header_offset == one.offset for at, one in enumerate(_entries(ape)))
    assert names.count(".args") == 1 and "share/x" in names
    assert "Lib/site-packages/solofile/runtime/pylauncher/main.py" in names


def _entries(path: Path) -> list[behind.Entry]:
    with Bundle.open(path) as bundle:
        form = form_of(bundle)
    assert form is not None
    return list(directory_entries(form.before[len(form.before) - form.directory :]))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="cosmofy wants a Python before 3.13")
def test_cosmofy_reads_it(ape: Path) -> None:
    pytest.importorskip("cosmofy")
    from cosmofy.fs.args import get_args
    from cosmofy.zipfile2 import ZipFile2

    with ZipFile2(ape) as bundle:
        assert get_args(bundle) == "-I -m solofile_ape ..."
    command = [sys.executable, "-m", "cosmofy", "fs", "ls", "-a", str(ape)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ".args" in listed and "Lib" in listed


def test_the_same_inputs_give_the_same_bytes(bundle: Path, model: Path, pack_path: Path, folder: Path) -> None:
    words: list[str | Path] = ["--format", "pyz"]
    if bundle.suffix == ".exe":
        words = ["--format", "ape", "--cosmo-python", folder / "cosmo-python"]
    again = build(folder / "again", model, pack_path, *words, "--system-prompt", "Hi", "--name", "m")
    assert again.read_bytes() == bundle.read_bytes()


def test_any_changed_byte_is_found(bundle: Path, folder: Path) -> None:
    data = bundle.read_bytes()
    with Bundle.open(bundle) as opened:
        end = opened.archive_end
    places = {*range(end, len(data), 997), *range(len(data) - ending.BEHIND_END, len(data)), 0, 5, end - 1}
    copy = folder / "copy"
    for place in sorted(places):
        copy.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            with Bundle.open(copy) as opened:
                assert verify(opened), place
        except DamagedBundle as error:
            assert "damaged" in str(error) or "no bundle" in str(error)


def test_what_lies_behind_and_the_manifest_agree(bundle: Path, model: Path, pack_path: Path, folder: Path) -> None:
    data = bundle.read_bytes()
    with Bundle.open(bundle) as opened:
        end = opened.archive_end
    cut, program = folder / "cut", build(folder / "program.exe", model, pack_path)
    cut.write_bytes(data[:end])
    with pytest.raises(DamagedBundle, match=r"0 bytes lie behind its archive in place of \d+"):
        Bundle.open(cut)
    cut.write_bytes(program.read_bytes() + data[end:])
    with pytest.raises(DamagedBundle, match=r"\d+ bytes lie behind its archive in place of 0"):
        Bundle.open(cut)


def test_inspect_verify_and_extract(bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle)]) == 0
    assert "started by" in capsys.readouterr().out
    assert main(["inspect", str(bundle), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["manifest"]["behind"]["form"] in ("pyz", "ape")
    for words in (["inspect", "--tree"], ["verify"]):
        assert main([words[0], str(bundle), *words[1:]]) == 0
    assert main(["extract", str(bundle), "parts"]) == 0
    assert (folder / "parts" / "launcher").stat().st_size == sound(bundle).parts[0].size


def test_set_changes_the_settings_alone(bundle: Path, folder: Path) -> None:
    assert main(["set", str(bundle), "-o", "new", "--system-prompt", "x" * 70_000]) == 0
    manifest = sound(folder / "new")
    assert manifest.system_prompt == "x" * 70_000
    with Bundle.open(bundle) as old, Bundle.open(folder / "new") as new:
        one, two = form_of(old), form_of(new)
        assert one == two
        assert old.parts == new.parts
    assert zipfile.ZipFile(folder / "new").testzip() is None
    assert main(["set", "new", "-o", "back", "--system-prompt", "Hi"]) == 0
    assert (folder / "back").read_bytes() == bundle.read_bytes()


def test_upgrade_keeps_the_format(bundle: Path, folder: Path, pack_path: Path) -> None:
    assert main(["upgrade", str(bundle), "-o", "new", "--pack", str(pack_path)]) == 0
    assert (folder / "new").read_bytes() == bundle.read_bytes()


def test_from_changes_the_format(bundle: Path, model: Path, folder: Path, pack_path: Path) -> None:
    words = ["build", "--from", str(bundle), "--pack", str(pack_path)]
    assert main([*words, "-o", "kept"]) == 0
    assert (folder / "kept").read_bytes() == bundle.read_bytes()
    assert main([*words, "-o", "m2.exe", "--format", "exe"]) == 0
    plain = build(folder / "plain.exe", model, pack_path, "--system-prompt", "Hi", "--name", "m")
    assert (folder / "m2.exe").read_bytes() == plain.read_bytes()
    assert main(["build", "--from", "m2.exe", "--pack", str(pack_path), "--format", "pyz", "--name", "n"]) == 0
    assert sound(folder / "n.pyz").behind is not None


def test_a_model_is_taken_out_of_one(bundle: Path, folder: Path, pack_path: Path) -> None:
    (folder / "r.toml").write_text(f'[model]\nbundle = "{bundle}"\n')
    assert main(["build", "r.toml", "-o", "x.exe", "--pack", str(pack_path)]) == 0
    weights = [
        next(part for part in sound(path).parts if part.path.endswith(".gguf")) for path in (folder / "x.exe", bundle)
    ]
    assert weights[0].sha256 == weights[1].sha256


def test_a_recipe_names_the_format(model: Path, folder: Path, pack_path: Path) -> None:
    write_stand_in(folder / "cosmo")
    (folder / "r.toml").write_text(f'name = "r"\nformat = "ape"\ncosmo_python = "cosmo"\n[model]\npath = "{model}"\n')
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    behind = sound(folder / "r.exe").behind
    assert behind is not None and behind.form == "ape"


def test_a_zipapp_is_split_where_that_is_asked_for(model: Path, pack_path: Path, folder: Path) -> None:
    build(folder / "s.pyz", model, pack_path, "--format", "pyz", "--split", "100k")
    assert (folder / "s.gguf").read_bytes() == model.read_bytes()
    sound(folder / "s.pyz")


def test_several_targets_share_the_modules(model: Path, folder: Path, tmp_path: Path) -> None:
    other = "linux-aarch64"
    files = [PackSource(one.path.replace(TARGET, other), one.source, one.mode) for one in pack_files()]
    make_pack(tmp_path / "two.zip", files, replace(FACTS, target=other)).close()
    make_pack(tmp_path / "one.zip").close()
    request = BuildRequest(PathSource(model), output=folder / "x.pyz", format="pyz")
    packs = [tmp_path / "two.zip", tmp_path / "one.zip"]
    build_bundle(request, lambda _: [Pack.open(path) for path in packs], SilentProgress)
    manifest = sound(folder / "x.pyz")
    assert list(manifest.targets) == [other, TARGET]
    sums = [part.path for part in manifest.parts if part.path.endswith(".sums")]
    assert sums == [f"runtime/{other}.sums", f"runtime/{TARGET}.sums", "runtime/python.sums"]
    assert {one.launcher.size for one in manifest.targets.values()} == {len(behind.SHEBANG)}


REFUSED = {
    "unknown format": (["--format", "pzy"], "Unknown format pzy: did you mean pyz?"),
    "nothing like it": (["--format", "docker"], "Unknown format docker: see --help for the known ones."),
    "no Python": (["--format", "ape"], "needs a Cosmopolitan Python: give one with --cosmo-python FILE"),
    "another format": (["--format", "pyz", "--cosmo-python", "x"], "--cosmo-python goes with --format ape"),
    "its own launcher": (["--format", "pyz", "--launcher", "x"], "--launcher does not go with --format pyz"),
    "not there": (["--format", "ape", "--cosmo-python", "none"], "none cannot be read: No such file"),
    "no program": (["--format", "ape", "--cosmo-python", "text"], "text is no Actually Portable Executable"),
    "no ZIP": (["--format", "ape", "--cosmo-python", "plain"], "plain holds no ZIP that can be read"),
    "no library": (["--format", "ape", "--cosmo-python", "bare"], "bare holds no Python, whose library is in Lib/"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(
    case: str, model: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text").write_text("text")
    (folder / "plain").write_text("MZqFpD='\n'\n")
    (folder / "bare").write_text("MZqFpD='\n'\n")
    with zipfile.ZipFile(folder / "bare", "a") as archive:
        archive.writestr("x", "x")
    words, message = REFUSED[case]
    before = sorted(folder.iterdir())
    assert main(["build", str(model), "--pack", str(pack_path), "-o", "x.exe", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert message in said.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("form", ["pyz", "ape"])
def test_an_executable_solofile_makes_none(
    form: str,
    gguf_path: Path,
    pack_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It holds no sources of the launcher."""
    monkeypatch.setattr("sys.frozen", True, raising=False)
    words = ["build", str(gguf_path), "--pack", str(pack_path), "-o", "x", "--format", form]
    assert main([*words, *(["--cosmo-python", "x"] if form == "ape" else [])]) == 2
    assert f"makes no bundle of the format {form}: use one that is installed for Python." in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_python_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosmo, "SIZE_LIMIT", 100)
    with pytest.raises(BadInput, match="has more than 100 bytes"):
        cosmo.read_cosmo_python(write_stand_in(folder / "cosmo"))


def test_a_python_whose_zip_counts_from_its_own_start(folder: Path, model: Path, pack_path: Path) -> None:
    """As a ZIP that was appended with cat, which its directory does not know."""
    alone = folder / "alone.zip"
    with zipfile.ZipFile(alone, "w") as archive:
        archive.writestr("Lib/os.py", "x")
    cosmo = folder / "cosmo"
    cosmo.write_bytes(b"MZqFpD='\n'\nexit\n" + alone.read_bytes())
    build(folder / "x.exe", model, pack_path, "--format", "ape", "--cosmo-python", cosmo)
    with zipfile.ZipFile(folder / "x.exe") as archive:
        assert archive.read("Lib/os.py") == b"x"
        assert archive.filelist[0].header_offset == 16


def test_a_directory_behind_four_gibibytes() -> None:
    """Only then the end has the records of ZIP64; the archive before it needs them in any case."""
    form = Form("ape", b"", b"PK\1\2" * 10, 40, 1, absolute=True)
    near, far = form.behind(0xFFFF_FFFE), form.behind(0xFFFF_FFFF)
    assert len(far) == len(near) + 76
    assert [ending.behind_size(one) for one in (near, far)] == [len(near), len(far)]
    assert struct.unpack_from("<Q", far, 40 + 48)[0] == 0xFFFF_FFFF
    assert struct.unpack_from("<I", near, len(near) - ending.BEHIND_END + 16)[0] == 0xFFFF_FFFE
    relative = pyz_form()
    assert relative.behind(0) == relative.behind(1 << 40)


def test_names_and_endings() -> None:
    assert [forms.named(Path(name)) for name in ("a.exe", "b.pyz", "c.d", "e")] == ["a", "b", "c.d", "e"]
    assert [str(forms.output_for("m", name, ["linux-x86_64"])) for name in forms.FORMATS] == ["m.exe", "m.pyz", "m.exe"]


def test_the_launcher_imports_what_is_in_its_zip(tmp_path: Path) -> None:
    """With the standard library alone, and without ctypes."""
    for path, content in behind.launcher_modules().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules['ctypes'] = None\n"
        "from solofile.runtime.pylauncher import ed25519, main, signature\n"
        "print(*sorted(name for name in sys.modules if name.startswith('solofile.runtime.')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    own = {name.removeprefix("solofile.runtime.") for name in done.stdout.split()}
    assert {name for name in own if not name.startswith(behind.PACKAGE)} == set(behind.MODULES) - {"windows_calls"}


def test_what_of_packages_is_left_out() -> None:
    kept = ("flask/app.py", "werkzeug/http.py", "testing_tools.py", "cheroot/server.py", "typing_extensions.py")
    left = ("bin/flask.py", "flask/cli.py", "jinja2/__init__.py", "werkzeug/debug/console.py", "click/core.py")
    assert not [name for name in kept if python_pack.is_left_out(name)]
    assert all(python_pack.is_left_out(name) for name in left)


def test_what_is_left_out_is_not_named(tmp_path: Path) -> None:
    """Neither as a component nor with its license."""
    taken = [{"name": "solofile:taken", "value": "libpython"}]
    listed = [{"name": name} for name in ("cpython", "flask", "openssl")] + [{"name": "panda3d", "properties": taken}]
    texts = [PackSource(f"LICENSES/{name}.txt", b"x") for name in ("python", "openssl", "panda3d", "flask", "solofile")]
    files = [*pack_files(), *texts, PackSource("LICENSES/components.json", json.dumps(listed).encode())]
    with make_pack(tmp_path / "p.zip", files) as pack, python_pack.native_pack(pack) as slim:
        assert json.loads(slim.read("LICENSES/components.json")) == [{"name": "flask"}]
        assert [name for name in slim.members if name.startswith("LICENSES/") and name.endswith(".txt")] == [
            "LICENSES/flask.txt", "LICENSES/llama.cpp.txt", "LICENSES/solofile.txt",
        ]  # fmt: skip


def test_a_pack_without_its_frozen_runtime(pack_path: Path) -> None:
    with Pack.open(pack_path) as pack, python_pack.native_pack(pack) as slim, python_pack.native_pack(pack) as again:
        assert slim.path == again.path, "it is kept"
        assert [name for name in slim.members if name.startswith("runtime/")] == [
            f"runtime/{TARGET}/native/libllama.so",
            f"runtime/{TARGET}.sums",
        ]
        assert slim.digest != pack.digest
        assert [name for name in slim.members if name.startswith(("native/", "LICENSES/"))] == [
            name for name in pack.members if name.startswith(("native/", "LICENSES/"))
        ]
        assert slim.facts.kernels == pack.facts.kernels
