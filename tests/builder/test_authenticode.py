"""A signature for Windows, added to a finished bundle: found, named, and no reason to distrust the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from runners import Runner
from solofile.builder.authenticode import parse
from solofile.builder.build import model_entry
from solofile.builder.gguf_check import check_model
from solofile.builder.launcher import build_launcher
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle
from solofile.runtime import authenticode, integrity
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle
from solofile.runtime.manifest import LlamaCpp
from tiny_model import write_tiny_model

TARGET = "windows-x86_64"
SIGNER = "Solofile Test – Prüfstelle"

pytestmark = pytest.mark.skipif(
    not (shutil.which("osslsigncode") and shutil.which("openssl")), reason="needs osslsigncode and openssl"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the real launcher, a file for a runtime and a tiny model."""
    folder = tmp_path_factory.mktemp("plain")
    facts = PackFacts(TARGET, "Windows 10", "3.11", LlamaCpp("0.5.0", "0" * 40, "llama-cpp-python"), ("x64",))
    files = [PackSource(f"runtime/{TARGET}/solofile-runtime.exe", b"MZ no program", 0o755)]
    files.append(PackSource(f"native/{TARGET}/ggml-cpu-x64.dll", b"MZ no library", 0o755))
    write_pack(folder / "pack.zip", facts=facts, launcher=build_launcher(TARGET).read_bytes(), files=files)
    model = write_tiny_model(folder / "tiny.gguf")
    bundle = folder / "tiny.exe"
    with Pack.open(folder / "pack.zip") as pack, bundle.open("xb+", buffering=0) as file:
        found = ModelFile(model_entry(check_model(model), model, None), model)
        write_bundle(BundlePlan("tiny", "tiny", [pack], [found], found.model.path, ""), file, lambda _: None)
    bundle.chmod(0o755)
    return bundle


@pytest.fixture(scope="module")
def signed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, signed by osslsigncode."""
    folder = tmp_path_factory.mktemp("signed")
    key, certificate, output = folder / "key.pem", folder / "certificate.pem", folder / "signed.exe"
    subject = f"/CN={SIGNER}"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-utf8", "-subj", subject]
    command += ["-addext", "extendedKeyUsage=codeSigning", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    sign = ["osslsigncode", "sign", "-certs", str(certificate), "-key", str(key), "-h", "sha256"]
    subprocess.run([*sign, "-in", str(plain), "-out", str(output)], check=True, capture_output=True)
    output.chmod(0o755)
    return output


def test_the_parts_of_a_signed_bundle_are_those_that_were_built(plain: Path, signed: Path, tmp_path: Path) -> None:
    with Bundle.open(plain) as before, Bundle.open(signed) as after:
        assert before.certificates is None and after.certificates is not None
        assert (before.digest, dict(before.parts)) == (after.digest, dict(after.parts))
        assert integrity.verify(after) == []
        integrity.extract(after, tmp_path / "out")
    assert (tmp_path / "out" / "launcher").read_bytes() == build_launcher(TARGET).read_bytes()


def test_verify_names_the_signer(signed: Path, solofile: list[str]) -> None:
    done = subprocess.run([*solofile, "verify", str(signed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "parts are as they were built" in done.stdout
    assert f"signed for Windows by {SIGNER}, over this very file" in done.stdout
    done = subprocess.run([*solofile, "verify", "--json", str(signed)], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["authenticode"] == {"signer": SIGNER}


def test_a_bundle_without_a_signature_has_none(plain: Path, solofile: list[str]) -> None:
    done = subprocess.run([*solofile, "verify", "--json", str(plain)], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["authenticode"] is None


def changed(signed: Path, folder: Path, at: int, value: bytes) -> Path:
    copy = folder / "changed.exe"
    data = bytearray(signed.read_bytes())
    data[at : at + len(value)] = value
    copy.write_bytes(data)
    return copy


def test_a_signature_of_another_file_is_refused(signed: Path, solofile: list[str], tmp_path: Path) -> None:
    with Bundle.open(signed) as bundle:
        table = bundle.certificates
        assert table is not None
        digest = next(iter(bundle.bytes_at(table.offset, table.size)))
    at = table.offset + digest.index(parse(digest).digest)
    other = changed(signed, tmp_path, at, b"\0" * 32)
    done = subprocess.run([*solofile, "verify", str(other)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"has a signature of {SIGNER}, but of another file than this one" in done.stderr


def test_other_bytes_of_the_header_still_count(signed: Path, tmp_path: Path) -> None:
    with Bundle.open(signed) as bundle:
        table = bundle.certificates
    assert table is not None
    other = changed(signed, tmp_path, table.checksum + 4, b"\xff")
    with Bundle.open(other) as bundle:
        assert [damage.path for damage in integrity.verify(bundle)] == ["launcher"]


def test_a_table_that_does_not_end_the_file_is_none(signed: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.exe"
    longer.write_bytes(signed.read_bytes() + b"more")
    with pytest.raises(DamagedBundle, match="does not end with a bundle's end record"):
        Bundle.open(longer)
    assert authenticode.find(b"MZ" + bytes(100), 102) is None
    assert authenticode.find(b"MZ", 2) is None


def test_the_launcher_finds_the_archive_before_the_signature(wine: Runner, signed: Path, tmp_path: Path) -> None:
    done = wine.run(signed, cache=tmp_path / "cache", timeout=60)
    assert "solofile-runtime.exe cannot be started" in done.stderr  # which is no program here
    assert list((tmp_path / "cache" / "packs").glob("*/solofile-runtime.exe"))
