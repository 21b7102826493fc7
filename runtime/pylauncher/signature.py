"""``--require-signature KEY`` and ``--public-key KEY``, as runtime/launcher/signature.zig checks them.

The file ``<bundle>.minisig`` beside the bundle has to say, signed with KEY, that this is the one: it names the digest
of the manifest and the directory, so no weights are read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from solofile.runtime.errors import InputError
from solofile.runtime.pylauncher.bundle_file import BundleFile

REQUIRED, PUBLIC_KEY = "--require-signature", "--public-key"
_TRUSTED = "trusted comment: "
_TOKEN = "solofile:"
_LIMIT = 16 << 10


def check(bundle: BundleFile, words: Sequence[str], say: Callable[[str], None]) -> None:
    """Look for the two options, and check the signature for every one that is there. Raises InputError."""
    for option, key in _asked(words):
        comment = _proven(bundle, option, key)
        if option == PUBLIC_KEY:
            say(f"signed with the given key: {comment}.")


def _asked(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options with their values; the runtime takes ``_`` for ``-`` too."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = name[:2] + name[2:].replace("_", "-")
        if name in (REQUIRED, PUBLIC_KEY):
            yield name, value if equals else "".join(words[index + 1 : index + 2])


def _proven(bundle: BundleFile, option: str, key: str) -> str:
    """The trusted comment, once it is proven to be signed with ``key`` and to mean this file."""
    from solofile.runtime.pylauncher.ed25519 import is_signed

    public = _decoded(42, key)
    if public is None or not public.startswith(b"Ed"):
        raise InputError(f"{option} needs a public key of minisign; give the second line of the .pub file.")
    path = f"{bundle.path}.minisig"
    lines = [line.rstrip("\r") for line in _contents(path, option).split("\n")] + [""] * 4
    first, comment, over_comment = _decoded(74, lines[1]), lines[2], _decoded(64, lines[3])
    if first is None or over_comment is None or not comment.startswith(_TRUSTED) or not first.startswith(b"ED"):
        raise InputError(f"{path} is no signature of minisign; have the bundle signed again.")
    comment = comment.removeprefix(_TRUSTED)
    message = first[10:] + comment.encode("utf-8", "surrogateescape")
    if first[2:10] != public[2:10] or not is_signed(message, over_comment, public[10:]):
        raise InputError(f"{path} was not made with the key that was given; do not start this bundle.")
    digest = next((word for word in comment.split("\t") if word.startswith(_TOKEN)), None)
    if digest is None:
        raise InputError(
            f"{path} does not hold the digest by which a start can check it; check it with "
            "`solofile verify --public-key`."
        )
    if digest.removeprefix(_TOKEN) != bundle.digest:
        raise InputError(f"{path} is of another file than this one; do not start this bundle.")
    return comment.replace("\t", " ")


def _decoded(size: int, text: str) -> bytes | None:
    """Exactly ``size`` bytes out of Base64; None for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size else None


def _contents(path: str, option: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(
            f"The signature {path} cannot be read ({error.strerror}); put it there, or start without {option}."
        ) from error
