"""The commands that prove what is in a bundle and who made it: inspect, verify, keygen, sign.

What makes signatures is imported only where one is made or checked.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.builder import authenticode
from solofile.builder.errors import BadInput, BadOutput
from solofile.builder.inspect import document, page
from solofile.builder.inspect_tree import tree
from solofile.builder.interrupts import kept
from solofile.builder.progress import Progress, byte_size
from solofile.builder.reporting import add, say
from solofile.runtime import integrity
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle, SolofileError

if TYPE_CHECKING:
    from solofile.builder.minisign import Signature
    from solofile.builder.minisign_keys import SecretKey


def inspect(arguments: argparse.Namespace) -> int:
    """``solofile inspect``."""
    with Bundle.open(arguments.file) as bundle:
        print(_form(arguments)(bundle), end="")
    return 0


def _form(arguments: argparse.Namespace) -> Callable[[Bundle], str]:
    if arguments.sbom:
        from solofile.builder.sbom import sbom

        return sbom
    return document if arguments.json else tree if arguments.tree else page


def verify(arguments: argparse.Namespace) -> int:
    """``solofile verify``: a sentence, one JSON object whatever is found, or the same as the result among events."""
    if not arguments.json and arguments.progress != "json":
        return _verify_said(arguments)
    facts, error = _verified(arguments)
    if arguments.progress == "json":
        add(**facts)
        if error:
            raise error
        print(f"{arguments.file}: all {facts['parts']} parts are as they were built.")
        return 0
    print(json.dumps(facts, indent=1))
    return error.exit_code if error else 0


def _verify_said(arguments: argparse.Namespace) -> int:
    with Bundle.open(arguments.file) as bundle:
        signature = _checked_signature(bundle, arguments)
        damages = _damages(bundle)
        for damage in damages[:-1]:
            print(f"solofile: {damage.what}", file=sys.stderr)
        if damages:
            raise DamagedBundle(damages[-1].what)
        windows = authenticode.read(bundle)
        total = byte_size(integrity.total_bytes(bundle))
        print(f"{arguments.file}: all {len(bundle.parts)} parts are as they were built ({total}).")
        if signature is not None:
            print(f"{signature.path}: signed with the given key; {signature.comment.replace(chr(9), ', ')}.")
        if windows is not None:
            print(
                f"{arguments.file}: signed for Windows by {windows.signer}, over this very file; "
                "whether the certificate is good, Windows says."
            )
    return 0


def _verified(arguments: argparse.Namespace) -> tuple[dict[str, Any], SolofileError | None]:
    """What was found, for a program, and the error of the command without --json."""
    facts: dict[str, Any] = {"path": str(arguments.file), "ok": False, "damaged": [], "error": None, "signature": None}
    facts["authenticode"] = None
    try:
        with Bundle.open(arguments.file) as bundle:
            facts |= {"size": bundle.file_size, "digest": bundle.digest, "parts": len(bundle.parts)}
            facts |= {"bytes": integrity.total_bytes(bundle)}
            signature = _checked_signature(bundle, arguments)
            if signature is not None:
                facts["signature"] = {"path": str(signature.path), "trusted_comment": signature.comment}
            windows = authenticode.read(bundle)
            facts["authenticode"] = None if windows is None else {"signer": windows.signer}
            damages = _damages(bundle)
    except SolofileError as error:
        return facts | {"error": str(error)}, error
    facts |= {"damaged": [damage._asdict() for damage in damages], "ok": not damages}
    return facts, DamagedBundle(damages[-1].what) if damages else None


def _damages(bundle: Bundle) -> list[integrity.Damage]:
    with Progress("Verifying", integrity.total_bytes(bundle)) as shown:
        return integrity.verify(bundle, shown.update)


def _checked_signature(bundle: Bundle, arguments: argparse.Namespace) -> Signature | None:
    """The signature, proven to be one of --public-key over the whole file; None where no key was given."""
    if arguments.public_key is None:
        if arguments.signature is not None:
            raise BadInput("--signature says nothing without the key that it should be by: give --public-key.")
        return None
    from solofile.builder import minisign
    from solofile.builder.minisign_keys import read_public_key

    key = read_public_key(arguments.public_key)
    signature = minisign.read_signature(arguments.signature or minisign.signature_path(arguments.file))
    with Progress("Checking the signature", bundle.file_size) as shown:
        minisign.check_signature(bundle, signature, key, shown.update)
    return signature


def keygen(arguments: argparse.Namespace) -> int:
    """``solofile keygen``."""
    from solofile.builder.minisign_keys import SecretKey, write_keys

    secret: Path = arguments.output
    public = secret.with_suffix(".pub") if secret.suffix == ".key" else secret.with_name(f"{secret.name}.pub")
    for path in (secret, public):
        if path.exists() or path.is_symlink():
            raise BadOutput(f"The key {path} exists, and what it has signed needs it: choose another name with -o.")
    if arguments.unencrypted and arguments.password_file:
        raise BadInput("--unencrypted and --password-file do not go together: give one of them.")
    password = None if arguments.unencrypted else _password(arguments, f"New password for {secret}", twice=True)
    key = SecretKey.made()
    try:
        write_keys(key, secret, public, password)
    except OSError as error:
        raise BadOutput(f"The key {secret} could not be written: {error.strerror}.") from error
    print(f"{secret}: the secret key{' (not encrypted)' if password is None else ''}; keep it to yourself.")
    print(f"{public}: the public key {key.public.name}; give it to those who verify, or this: {key.public.base64}")
    return 0


def sign(arguments: argparse.Namespace) -> int:
    """``solofile sign``: only what is sound is signed."""
    key = _secret_key(arguments.key, arguments)
    with Bundle.open(arguments.file) as bundle:
        damages = _damages(bundle)
    if damages:
        raise DamagedBundle(damages[0].what)
    _sign(arguments.file, key)
    return 0


def signer(arguments: argparse.Namespace) -> Callable[[Path], None]:
    """What is to be done with an output once it is written. A key is read, and a password asked for, at once."""
    if arguments.sign is None:
        return _warn_of_old_signature
    key = _secret_key(arguments.sign, arguments)

    def sign_output(path: Path) -> None:
        with kept(f"{path} is whole, but not signed"):
            _sign(path, key)

    return sign_output


def _sign(path: Path, key: SecretKey) -> None:
    from solofile.builder.minisign import write_signature
    from solofile.builder.output import explained

    with Bundle.open(path) as bundle, Progress("Signing", bundle.file_size) as shown, explained(path, 500):
        signature = write_signature(bundle, key, shown.update)
    say(f"{signature}: signed with the key {key.public.name}.", signature=str(signature))


def _warn_of_old_signature(path: Path) -> None:
    old = path.with_name(f"{path.name}.minisig")
    if old.exists():
        Progress(path.name, None).note(f"solofile: {old} is not of this file: sign it anew, or remove that.")


def _secret_key(path: Path, arguments: argparse.Namespace) -> SecretKey:
    from solofile.builder.minisign_keys import needs_password, read_secret_key

    password = _password(arguments, f"Password of {path}") if needs_password(path) else None
    return read_secret_key(path, password)


def _password(arguments: argparse.Namespace, prompt: str, *, twice: bool = False) -> bytes:
    """The password of a key: the first line of a file, or asked for."""
    if arguments.password_file is not None:
        try:
            return bytes(arguments.password_file.read_bytes().split(b"\n")[0].rstrip(b"\r"))
        except OSError as error:
            raise BadInput(f"The password in {arguments.password_file} cannot be read: {error.strerror}.") from error
    if not sys.stdin.isatty():
        other = ", or make a key without one by --unencrypted" if twice else ""
        raise BadInput(f"There is no terminal to ask for a password: give it with --password-file{other}.")
    password = getpass.getpass(f"{prompt}: ")
    if twice and getpass.getpass("The same once more: ") != password:
        raise BadInput("The two passwords differ: run the command again.")
    return password.encode()
