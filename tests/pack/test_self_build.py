"""solofile as one executable: it builds where there is no Python, no other program and no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "builder"))

from ggufs import write_gguf
from solofile.builder import carried
from solofile.builder.carried import find_carried, packs_in
from solofile.builder.cli import main
from solofile.builder.errors import BadInput, MissingTool
from solofile.builder.packfile import Pack
from solofile.builder.self_build import build_self
from solofile.runtime.hardware import target as host_target

SYSTEM = (
    *("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    "libz.so.1",
)
"""All that the executable is given of a system: glibc, and zlib for PyInstaller's start. There is no other program."""


@pytest.fixture(scope="module")
def executable(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("self") / "solofile"
    built = build_self(output, [pack])
    assert (built.path, built.packs, built.size) == (output, 1, output.stat().st_size)
    return output


@pytest.fixture
def bare(executable: Path, tmp_path: Path) -> Path:
    """A root folder with glibc, the executable and an empty home."""
    root = tmp_path / "root"
    for folder in ("lib64", "lib/x86_64-linux-gnu", "home", "tmp", "proc", "dev"):
        (root / folder).mkdir(parents=True)
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
    for name in SYSTEM:
        found = next(
            (path for path in (Path("/lib64", name), Path("/lib/x86_64-linux-gnu", name)) if path.exists()), None
        )
        if found:
            shutil.copy(found, root / ("lib64" if name.startswith("ld-") else "lib/x86_64-linux-gnu") / name)
    shutil.copy(executable, root / "solofile")
    return root


def run_bare(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root folder, with no network."""
    script = (
        'mount -t proc proc "$1/proc"; for one in null urandom; do mount --bind /dev/$one "$1/dev/$one"; done; '
        'root=$1; shift; exec chroot "$root" "$@"'
    )
    prefix = ["unshare", "--mount", "--net", "sh", "-ec", script, "sh", str(root)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/home"}
    return subprocess.run(
        [*prefix, *command], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid")
    or os.geteuid() != 0
    or subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode != 0,
    reason="a root folder of its own, and no network, take root and namespaces",
)


@needs_root
@pytest.mark.skipif(host_target() != "linux-x86_64", reason="names the libraries of glibc on x86-64")
def test_builds_with_nothing_but_glibc(bare: Path, smollm2_gguf: Path, pack: Path, solofile: list[str]) -> None:
    """The bundle that it makes answers there too, and is the one that any solofile makes."""
    shutil.copy(smollm2_gguf, bare / "model.gguf")
    built = run_bare(bare, "/solofile", "build", "/model.gguf", "-o", "/out.exe", "--name", "out")
    assert built.returncode == 0, built.stderr
    said = run_bare(bare, "/out.exe", "-p", "Say hello.", "-n", "5", "--temp", "0")
    assert said.returncode == 0, said.stderr
    assert len(said.stdout.split()) >= 2
    command = [*solofile, "build", str(bare / "model.gguf"), "-o", str(bare / "same.exe"), "--name", "out"]
    subprocess.run([*command, "--pack", str(pack)], check=True, capture_output=True, timeout=300)
    assert (bare / "same.exe").read_bytes() == (bare / "out.exe").read_bytes()
    assert sorted(path.name for path in bare.iterdir() if path.is_file()) == [
        "model.gguf", "out.exe", "same.exe", "solofile"
    ]  # fmt: skip


@needs_root
def test_what_it_can_do_and_cannot(bare: Path) -> None:
    write_gguf(bare / "m.gguf")
    doctor = run_bare(bare, "/solofile", "doctor", "--json")
    assert doctor.returncode == 0, doctor.stderr
    findings = {one["name"]: one["found"] for one in json.loads(doctor.stdout)["findings"]}
    assert findings["pack carried"].startswith(f"{host_target()}: ")
    assert "smollm2-135m" in run_bare(bare, "/solofile", "recipe", "list").stdout
    assert run_bare(bare, "/solofile", "keygen", "-o", "/k.key", "--unencrypted").returncode == 0
    assert run_bare(bare, "/solofile", "build", "/m.gguf", "-o", "/m.exe", "--sign", "/k.key").returncode == 0
    for words, says in (
        (("build", "/m.gguf", "-o", "/g.exe", "--gpu", "vulkan"), "carries no pack for"),
        (("pack", "build"), "compiles or fetches nothing by pip"),
        (("demo",), "compiles or fetches nothing by pip"),
    ):
        refused = run_bare(bare, "/solofile", *words)
        assert refused.returncode == 2
        assert says in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    for command in (("inspect", "/m.exe"), ("verify", "/m.exe"), ("set", "/m.exe", "--title", "T", "-o", "/n.exe")):
        assert run_bare(bare, "/solofile", *command).returncode == 0
    joined = [path.name for path in bare.iterdir() if path.is_file()]
    assert sorted(joined) == ["k.key", "k.pub", "m.exe", "m.exe.minisig", "m.gguf", "n.exe", "solofile"]


def test_it_is_an_archive_with_the_pack_as_it_was(executable: Path, pack: Path) -> None:
    with zipfile.ZipFile(executable) as archive:
        assert archive.testzip() is None
        name = f"packs/1-{host_target()}.zip"
        assert archive.read(name) == pack.read_bytes()
        facts = json.loads(archive.read("solofile.json"))
        assert {one["path"] for one in facts["parts"]} == {*archive.namelist()} - {"solofile.json"}
        licenses = {Path(name).stem for name in archive.namelist() if name.startswith("LICENSES/")}
    assert {"solofile", "python", "numpy", "gguf", "pynacl"} <= licenses
    (inside,) = packs_in(executable)
    with inside, Pack.open(pack) as plain:
        assert (inside.facts, inside.digest) == (plain.facts, plain.digest)
        for path in plain.members:
            assert b"".join(inside.raw(path)) == b"".join(plain.raw(path))


def test_starts_without_unpacking_again(executable: Path, tmp_path: Path) -> None:
    environment = {"SOLOFILE_CACHE": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    for _ in range(2):
        said = subprocess.run([executable, "--version"], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.startswith("solofile ")
        inodes = {path.stat().st_ino for path in tmp_path.rglob("solofile-runtime")}
        assert len(inodes) == 1


def test_choice_of_a_carried_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "container"))
    from bundles import make_gpu_pack, make_pack

    make_pack(tmp_path / "plain.zip").close()
    make_gpu_pack(tmp_path / "gpu.zip").close()
    assert find_carried(None, kernels="all", gpus="none", backends=[]) is None
    monkeypatch.setattr(carried, "executable", lambda: tmp_path)
    opened = lambda: [Pack.open(tmp_path / name) for name in ("gpu.zip", "plain.zip")]  # noqa: E731
    monkeypatch.setattr(carried, "carried_packs", opened)
    for kernels in ("all", "x64", "haswell"):
        with find_carried("linux-x86_64", kernels=kernels, gpus="none", backends=[]) as found:
            assert found.path.name == "plain.zip"
    for asked in ({"kernels": "zen4"}, {"gpus": "vulkan"}, {"backends": [tmp_path]}):
        wanted = {"target": "linux-x86_64", "kernels": "all", "gpus": "none", "backends": [], **asked}
        with pytest.raises(
            MissingTool, match="linux-x86_64: haswell, x64 and cuda, vulkan; linux-x86_64: haswell, x64"
        ):
            find_carried(wanted.pop("target"), **wanted)


def test_packs_for_other_machines_alone_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "container"))
    from bundles import make_pack

    make_pack(tmp_path / "plain.zip").close()
    monkeypatch.setattr("solofile.builder.self_build.host_target", lambda: "linux-aarch64")
    with pytest.raises(BadInput, match="None of the packs is for linux-aarch64"):
        build_self(tmp_path / "solofile", [tmp_path / "plain.zip"])
    assert main(["self", "build", "-o", str(tmp_path), "--packs", str(tmp_path / "plain.zip")]) == 2
