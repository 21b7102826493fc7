"""What a signature for Windows says: who made it, and whether it is over this very file.

The signature is a message of PKCS #7 (RFC 2315) whose content is the SHA-256 of the file without what signing changes
("Windows Authenticode Portable Executable Signature Format"). Its certificates are for Windows to judge, and its
cryptography is not checked here: that it is of this file is found out, and whom it names.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from solofile.runtime.authenticode import Table
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle

SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
COMMON_NAME = bytes.fromhex("550403")
SHA256 = bytes.fromhex("608648016503040201")
_OID, _INTEGER, _FIRST = 0x06, 0x02, 0xA0
_PKCS7 = 2


@dataclass(frozen=True)
class Authenticode:
    """A signature: the ``signer`` that its certificate names, and the digest that it is over."""

    signer: str
    digest: bytes


def read(bundle: Bundle) -> Authenticode | None:
    """The signature of a bundle, found to be of this file; None where there is none. Raises DamagedBundle."""
    table = bundle.certificates
    if table is None:
        return None
    data = b"".join(bundle.bytes_at(table.offset, table.size))
    try:
        found = parse(data)
    except (ValueError, IndexError, struct.error) as error:
        raise DamagedBundle(f"{bundle.path} has a signature that cannot be read: have it signed again.") from error
    if found.digest != file_digest(bundle, table):
        raise DamagedBundle(
            f"{bundle.path} has a signature of {found.signer}, but of another file than this one: do not start it."
        )
    return found


def file_digest(bundle: Bundle, table: Table) -> bytes:
    """The SHA-256 that a signature of this file is over: without the fields of the header, and the signature itself."""
    digest = hashlib.sha256()
    at = 0
    for offset, length in (*table.fields, (table.offset, 0)):
        for chunk in bundle.bytes_at(at, offset - at):
            digest.update(chunk)
        at = offset + length
    return digest.digest()


def parse(table: bytes) -> Authenticode:
    """Read the first signature of a table of certificates. Raises ValueError, IndexError, struct.error."""
    length, _, kind = struct.unpack_from("<IHH", table)
    if kind != _PKCS7 or length > len(table):
        raise ValueError("no PKCS #7")
    message = _children(_only(table[8:length]))
    if message[0] != (_OID, SIGNED_DATA):
        raise ValueError("no signed data")
    parts = _children(_only(message[1][1]))
    content = _children(parts[2][1])
    indirect = _children(_only(content[1][1]))
    digest_info = _children(indirect[1][1])
    algorithm = _children(digest_info[0][1])[0]
    if algorithm != (_OID, SHA256):
        raise ValueError("another digest than SHA-256")
    certificates = next((value for tag, value in parts[3:] if tag == _FIRST), b"")
    signer = _children(_children(parts[-1][1])[0][1])
    serial = _children(signer[1][1])[1][1]
    return Authenticode(_name(certificates, serial), digest_info[1][1])


def _name(certificates: bytes, serial: bytes) -> str:
    """The common name in the certificate of that serial number."""
    for _, certificate in _elements(certificates):
        fields = _children(_children(certificate)[0][1])
        fields = fields[1:] if fields[0][0] == _FIRST else fields
        if fields[0] != (_INTEGER, serial):
            continue
        for _, names in _elements(fields[4][1]):
            for _, pair in _elements(names):
                oid, value = _children(pair)[:2]
                if oid == (_OID, COMMON_NAME):
                    return value[1].decode("utf-16-be" if value[0] == 0x1E else "utf-8", "replace")
    raise ValueError("no certificate of the signer")


def _only(data: bytes) -> bytes:
    return next(_elements(data))[1]


def _children(data: bytes) -> list[tuple[int, bytes]]:
    return list(_elements(data))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of DER: tag and contents."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("an element is cut short")
        yield tag, data[at : at + size]
        at += size
