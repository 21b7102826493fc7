"""Ed25519 keys in the files of minisign (https://jedisct1.github.io/minisign/), which so can be used in its place.

A public key is ``Ed``, 8 bytes of key number, 32 bytes of key. A secret key is ``Ed``, ``Sc`` or two zeros where it has
no password, ``B2``, 32 bytes of salt, two limits of scrypt, 8 bytes each, and 104 bytes under scrypt's stream: key
number, seed, public key, BLAKE2b-256 over ``Ed`` and these three. All numbers are little-endian, the file is one line
of comment and one of Base64. The cryptography is libsodium's (PyNaCl), as minisign's is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey
from solofile.builder.errors import BadKey
from solofile.builder.output import replacing

ALGORITHM = b"Ed"
OPSLIMIT, MEMLIMIT = pwhash.scrypt.OPSLIMIT_SENSITIVE, pwhash.scrypt.MEMLIMIT_SENSITIVE
"""What minisign asks of scrypt: 1 GiB of memory and some seconds."""

LARGEST_MEMLIMIT = 4 << 30
COMMENT = "untrusted comment: "

_SECRET = struct.Struct("<2s2s2s32sQQ104s")
_PLAIN = b"\0\0"
_SCRYPT = b"Sc"


@dataclass(frozen=True)
class PublicKey:
    """A public key; ``number`` tells keys apart and proves nothing."""

    number: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The number as minisign writes it."""
        return self.number[::-1].hex().upper()

    @property
    def base64(self) -> str:
        """The key as one word, as ``minisign -P`` takes it."""
        return base64.b64encode(ALGORITHM + self.number + self.key).decode()

    def proves(self, message: bytes, signature: bytes) -> bool:
        """Was ``signature`` made over ``message`` with the secret half?"""
        try:
            VerifyKey(self.key).verify(message, signature)
        except (CryptoError, ValueError):
            return False
        return True


@dataclass(frozen=True, repr=False)
class SecretKey:
    """A secret key."""

    number: bytes
    seed: bytes

    @classmethod
    def made(cls) -> SecretKey:
        """A new one, from the system's random numbers."""
        return cls(os.urandom(8), bytes(SigningKey.generate()))

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.number, bytes(SigningKey(self.seed).verify_key))

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``, 64 bytes."""
        return SigningKey(self.seed).sign(message).signature


def read_public_key(given: str) -> PublicKey:
    """The key in the file ``given``, or the one that ``given`` itself is in Base64. Raises BadKey."""
    path = Path(given)
    raw = _payload(_read(path), path) if path.is_file() else _decoded(given)
    if raw is None and not path.is_file():
        raise BadKey(f"{given} is neither the file of a public key nor one in Base64: name the .pub file.")
    if raw is None or len(raw) != 42 or not raw.startswith(ALGORITHM):
        raise BadKey(f"{given} is no public key of minisign: give the file that “solofile keygen” wrote, the .pub one.")
    return PublicKey(raw[2:10], raw[10:])


def needs_password(path: Path) -> bool:
    """Is the secret key at ``path`` kept under a password? Raises BadKey."""
    return _fields(path)[1] == _SCRYPT


def read_secret_key(path: Path, password: bytes | None) -> SecretKey:
    """The secret key at ``path``. Raises BadKey, for a wrong password too."""
    _, kdf, _, salt, ops, memory, body = _fields(path)
    if kdf == _SCRYPT:
        body = _under(body, password or b"", salt, ops, memory, path)
    number, seed, public, check = body[:8], body[8:40], body[40:72], body[72:]
    if kdf == _SCRYPT and check != _check(body[:72]):
        raise BadKey(f"The password is not that of the key {path}: try again.")
    key = SecretKey(number, seed)
    if key.public.key != public:
        raise BadKey(f"The key {path} is damaged: its public half is not that of its secret one.")
    return key


def write_keys(key: SecretKey, secret: Path, public: Path, password: bytes | None) -> None:
    """Write both files, the secret one for this user alone. Raises BadKey where scrypt gets no memory, OSError."""
    body = key.number + key.seed + key.public.key
    if password is None:
        raw = _SECRET.pack(ALGORITHM, _PLAIN, b"B2", bytes(32), 0, 0, body + bytes(32))
    else:
        salt = os.urandom(32)
        body = _under(body + _check(body), password, salt, OPSLIMIT, MEMLIMIT, secret)
        raw = _SECRET.pack(ALGORITHM, _SCRYPT, b"B2", salt, OPSLIMIT, MEMLIMIT, body)
    kind = "unencrypted" if password is None else "encrypted"
    _write(secret, f"minisign {kind} secret key", base64.b64encode(raw).decode(), 0o600)
    try:
        _write(public, f"minisign public key {key.public.name}", key.public.base64, 0o644)
    except BaseException:
        secret.unlink(missing_ok=True)  # half a pair is of no use
        raise


def _write(path: Path, comment: str, payload: str, mode: int) -> None:
    with replacing(path, mode=mode) as file:
        if os.name == "posix":
            os.fchmod(file.fileno(), mode)  # before there is a secret in it
        file.write(f"{COMMENT}{comment}\n{payload}\n".encode())


def _fields(path: Path) -> tuple[bytes, bytes, bytes, bytes, int, int, bytes]:
    raw = _payload(_read(path), path)
    if raw is None or len(raw) != _SECRET.size or not raw.startswith(ALGORITHM) or raw[2:4] not in (_PLAIN, _SCRYPT):
        raise BadKey(f"{path} is no secret key of minisign: give the file that “solofile keygen” wrote.")
    fields: tuple[bytes, bytes, bytes, bytes, int, int, bytes] = _SECRET.unpack(raw)
    if fields[5] > LARGEST_MEMLIMIT:
        raise BadKey(f"The key {path} asks for {fields[5]} bytes of memory to be opened: make another.")
    return fields


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(ALGORITHM + body, digest_size=32).digest()


def _under(body: bytes, password: bytes, salt: bytes, ops: int, memory: int, path: Path) -> bytes:
    """``body`` with scrypt's stream over it, or with the one that is over it taken off."""
    try:
        stream = pwhash.scrypt.kdf(len(body), password, salt, ops, memory)
    except (CryptoError, MemoryError) as error:
        raise BadKey(
            f"The password of {path} needs {memory >> 20} MiB of memory that are not free: free some."
        ) from error
    return bytes(one ^ other for one, other in zip(body, stream, strict=True))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace")
    except OSError as error:
        raise BadKey(f"The key {path} cannot be read: {error.strerror}.") from error


def _payload(text: str, path: Path) -> bytes | None:
    """The bytes of the second line, or of the only one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadKey(f"The key {path} is empty.")
    return _decoded(lines[1] if lines[0].startswith(COMMENT) and len(lines) > 1 else lines[0])


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
