"""Keys and signatures in minisign's format: by our own commands, and with minisign itself in both directions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.builder import minisign_keys
from solofile.builder.cli import main
from solofile.builder.errors import BadKey, BadSignature
from solofile.builder.minisign import check_signature, read_signature
from solofile.builder.minisign_keys import SecretKey, read_public_key, read_secret_key, write_keys
from solofile.runtime.container import Bundle

QUICK = (1 << 19, 1 << 24)
"""Limits of scrypt that take milliseconds."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(minisign_keys, "OPSLIMIT", QUICK[0])
    monkeypatch.setattr(minisign_keys, "MEMLIMIT", QUICK[1])
    (folder / "password").write_text("correct horse\n")
    return folder


@pytest.fixture
def keys(folder: Path) -> Path:
    assert main(["keygen", "-o", "our.key", "--unencrypted"]) == 0
    return folder / "our.key"


@pytest.fixture
def signed(gguf_path: Path, pack_path: Path, folder: Path, keys: Path) -> Path:
    assert main(["build", str(gguf_path), "--pack", str(pack_path), "-o", "x.exe", "--sign", str(keys)]) == 0
    return folder / "x.exe"


def minisign(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    if not shutil.which("minisign"):
        pytest.skip("minisign is not installed")
    return subprocess.run(["minisign", *words], input=typed, capture_output=True, text=True, check=False)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_build_signs_and_verify_checks(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "x.exe", "--public-key", "our.pub"]) == 0
    out = capsys.readouterr().out
    with Bundle.open(signed) as bundle:
        assert f"file:x.exe, hashed, solofile:{bundle.digest}" in out
    word = Path("our.pub").read_text().splitlines()[1]
    assert main(["verify", "x.exe", "--public-key", word, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and "file:x.exe" in document["signature"]["trusted_comment"]
    shutil.move("x.exe.minisig", "elsewhere")
    assert main(["verify", "x.exe", "--public-key", word, "--signature", "elsewhere"]) == 0
    assert main(["verify", "x.exe", "--public-key", word]) == 2
    assert "x.exe.minisig cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("signed")
def test_minisign_accepts_our_signature() -> None:
    done = minisign("-V", "-p", "our.pub", "-m", "x.exe")
    assert done.returncode == 0, done.stderr
    assert "Signature and comment signature verified" in done.stdout
    assert "solofile:" in done.stdout


@pytest.mark.usefixtures("signed")
def test_we_accept_the_signature_of_minisign(capsys: pytest.CaptureFixture[str]) -> None:
    assert minisign("-G", "-W", "-p", "their.pub", "-s", "their.key").returncode == 0
    assert minisign("-S", "-s", "their.key", "-m", "x.exe", "-t", "by hand, with a ü").returncode == 0
    assert main(["verify", "x.exe", "--public-key", "their.pub"]) == 0
    assert "by hand, with a ü" in capsys.readouterr().out
    assert main(["verify", "x.exe", "--public-key", "our.pub"]) == 2
    assert "was made with the key" in capsys.readouterr().err


@pytest.mark.usefixtures("signed")
def test_minisign_signs_with_our_key() -> None:
    assert minisign("-S", "-W", "-s", "our.key", "-m", "x.exe").returncode == 0
    assert main(["verify", "x.exe", "--public-key", "our.pub"]) == 0
    assert main(["keygen", "-o", "locked.key", "--password-file", "password"]) == 0
    done = minisign("-S", "-s", "locked.key", "-m", "x.exe", typed="correct horse\n")
    assert done.returncode == 0, done.stderr
    assert main(["verify", "x.exe", "--public-key", "locked.pub"]) == 0
    assert minisign("-S", "-s", "locked.key", "-m", "x.exe", typed="wrong\n").returncode != 0


@pytest.mark.usefixtures("signed")
def test_we_sign_with_the_key_of_minisign() -> None:
    """The one with a password takes the gigabyte of memory and the seconds that minisign asks of scrypt."""
    assert minisign("-G", "-W", "-p", "their.pub", "-s", "their.key").returncode == 0
    assert main(["sign", "x.exe", "--key", "their.key"]) == 0
    assert minisign("-V", "-p", "their.pub", "-m", "x.exe").returncode == 0
    done = minisign("-G", "-p", "slow.pub", "-s", "slow.key", typed="correct horse\ncorrect horse\n")
    assert done.returncode == 0, done.stderr
    assert main(["sign", "x.exe", "--key", "slow.key", "--password-file", "password"]) == 0
    assert minisign("-V", "-p", "slow.pub", "-m", "x.exe").returncode == 0


def test_keys_under_a_password(folder: Path, signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "-o", "locked", "--password-file", "password"]) == 0
    assert (folder / "locked").stat().st_mode & 0o777 == 0o600
    assert "minisign encrypted secret key" in (folder / "locked").read_text()
    key = read_secret_key(folder / "locked", b"correct horse")
    assert key.public == read_public_key("locked.pub")
    assert key.seed not in base64.b64decode((folder / "locked").read_text().splitlines()[1])
    with pytest.raises(BadKey, match="password is not that of the key"):
        read_secret_key(folder / "locked", b"wrong")
    assert main(["sign", str(signed), "--key", "locked", "--password-file", "password"]) == 0
    assert main(["verify", "x.exe", "--public-key", "locked.pub"]) == 0
    capsys.readouterr()
    (folder / "password").write_text("wrong")
    assert main(["sign", str(signed), "--key", "locked", "--password-file", "password"]) == 2
    assert main(["sign", str(signed), "--key", "locked"]) == 2
    assert "no terminal to ask for a password" in capsys.readouterr().err


def test_keys_are_not_overwritten(keys: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = keys.read_bytes()
    assert main(["keygen", "-o", "our.key", "--unencrypted"]) == 2
    (folder / "other.pub").touch()
    assert main(["keygen", "-o", "other.key", "--unencrypted"]) == 2
    assert "other.pub exists" in capsys.readouterr().err
    assert main(["keygen", "-o", "third.key"]) == 2
    assert keys.read_bytes() == before
    assert not (folder / "other.key").exists() and not (folder / "third.key").exists()


def swapped(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def reencoded(path: Path, line: int, offset: int) -> None:
    raw = bytearray(base64.b64decode(path.read_text().splitlines()[line]))
    raw[offset] ^= 1
    swapped(path, line, base64.b64encode(raw).decode())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: flip(path, 10), "is not the file that x.exe.minisig was made for"),
        (lambda _: swapped(Path("x.exe.minisig"), 2, "trusted comment: timestamp:1"), "its comment was changed"),
        (lambda _: reencoded(Path("x.exe.minisig"), 1, 20), "was not made with the key"),
        (lambda _: reencoded(Path("x.exe.minisig"), 1, 3), "was made with the key"),
        (lambda _: reencoded(Path("x.exe.minisig"), 3, 20), "was not made with the key"),
        (lambda _: reencoded(Path("x.exe.minisig"), 1, 1), "made in a way that is not known"),
        (lambda _: swapped(Path("x.exe.minisig"), 1, "Zm9v"), "is no signature of minisign"),
        (lambda _: swapped(Path("x.exe.minisig"), 2, "comment: x"), "is no signature of minisign"),
        (lambda _: Path("x.exe.minisig").write_bytes(b"\xff\n\n\n\n"), "is no signature of minisign"),
        (lambda _: Path("x.exe.minisig").write_text(""), "is no signature of minisign"),
        (lambda _: Path("our.pub").write_text(""), "our.pub is empty"),
        (lambda _: shutil.copy("our.key", "our.pub"), "is no public key"),
        (lambda _: Path("our.pub").unlink(), "neither the file of a public key nor one in Base64"),
    ],
)
def test_what_is_not_proven_is_refused(
    signed: Path, change: Callable[[Path], object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(signed)
    for form in ([], ["--json"]):
        assert main(["verify", "x.exe", "--public-key", "our.pub", *form]) == 2
        assert says in "".join(capsys.readouterr())


def test_legacy_signature(signed: Path) -> None:
    done = minisign("-S", "-l", "-W", "-s", "our.key", "-m", "x.exe")
    assert done.returncode == 0, done.stderr
    with pytest.raises(BadSignature, match="of an old minisign"):
        read_signature(signed.with_name("x.exe.minisig"))


def test_another_bundle_does_not_pass(signed: Path, gguf_path: Path, pack_path: Path, folder: Path) -> None:
    words = ["build", str(gguf_path), "--pack", str(pack_path), "-o", "y.exe", "--title", "Another"]
    assert main(words) == 0
    signature = read_signature(signed.with_name("x.exe.minisig"))
    with Bundle.open(folder / "y.exe") as bundle, pytest.raises(BadSignature, match="is not the file"):
        check_signature(bundle, signature, read_public_key("our.pub"), lambda _: None)


def test_damaged_bundle_is_not_signed(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(signed, 10)
    Path("x.exe.minisig").unlink()
    assert main(["sign", "x.exe", "--key", "our.key"]) == 2
    assert "launcher" in capsys.readouterr().err
    assert not Path("x.exe.minisig").exists()


@pytest.mark.usefixtures("signed")
def test_new_bundle_beside_an_old_signature(pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "x.exe", "-o", "x.exe", "--title", "T"]) == 0
    assert "x.exe.minisig is not of this file: sign it anew" in capsys.readouterr().err
    assert main(["set", "x.exe", "-o", "x.exe", "--title", "U", "--sign", "our.key"]) == 0
    assert main(["verify", "x.exe", "--public-key", "our.pub"]) == 0
    assert main(["upgrade", "x.exe", "-o", "y.exe", "--pack", str(pack_path), "--sign", "our.key"]) == 0
    assert main(["verify", "y.exe", "--public-key", "our.pub"]) == 0
    assert main(["set", "x.exe", "-o", "z.exe", "--title", "V", "--sign", "none.key"]) == 2
    assert not Path("z.exe").exists()


def test_signature_is_reproducible(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689598")
    texts = []
    for _ in range(2):
        assert main(["sign", str(signed), "--key", "our.key"]) == 0
        texts.append(Path("x.exe.minisig").read_text())
    assert texts[0] == texts[1]
    assert "timestamp:1735689598" in texts[0]


def test_hostile_key(folder: Path) -> None:
    """A key that asks for more memory than is sensible is refused before scrypt begins."""
    write_keys(SecretKey.made(), folder / "k", folder / "k.pub", b"x")
    raw = bytearray(base64.b64decode((folder / "k").read_text().splitlines()[1]))
    raw[46:54] = (1 << 60).to_bytes(8, "little")
    swapped(folder / "k", 1, base64.b64encode(raw).decode())
    with pytest.raises(BadKey, match="asks for"):
        read_secret_key(folder / "k", b"x")


def test_no_cryptography_where_none_is_needed(gguf_path: Path, pack_path: Path, folder: Path) -> None:
    code = (
        "import sys; from solofile.builder.cli import main; code = main()\n"
        "sys.exit(code or any(name.split('.')[0] == 'nacl' for name in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = ["build", str(gguf_path), "--pack", str(pack_path), "-o", str(folder / "n.exe")]
    command = [sys.executable, "-c", code, *words]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


@pytest.mark.usefixtures("signed")
def test_password_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["one", "another", "correct horse", "correct horse", "correct horse"]
    asked = []
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or typed.pop(0))
    assert main(["keygen", "-o", "asked.key"]) == 2
    assert "The two passwords differ" in capsys.readouterr().err
    assert not Path("asked.key").exists()
    assert main(["keygen", "-o", "asked.key"]) == 0
    assert main(["sign", "x.exe", "--key", "asked.key"]) == 0
    assert (len(asked), typed) == (5, [])
    assert main(["verify", "x.exe", "--public-key", "asked.pub"]) == 0
