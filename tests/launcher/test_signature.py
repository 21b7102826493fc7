"""--require-signature: the launcher starts nothing that is not signed with the key that was given."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.builder.minisign_keys import SecretKey
from synthetic_bundle import Run, Synthetic, run


@pytest.fixture(scope="module")
def key() -> SecretKey:
    return SecretKey.made()


@pytest.fixture
def start(bundle: Synthetic, cache: Path) -> Callable[..., Run]:
    return lambda *words: run([bundle.path, *words], {"SOLOFILE_CACHE": cache})


def digest_of(path: Path) -> str:
    return path.read_bytes()[-64:].decode()


def signature_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.minisig")


def sign(path: Path, key: SecretKey, comment: str | None = None, algorithm: bytes = b"ED") -> None:
    """Sign as builder/minisign.py does, which only takes bundles with a real manifest."""
    said = f"timestamp:1\tfile:{path.name}\thashed\tsolofile:{digest_of(path)}" if comment is None else comment
    first = key.sign(hashlib.blake2b(path.read_bytes()).digest())
    lines = [
        "untrusted comment: x",
        base64.b64encode(algorithm + key.number + first).decode(),
        f"trusted comment: {said}",
        base64.b64encode(key.sign(first + said.encode())).decode(),
    ]
    signature_of(path).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("form", ["--require-signature {}", "--require-signature={}", "--require_signature {}"])
def test_signed_bundle_starts(bundle: Synthetic, key: SecretKey, start: Callable[..., Run], form: str) -> None:
    sign(bundle.path, key)
    words = form.format(key.public.base64).split()
    started = start("show", *words)
    assert (started.code, started.err) == (0, "")
    assert started.arguments[1:] == ["show", *words]


def test_public_key_says_what_is_signed(bundle: Synthetic, key: SecretKey, start: Callable[..., Run]) -> None:
    sign(bundle.path, key)
    started = start("--verify", "--public-key", key.public.base64)
    assert started.code == 0
    assert started.err == (
        f"solofile: signed with the given key: timestamp:1 file:probe.exe hashed solofile:{digest_of(bundle.path)}.\n"
    )


def test_lines_that_end_as_in_windows(bundle: Synthetic, key: SecretKey, start: Callable[..., Run]) -> None:
    sign(bundle.path, key)
    path = signature_of(bundle.path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert start("--require-signature", key.public.base64).code == 0


def reencode(path: Path, line: int, offset: int) -> None:
    lines = path.read_text().splitlines()
    raw = bytearray(base64.b64decode(lines[line]))
    raw[offset] ^= 1
    lines[line] = base64.b64encode(raw).decode()
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda bundle, _: signature_of(bundle.path).unlink(), "cannot be read"),
        (lambda bundle, _: signature_of(bundle.path).write_text(""), "is no signature of minisign"),
        (lambda bundle, _: signature_of(bundle.path).write_bytes(b"\0" * 100_000), "is no signature of minisign"),
        (lambda bundle, _: signature_of(bundle.path).write_bytes(b"\n" * 100_000), "is no signature of minisign"),
        (lambda bundle, _: reencode(signature_of(bundle.path), 1, 1), "is no signature of minisign"),
        (lambda bundle, _: reencode(signature_of(bundle.path), 1, 5), "was not made with the key"),
        (lambda bundle, _: reencode(signature_of(bundle.path), 1, 30), "was not made with the key"),
        (lambda bundle, _: reencode(signature_of(bundle.path), 3, 5), "was not made with the key"),
        (lambda bundle, _: reencode(signature_of(bundle.path), 3, 63), "was not made with the key"),
        (lambda bundle, _: sign(bundle.path, SecretKey.made()), "was not made with the key"),
        (lambda bundle, key: sign(bundle.path, SecretKey(key.number, b"7" * 32)), "was not made with the key"),
        (lambda bundle, key: sign(bundle.path, key, "solofile:" + "0" * 64), "is of another file"),
        (lambda bundle, key: sign(bundle.path, key, "solofile:" + digest_of(bundle.path)[:-1]), "is of another file"),
        (lambda bundle, key: sign(bundle.path, key, "by hand"), "does not hold the digest"),
        (lambda bundle, key: sign(bundle.path, key, algorithm=b"Ed"), "is no signature of minisign"),
    ],
)
@pytest.mark.parametrize("option", ["--require-signature", "--public-key"])
def test_anything_else_does_not_start(
    bundle: Synthetic, key: SecretKey, start: Callable[..., Run], option: str, change: Callable[..., object], says: str
) -> None:
    sign(bundle.path, key)
    change(bundle, key)
    started = start("show", option, key.public.base64)
    assert (started.code, started.out) == (2, "")
    assert says in started.err
    assert started.err.count("\n") == 1
    assert start("show").code == 0  # who does not ask is not kept from it


@pytest.mark.parametrize("given", ["", "x", "RWQ", "A" * 56, "UldR" + "A" * 52])
def test_key_that_is_none(bundle: Synthetic, key: SecretKey, start: Callable[..., Run], given: str) -> None:
    sign(bundle.path, key)
    started = start("show", "--require-signature", given)
    assert (started.code, started.out) == (2, "")
    assert "needs a public key of minisign" in started.err or "was not made with the key" in started.err
    assert start("show", "--require-signature").code == 2


def test_each_one_that_is_given_counts(bundle: Synthetic, key: SecretKey, start: Callable[..., Run]) -> None:
    """The runtime lets the last one win; here none is passed over."""
    sign(bundle.path, key)
    other = SecretKey.made().public.base64
    for keys in ((key.public.base64, other), (other, key.public.base64)):
        assert start("--require-signature", keys[0], "--require-signature", keys[1]).code == 2


def test_changed_manifest_is_not_what_was_signed(bundle: Synthetic, key: SecretKey, start: Callable[..., Run]) -> None:
    """Rewritten with every digest right, as an attacker would."""
    sign(bundle.path, key)
    data = bundle.path.read_bytes()
    manifest = bundle.members["solofile.json"]
    directory = data[bundle.directory : data.rindex(b"PK\6\6")]
    changed = data[manifest.data_offset : manifest.end].replace(b"probe", b"prove")
    crc = zlib.crc32(changed).to_bytes(4, "little")
    header = bytearray(data[manifest.header_offset : manifest.data_offset])
    header[14:18] = crc
    entry = directory.rindex(b"PK\1\2")
    directory = directory[: entry + 16] + crc + directory[entry + 20 :]
    digest = hashlib.sha256(changed + directory).hexdigest().encode()
    tail = data[data.rindex(b"PK\6\6") : -64] + digest
    bundle.path.write_bytes(data[: manifest.header_offset] + header + changed + directory + tail)
    assert start("show").code == 0
    started = start("show", "--require-signature", key.public.base64)
    assert (started.code, started.out) == (2, "")
    assert "is of another file" in started.err
