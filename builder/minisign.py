"""Signatures over files in minisign's format: ``FILE.minisig`` beside ``FILE``, which ``minisign -V`` checks as well.

Four lines: an untrusted comment; ``ED``, key number and signature over the BLAKE2b-512 of the file, in Base64; a
trusted comment; the signature over the first signature and that comment. Ours ends with the digest in the bundle's own
comment (FORMAT.md), ``solofile:<64 hex digits>``: by it one bundle is told from another without reading its weights.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.errors import BadSignature
from solofile.builder.minisign_keys import COMMENT, PublicKey, SecretKey
from solofile.builder.output import replacing
from solofile.runtime.container import Bundle

CHUNK = 1 << 20
PREHASHED, LEGACY = b"ED", b"Ed"
TRUSTED = "trusted comment: "


@dataclass(frozen=True)
class Signature:
    """A signature as it was read; nothing is proven yet."""

    path: Path
    number: bytes
    signature: bytes
    comment: str
    over_comment: bytes


def signature_path(file: Path) -> Path:
    """Where the signature of ``file`` lies."""
    return file.with_name(f"{file.name}.minisig")


def file_digest(bundle: Bundle, on_bytes: Callable[[int], None]) -> bytes:
    """The BLAKE2b-512 of the whole file, which is what is signed."""
    digest = hashlib.blake2b(digest_size=64)
    bundle.read_in_order()
    done = 0
    for chunk in bundle.whole_file():
        digest.update(chunk)
        done += len(chunk)
        on_bytes(done)
    return digest.digest()


def write_signature(bundle: Bundle, key: SecretKey, on_bytes: Callable[[int], None]) -> Path:
    """Sign an open bundle; the path of the signature. SOURCE_DATE_EPOCH stands for the time if it is set."""
    file = Path(bundle.path)
    signature = key.sign(file_digest(bundle, on_bytes))
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    comment = f"timestamp:{stamp}\tfile:{file.name}\thashed\tsolofile:{bundle.digest}"
    lines = [
        f"{COMMENT}signature from minisign secret key {key.public.name}",
        base64.b64encode(PREHASHED + key.number + signature).decode(),
        TRUSTED + comment,
        base64.b64encode(key.sign(signature + comment.encode())).decode(),
    ]
    path = signature_path(file)
    with replacing(path) as output:
        output.write(("\n".join(lines) + "\n").encode())
    return path


def read_signature(path: Path) -> Signature:
    """The signature at ``path``. Raises BadSignature."""
    try:
        with path.open("rb") as file:
            lines = file.read(65_536).decode("utf-8").splitlines()
        first, over_comment = (base64.b64decode(lines[index].strip(), validate=True) for index in (1, 3))
    except OSError as error:
        raise BadSignature(f"The signature {path} cannot be read: {error.strerror}.") from error
    except (IndexError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise BadSignature(f"{path} is no signature of minisign: have the file signed again.") from error
    if not lines[2].startswith(TRUSTED) or len(first) != 74 or len(over_comment) != 64:
        raise BadSignature(f"{path} is no signature of minisign: have the file signed again.")
    if first.startswith(LEGACY):
        raise BadSignature(
            f"{path} is of an old minisign, which does not hash the file first: have it signed by 0.10 or a later one."
        )
    if not first.startswith(PREHASHED):
        raise BadSignature(f"{path} is made in a way that is not known here: have the file signed again.")
    return Signature(path, first[2:10], first[10:], lines[2].removeprefix(TRUSTED), over_comment)


def check_signature(bundle: Bundle, signature: Signature, key: PublicKey, on_bytes: Callable[[int], None]) -> None:
    """Check that ``signature`` is one of ``key`` over the whole file and its comment. Raises BadSignature."""
    if signature.number != key.number:
        other = PublicKey(signature.number, b"").name
        raise BadSignature(
            f"{signature.path} was made with the key {other}, not with {key.name}: ask for its public key."
        )
    if not key.proves(signature.signature + signature.comment.encode(), signature.over_comment):
        raise BadSignature(f"{signature.path} was not made with the key {key.name}, or its comment was changed.")
    if not key.proves(file_digest(bundle, on_bytes), signature.signature):
        raise BadSignature(
            f"{bundle.path} is not the file that {signature.path} was made for with the key {key.name}: do not use it."
        )
