"""What the release workflow runs besides solofile's commands, tried here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from solofile.builder.backends import backend_name
from solofile.runtime.hardware import target
from solofile.runtime.version import __version__

SCRIPT = Path(__file__).parents[2] / ".ci" / "release.py"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_steps", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=280)


def test_the_plan_is_what_this_solofile_makes() -> None:
    from solofile.builder.targets import TARGETS

    done = run("plan", "--tag", f"v{__version__}")
    assert done.returncode == 0, done.stderr
    outputs = dict(line.split("=", 1) for line in done.stdout.splitlines())
    rows = json.loads(outputs["packs"])
    assert {row["target"] for row in rows} == set(TARGETS) - {"windows-aarch64"}
    for row in rows:
        assert row["options"].startswith(f"--gpu {','.join(TARGETS[row['target']].gpus) or 'none'}")
    assert outputs["version"] == __version__
    left_out = 6 - len(rows)
    assert done.stderr.count("::warning::No pack for ") == left_out
    assert json.loads(outputs["metal"]) == [
        {"target": row["target"], "runner": row["runner"]} for row in rows if row["metal"]
    ]


def test_another_tag_is_refused() -> None:
    done = run("plan", "--tag", "v99")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"release: The tag v99 is not this version's: it has to be v{__version__}.\n"


def test_what_is_left_out_is_said(release: ModuleType) -> None:
    targets = {"linux-x86_64": ("vulkan",), "macos-aarch64": (), "windows-aarch64": ()}
    rows, notes = release.plan(targets, {}, False)
    assert [(row["target"], row["options"]) for row in rows] == [
        ("linux-x86_64", "--gpu vulkan"),
        ("macos-aarch64", "--gpu none"),
    ]
    assert "No Metal for macos-aarch64: --backend of this solofile does not take libggml-metal.dylib." in notes
    assert any(note.startswith("No pack for windows-aarch64: set the repository's variable CPYTHON_") for note in notes)
    rows, notes = release.plan(targets, {release.CPYTHON: "python.tar.gz#0123"}, True)
    assert [row["options"] for row in rows] == [
        "--gpu vulkan",
        "--gpu none --backend metal/libggml-metal.dylib",
        "--gpu none --cpython python.tar.gz#0123",
    ]
    assert [note for note in notes if "macos-aarch64" in note or "windows-aarch64" in note] == []


def test_metal_is_built_alone_and_with_its_shaders_inside(release: ModuleType, tmp_path: Path) -> None:
    made = release.metal_commands(Path("cmake"), Path("ninja"), tmp_path / "ggml", tmp_path / "metal")
    configure, build, copy, rename, sign = made
    assert {"-DGGML_METAL=ON", "-DGGML_METAL_EMBED_LIBRARY=ON", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU=OFF"} < {*configure}
    assert f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={tmp_path / 'metal' / 'bin'}" in configure
    assert build == ["cmake", "--build", str(tmp_path / "metal"), "--target", "ggml-metal"]
    final = str(tmp_path / "metal" / "bin" / release.METAL)
    assert copy[-1] == rename[-1] == sign[-1] == final
    assert rename[3] == "@rpath/libggml-base.dylib"  # the only name that foreign_backends.py takes
    assert backend_name(Path(final)) == "metal"


def two_folders(folder: Path) -> tuple[Path, Path]:
    """The same wheel and text twice, below folders as artifacts have them."""
    for name in ("first", "second"):
        place = folder / name / f"wheel-{name}"
        place.mkdir(parents=True)
        (place / "notes.txt").write_text("text")
        with zipfile.ZipFile(place / "a-1-py3-none-any.whl", "w") as archive:
            archive.writestr(zipfile.ZipInfo("a/pack.zip"), b"pack")
    return folder / "first", folder / "second"


def test_the_same_twice(tmp_path: Path) -> None:
    done = run("compare", *two_folders(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 files of ")


def test_differences_are_named(release: ModuleType, tmp_path: Path) -> None:
    first, second = two_folders(tmp_path)
    with zipfile.ZipFile(second / "wheel-second" / "a-1-py3-none-any.whl", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a/pack.zip"), b"pac!")
    (second / "wheel-second" / "more.txt").touch()
    (second / "wheel-second" / "notes.txt").write_text("other")
    assert release.compare(first, second) == [
        "more.txt is in one of them only", "a-1-py3-none-any.whl (a/pack.zip)", "notes.txt",
    ]  # fmt: skip
    done = run("compare", first, second)
    assert done.returncode == 1 and " differ: more.txt is in one" in done.stderr
    (tmp_path / "empty").mkdir()
    assert "There is nothing in" in run("compare", tmp_path / "empty", tmp_path / "empty").stderr


def test_sums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "a.whl").write_bytes(b"a")
    for _ in range(2):
        assert run("sums", tmp_path).returncode == 0
        text = (tmp_path / "SHA256SUMS").read_text()
        assert text == "".join(f"{hashlib.sha256(name).hexdigest()}  {name.decode()}.whl\n" for name in (b"a", b"b"))
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "c d.whl").touch()
    assert "has a name that a release cannot have" in run("sums", tmp_path).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo it is broken >&2; exit 3", "--doctor ended with code 3: it is broken"),
        ("echo damaged", "--verify said 'damaged\\n'."),
        ('case $1 in --verify) echo "x is whole: " ;; *) echo \'{"hardware": {"target": "other"}}\' ;; esac',
         "The bundle takes this machine for other and not for linux-x86_64."),
        ('case $1 in --verify) echo "x is whole: " ;; -p) echo Lyon ;; '
         '*) echo \'{"hardware": {"target": "linux-x86_64"}}\' ;; esac', "The capital of France is 'Lyon\\n'."),
    ],
)  # fmt: skip
def test_a_bundle_that_does_not_work_is_seen(tmp_path: Path, script: str, says: str) -> None:
    bundle = tmp_path / "bundle.exe"
    bundle.write_text(f"#!/bin/sh\n{script}\n")
    done = run("smoke", bundle, "--target", "linux-x86_64")
    assert done.returncode == 1
    assert done.stderr.startswith("release: ") and says in done.stderr


def test_a_bundle_that_works(smollm2_bundle: Path) -> None:
    done = run("smoke", smollm2_bundle, "--target", target())
    assert done.returncode == 0, done.stderr
    assert f"works on {target()}: " in done.stdout and "Paris" in done.stdout
