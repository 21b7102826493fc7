"""Whole builds from a tiny model and a tiny pack, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bundles import TARGET, make_gpu_pack
from ggufs import write_gguf
from solofile.builder import chosen_models, commands
from solofile.builder.cli import main
from solofile.builder.gguf_check import check_model
from solofile.builder.packfile import Pack
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import Manifest

pytestmark = pytest.mark.usefixtures("folder")


def manifest_of(path: Path) -> Manifest:
    with Bundle.open(path) as bundle:
        assert verify(bundle) == []
        return bundle.manifest


def test_build_from_a_model(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(gguf_path), "--pack", str(pack_path)]) == 0
    (path,) = folder.iterdir()
    assert path.name == "Tiny-Model.Q8.exe"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755 or os.name != "posix"
    manifest = manifest_of(path)
    model = manifest.models[0]
    assert (manifest.name, manifest.title) == ("Tiny-Model.Q8", "Tiny Model")
    assert (model.path, model.quantization, model.license) == ("models/Tiny-Model.Q8.gguf", "Q8_0", "mit")
    assert (model.parameters, model.context_length, model.chat_template) == (736, 2048, True)
    assert manifest.system_prompt is None
    assert manifest.arguments == ()
    with Bundle.open(path) as bundle:
        assert b"".join(bundle.open_part(model.path)) == gguf_path.read_bytes()
    assert capsys.readouterr().out.startswith("Tiny-Model.Q8.exe: ")


def test_every_option(gguf_path: Path, pack_path: Path, folder: Path) -> None:
    (folder / "prompt.txt").write_text("Be brief.\n")
    command = ["build", str(gguf_path), "--pack", str(pack_path), "-o", "out/x", "--name", "tiny", "--title", "- T -"]
    (folder / "out").mkdir()
    assert main([*command, "--system-prompt", "@prompt.txt", "--args", "-c 512 --temp '0.5'", "--target", TARGET]) == 0
    manifest = manifest_of(folder / "out" / "x")
    assert (manifest.name, manifest.title, manifest.system_prompt) == ("tiny", "- T -", "Be brief.")
    assert manifest.arguments == ("-c", "512", "--temp", "0.5")


def test_build_from_a_recipe(gguf_path: Path, pack_path: Path, folder: Path) -> None:
    shutil.copy(gguf_path, folder / "m.gguf")
    (folder / "mit.txt").write_text("Permission is hereby granted")
    (folder / "r.toml").write_text(
        'name = "tiny"\ntitle = "T"\nsystem_prompt = "Hi"\narguments = ["-c", "512"]\n'
        '[model]\npath = "m.gguf"\n[license]\nspdx = "MIT"\nfile = "mit.txt"\n'
    )
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    manifest = manifest_of(folder / "tiny.exe")
    assert (manifest.title, manifest.system_prompt, manifest.models[0].license) == ("T", "Hi", "MIT")
    with Bundle.open(folder / "tiny.exe") as bundle:
        assert bundle.read("LICENSES/model-tiny.txt").startswith(b"Permission")
    assert main(["build", "r.toml", "--pack", str(pack_path), "--force", "--args", "-c 99", "--system-prompt", ""]) == 0
    manifest = manifest_of(folder / "tiny.exe")
    assert manifest.arguments == ("-c", "512", "-c", "99")
    assert manifest.system_prompt is None


def test_build_from_a_url_in_a_recipe(gguf_path: Path, pack_path: Path, folder: Path) -> None:
    sha256 = hashlib.sha256(gguf_path.read_bytes()).hexdigest()
    (folder / "r.toml").write_text(f'name = "tiny"\n[model]\nurl = "{gguf_path.as_uri()}"\nsha256 = "{sha256}"\n')
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    (part,) = [part for part in manifest_of(folder / "tiny.exe").parts if part.path.endswith(".gguf")]
    assert part.sha256 == sha256


def test_cached_download_that_was_changed(
    gguf_path: Path, pack_path: Path, folder: Path, build_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = hashlib.sha256(gguf_path.read_bytes()).hexdigest()
    (folder / "r.toml").write_text(f'name = "tiny"\n[model]\nurl = "{gguf_path.as_uri()}"\nsha256 = "{sha256}"\n')
    cached = build_cache / "downloads" / sha256 / gguf_path.name
    cached.parent.mkdir(parents=True)
    data = bytearray(gguf_path.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 2
    assert "has changed since it was fetched" in capsys.readouterr().err
    assert not (folder / "tiny.exe").exists()


def test_same_inputs_same_bytes(gguf_path: Path, pack_path: Path, folder: Path, tmp_path: Path) -> None:
    """Another path, another day, another output, another time zone."""
    other = tmp_path / "other"
    other.mkdir()
    model = shutil.copyfile(gguf_path, other / gguf_path.name)
    pack = shutil.copyfile(pack_path, other / "another.zip")
    for path in (model, pack):
        os.utime(path, (0, 1_000_000_000))
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "--name", "n"]) == 0
    code = "import sys; from solofile.builder.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    words = ["build", str(model), "--pack", str(pack), "--name", "n", "-o", str(other / "z")]
    subprocess.run([sys.executable, "-c", code, *words], env=environment, check=True, capture_output=True)
    assert (folder / "n.exe").read_bytes() == (other / "z").read_bytes()


@pytest.mark.parametrize("epoch", [None, "1735689598"])
def test_same_bytes_on_another_day(
    gguf_path: Path, pack_path: Path, folder: Path, epoch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build, a change and an upgrade, today and in ten years, in other folders, with and without a fixed time."""
    real = time.time, time.time_ns
    if epoch:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    made = []
    for days in (0, 3653):
        monkeypatch.setattr(time, "time", lambda days=days: real[0]() + days * 86_400)
        monkeypatch.setattr(time, "time_ns", lambda days=days: real[1]() + days * 86_400 * 10**9)
        place = folder / f"day {days}"
        place.mkdir()
        monkeypatch.chdir(place)
        model = shutil.copyfile(gguf_path, place / gguf_path.name)
        assert main(["build", model.name, "--pack", str(pack_path), "-o", "a.exe"]) == 0
        assert main(["set", "a.exe", "--title", "T", "-o", "b.exe"]) == 0
        assert main(["upgrade", "b.exe", "--pack", str(pack_path), "-o", "c.exe"]) == 0
        made.append([Path(name).read_bytes() for name in ("a.exe", "b.exe", "c.exe")])
    assert made[0] == made[1]
    assert made[0][1] == made[0][2]


def test_source_date_epoch(
    gguf_path: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689598")
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x"]) == 0
    with Bundle.open(folder / "x") as bundle:
        stamps = {member.stamp for member in bundle.members.values()}
    assert stamps == {((2024 - 1980) << 9 | 12 << 5 | 31) << 16 | 23 << 11 | 59 << 5 | 58 // 2}
    for wrong in ("yesterday", "9999999999999999"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "y"]) == 2
        assert "seconds since 1970" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "linux-x86_65"], "linux-x86_65"),
        (["--name", "../x"], "cannot be used"),
        (["--args", "--temprature 0.2"], "did you mean --temperature"),
        (["--args", "-c 'x"], "close the quotes"),
        (["--system-prompt", "@none.txt"], "none.txt cannot be read: No such file"),
        (["-o", "none/x.exe"], "does not exist: make it first"),
        (["-o", "."], "is a folder"),
        (["--target", "linux-x86_64,windows-x86_64"], "is for linux-x86_64 and not for linux-x86_64, windows-x86_64"),
        (["--target", "linux-x86"], "Unknown target linux-x86: did you mean linux-x86_64"),
    ],
)
def test_refused_options(
    gguf_path: Path,
    pack_path: Path,
    folder: Path,
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["build", str(gguf_path), "--pack", str(pack_path), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("solofile: ")
    assert error.count("\n") == 1
    assert says in error
    assert not list(folder.iterdir())


def test_model_that_is_refused(pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.gguf").write_bytes(b"PK\3\4")
    assert main(["build", "m.gguf", "--pack", str(pack_path)]) == 2
    assert "m.gguf is a zip archive" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["m.gguf"]


def test_output_that_exists(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.exe").write_text("precious")
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe"]) == 2
    assert "x.exe exists: give --force" in capsys.readouterr().err
    assert (folder / "x.exe").read_text() == "precious"
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe", "--force"]) == 0
    manifest_of(folder / "x.exe")


def test_output_that_is_the_model(
    gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(gguf_path, folder / "m.gguf")
    assert main(["build", "m.gguf", "--pack", str(pack_path), "-o", "m.gguf", "--force"]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert (folder / "m.gguf").read_bytes() == gguf_path.read_bytes()


def test_damaged_pack(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(pack_path.read_bytes())
    data[1000] ^= 1
    (folder / "pack.zip").write_bytes(data)
    assert main(["build", str(gguf_path), "--pack", "pack.zip"]) == 1
    assert "The pack pack.zip is damaged" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["pack.zip"]


def test_model_that_shrinks_meanwhile(
    gguf_path: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(gguf_path, folder / "m.gguf")
    real = check_model

    def check(path: Path, span: object) -> object:
        assert span is None
        facts = real(path)
        os.truncate(path, path.stat().st_size - 100)  # behind its header
        return facts

    monkeypatch.setattr(chosen_models, "check_model", check)
    assert main(["build", "m.gguf", "--pack", str(pack_path)]) == 2
    assert "changed while it was read" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["m.gguf"]


def test_no_space(
    gguf_path: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert main(["build", str(gguf_path), "--pack", str(pack_path)]) == 2
    assert "where 1000 are free" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_model_without_a_chat_template(pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(folder / "m.gguf", template=None)
    assert main(["build", "m.gguf", "--pack", str(pack_path)]) == 0
    assert "no chat template" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_build_leaves_nothing(
    gguf_path: Path, pack_path: Path, folder: Path, number: signal.Signals, code: int
) -> None:
    """A build of a large file, stopped in the middle."""
    model = shutil.copy(gguf_path, folder / "m.gguf")
    os.truncate(model, 3 << 30)
    program = "import sys; from solofile.builder.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "build", str(model), "--pack", str(pack_path)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 1 << 20 for path in folder.glob(".*.solofile.part")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code, error
    assert error == "solofile: stopped; nothing half done is left.\n"
    assert [path.name for path in folder.iterdir()] == ["m.gguf"]


def test_inspect(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe", "--system-prompt", "Two\nlines"]
    assert main([*command, "--args", "-c 512"]) == 0
    capsys.readouterr()
    assert main(["inspect", "x.exe"]) == 0
    page = capsys.readouterr().out
    size = (folder / "x.exe").stat().st_size
    for text in (
        f"({size} bytes)",
        "llama.cpp 0.5.0 (0c1e570, from llama-cpp-python==0.3.36)",
        "linux-x86_64, needs glibc 2.17; kernels haswell, x64",
        "llama, 736 parameters, Q8_0",
        "context 2048, chat template, license mit) by default",
        "Two\n               lines",
        "-c 512",
        "runtime, 5 files",
        "kernels, 2 files",
    ):
        assert text in page
    assert main(["inspect", "x.exe", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["path"], document["size"]) == ("x.exe", size)
    assert document["manifest"]["system_prompt"] == "Two\nlines"
    with Bundle.open("x.exe") as bundle:
        assert document["digest"] == bundle.digest
        assert [one["path"] for one in document["members"]] == list(bundle.members)
    runtime = next(one for one in document["members"] if one["path"].endswith("/solofile-runtime"))
    assert (runtime["method"], runtime["mode"]) == ("deflated", "0755")


def test_inspect_tree(gguf_path: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe"]) == 0
    capsys.readouterr()
    assert main(["inspect", "x.exe", "--tree"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["bytes", "in", "the", "file", "SHA-256", "part"]
    names = [line[head.index("part") :] for line in lines]
    assert names[:5] == ["launcher", "runtime/", "  linux-x86_64/", "    _internal/", "      base_library.zip"]
    assert names[-1] == "solofile.json"
    rows = [line.split() for line in lines if not line.endswith("/")]
    with Bundle.open("x.exe") as bundle:
        expected = [[str(part.size), str(part.stored), part.sha256] for part in bundle.parts.values()]
        sha256 = hashlib.sha256(bundle.manifest_bytes).hexdigest()
    assert [row[:3] for row in rows[:-1]] == expected
    assert rows[-1][2:] == [sha256, "solofile.json"]
    assert main(["inspect", "x.exe", "--tree", "--json"]) == 2


def test_gpu_backends(gguf_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_gpu_pack(folder / "gpu.zip").close()
    assert main(["build", str(gguf_path), "--gpu", "vulkan", "--pack", "gpu.zip", "-o", "x.exe"]) == 0
    gpus = manifest_of(folder / "x.exe").targets["linux-x86_64"].gpus
    assert sorted(gpus) == ["cuda", "vulkan"]
    assert gpus["vulkan"].lacks == ("bfloat16", "float e2m1")
    capsys.readouterr()
    assert main(["inspect", "x.exe"]) == 0
    page = capsys.readouterr().out
    for text in (
        "GPU backend cuda, needs glibc 2.34, libcuda.so.1, libcudart.so.12\n",
        "GPU backend vulkan, needs glibc 2.17, libvulkan.so.1; its shaders were compiled without bfloat16, float e2m1",
        "GPU backends, 2 files",
        "kernels, 2 files",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gpu", "vulkan"], "holds no GPU backend vulkan: make one that does by “solofile pack build”"),
        (["--gpu", "vulcan"], "Unknown GPU backend vulcan: did you mean vulkan?"),
        (["--backend", "libggml-cuda.so"], "--backend does not go with --pack"),
    ],
)
def test_a_given_pack_has_to_hold_what_is_asked_for(
    gguf_path: Path, pack_path: Path, folder: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(gguf_path), "--pack", str(pack_path), *words]) == 2
    assert says in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_verify_and_extract(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe"]) == 0
    assert main(["verify", "x.exe"]) == 0
    assert "all 12 parts are as they were built" in capsys.readouterr().out
    assert main(["extract", "x.exe", "parts"]) == 0
    assert (folder / "parts/models/Tiny-Model.Q8.gguf").read_bytes() == gguf_path.read_bytes()
    assert main(["extract", "x.exe", "parts"]) == 2
    data = bytearray((folder / "x.exe").read_bytes())
    data[65_536 + 100] ^= 1
    data[10] ^= 1
    (folder / "y.exe").write_bytes(data)
    capsys.readouterr()
    assert main(["verify", "y.exe"]) == 2
    error = capsys.readouterr().err
    assert "launcher" in error
    assert "models/Tiny-Model.Q8.gguf" in error


def test_verify_as_json(gguf_path: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def verified(name: str, code: int) -> dict[str, Any]:
        assert main(["verify", name, "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        assert isinstance(document, dict)
        return document

    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe"]) == 0
    capsys.readouterr()
    sound = verified("x.exe", 0)
    assert (sound["ok"], sound["error"], sound["damaged"], sound["parts"]) == (True, None, [], 12)
    assert sound["size"] == (folder / "x.exe").stat().st_size
    data = bytearray((folder / "x.exe").read_bytes())
    data[10] ^= 1
    (folder / "y.exe").write_bytes(data)
    damaged = verified("y.exe", 2)
    assert (damaged["ok"], [one["path"] for one in damaged["damaged"]]) == (False, ["launcher"])
    data[-1] ^= 1
    (folder / "y.exe").write_bytes(data)
    unreadable = verified("y.exe", 2)
    assert not unreadable["ok"]
    assert "is damaged" in unreadable["error"]
    assert "none.exe cannot be opened" in verified("none.exe", 2)["error"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere it starts a child")
def test_demo_builds_once_and_becomes_the_bundle(
    gguf_path: Path, pack_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Started(Exception):  # noqa: N818
        pass

    def execv(path: Path, words: list[str]) -> None:
        raise Started(path, words)

    (tmp_path / "demo.toml").write_text(f'name = "smollm2-135m"\n[model]\npath = "{gguf_path}"\n')
    monkeypatch.setattr(commands, "shipped_recipe", lambda _: tmp_path / "demo.toml")
    monkeypatch.setattr(commands, "find_packs", lambda *_: [Pack.open(pack_path)])
    monkeypatch.setattr(os, "execv", execv)
    for _ in range(2):
        with pytest.raises(Started) as caught:
            main(["demo", "--server", "--port", "1"])
        assert caught.value.args == (folder / "smollm2.exe", [str(folder / "smollm2.exe"), "--server", "--port", "1"])
        monkeypatch.setattr(commands, "find_packs", lambda *_: pytest.fail("it is there already"))
    assert manifest_of(folder / "smollm2.exe").name == "smollm2-135m"


def test_demo_does_not_start_something_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "smollm2.exe").write_text("#!/bin/sh\n")
    assert main(["demo"]) == 2
    assert "is no bundle" in capsys.readouterr().err
