"""Packs that are there: imported, installed, exported, and what is refused or passed over."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from solofile.builder import cli, commands, inputs, pack_store
from solofile.builder.build import BuildRequest
from solofile.builder.errors import BadInput
from solofile.builder.pack_wheel import write_wheel
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.sources import PathSource
from solofile.builder.targets import TARGETS
from solofile.runtime.manifest import LlamaCpp
from solofile.runtime.version import __version__

TARGET = "linux-aarch64"
KERNELS = ("armv8.0_1", "armv8.2_2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "build cache"
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(folder))
    return folder


def facts(**changes: object) -> PackFacts:
    plain = PackFacts(
        target=TARGET,
        requires="glibc 2.17",
        python="3.11.14",
        llama_cpp=LlamaCpp(**inputs.llama_cpp_facts()),
        kernels=KERNELS,
        sources=pack_store.sources_digest(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def small_pack(path: Path, **changes: object) -> Path:
    files = [
        PackSource(f"runtime/{TARGET}/solofile-runtime", b"program", 0o755),
        PackSource(f"native/{TARGET}/libggml-cpu-armv8.0_1.so", b"kernel", 0o755),
        PackSource("LICENSES/solofile.txt", b"Apache"),
    ]
    write_pack(path, facts=facts(**changes), launcher=b"launcher", files=files)
    return path


def find(kernels: tuple[str, ...] = KERNELS) -> tuple[Pack | None, list[str]]:
    notes: list[str] = []
    return pack_store.find(TARGETS[TARGET], kernels, (), notes.append), notes


def test_an_imported_pack_is_found_before_anything_is_built(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "run_tool", lambda *_: pytest.fail("nothing may be fetched"))
    given = small_pack(tmp_path / "given.zip")
    assert cli.main(["pack", "import", str(given)]) == 0
    imported = cache / "imported" / f"{TARGET}.zip"
    assert capsys.readouterr().out.strip() == str(imported)
    assert imported.read_bytes() == given.read_bytes()
    command = ["pack", "build", "--target", TARGET, "--kernels", ",".join(KERNELS)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.strip() == str(imported)
    exported = tmp_path / "exported.zip"
    assert cli.main([*command[:1], "export", *command[2:], "-o", str(exported)]) == 0
    assert exported.read_bytes() == given.read_bytes()
    assert cli.main([*command[:1], "export", *command[2:], "-o", str(exported)]) == 2
    assert "exists: give --force" in capsys.readouterr().err
    assert cli.main(["pack", "list"]) == 0
    assert f"{TARGET}  imported  " in capsys.readouterr().out


def test_a_pack_that_lacks_something_is_passed_over(tmp_path: Path) -> None:
    pack_store.import_pack(small_pack(tmp_path / "given.zip"), None)
    found, notes = find((*KERNELS, "armv9.2_2"))
    assert found is None
    assert "is passed over: it lacks armv9.2_2." in notes[0]


def test_a_pack_of_other_sources_is_passed_over(tmp_path: Path) -> None:
    pack_store.import_pack(small_pack(tmp_path / "given.zip", sources="0123456789abcdef"), None)
    found, notes = find()
    assert found is None
    assert "made from other sources" in notes[0]


REFUSED = {
    "another release": ({"solofile": "0.0.9"}, [], f"made by solofile 0.0.9, and this is {__version__}"),
    "another llama.cpp": (
        {"llama_cpp": LlamaCpp(version="0.4.0", commit="1" * 40, source="llama-cpp-python==0.3.0")},
        [],
        "it holds llama.cpp 1111111, and this is 0c1e570",
    ),
    "another hash": ({}, ["--sha256", "0" * 64], f"and not {'0' * 64}: it is not the pack that was meant"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, words, message = REFUSED[case]
    given = small_pack(tmp_path / "given.zip", **changes)
    assert cli.main(["pack", "import", str(given), *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert message in said.err
    assert not list(cache.glob("imported/*")), "something was left behind"


def test_a_damaged_pack_is_refused(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = small_pack(tmp_path / "given.zip")
    data = bytearray(given.read_bytes())
    data[data.index(b"launcher", 60)] ^= 1
    given.write_bytes(data)
    assert cli.main(["pack", "import", str(given)]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert cli.main(["pack", "import", str(tmp_path / "none.zip")]) == 2
    assert "is not there" in capsys.readouterr().err
    assert not list(cache.glob("imported/*"))


def test_a_build_refuses_a_pack_of_another_release(tmp_path: Path) -> None:
    given = small_pack(tmp_path / "given.zip", solofile="0.0.9")
    with pytest.raises(BadInput, match=r"cannot be used: it was made by solofile 0\.0\.9"):
        commands.find_packs(BuildRequest(PathSource(tmp_path / "model.gguf")), given)


def test_a_wheel_is_installed_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip itself, into a folder that is on the path."""
    given = small_pack(tmp_path / "given.zip")
    with Pack.open(given) as pack:
        wheel = write_wheel(pack, tmp_path / "wheels")
        first = wheel.read_bytes()
        assert write_wheel(pack, tmp_path / "wheels").read_bytes() == first, "the same pack gave other bytes"
    assert wheel.name == f"solofile_pack_linux_aarch64-{__version__}-py3-none-any.whl"
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", f"--target={site}", str(wheel)]
    subprocess.run([*command, "--quiet", "--disable-pip-version-check"], check=True, timeout=120)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"solofile_packs/{TARGET}/pack.zip") == given.read_bytes()
    assert find() == (None, [])
    monkeypatch.syspath_prepend(str(site))
    found, notes = find()
    assert found is not None and notes == []
    with found:
        assert found.path == site / "solofile_packs" / TARGET / "pack.zip"


def test_without_network_and_without_a_pack(solofile: list[str], tmp_path: Path, cache: Path) -> None:
    """One sentence, and no half-made folder."""
    environment = {**os.environ, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    environment |= {"PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    environment |= {"PIP_FIND_LINKS": "", "SOLOFILE_BUILD_CACHE": str(cache)}
    command = [*solofile, "pack", "build", "--target", TARGET]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("solofile: pip could not fetch ")
    assert last.endswith("or take in a pack that was made elsewhere, by “solofile pack import” or --pack.")
    left = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pack", "build", "--target", "linux-aarch46"]) == 2
    assert "Unknown target linux-aarch46: did you mean linux-aarch64?" in capsys.readouterr().err
    assert cli.main(["pack", "build", "--target", TARGET, "--kernels", "host"]) == 2
    assert "The kernels of host are those of this machine" in capsys.readouterr().err


def test_import_is_whole_or_not_at_all(tmp_path: Path, cache: Path) -> None:
    """A second pack that is refused leaves the first one."""
    first = small_pack(tmp_path / "first.zip")
    pack_store.import_pack(first, hashlib.sha256(first.read_bytes()).hexdigest())
    with pytest.raises(BadInput):
        pack_store.import_pack(small_pack(tmp_path / "second.zip", solofile="9"), None)
    assert (cache / "imported" / f"{TARGET}.zip").read_bytes() == first.read_bytes()
