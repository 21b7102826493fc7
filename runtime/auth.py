"""API keys, as llama-server takes them: ``Authorization: Bearer KEY``, or Anthropic's ``X-Api-Key: KEY``.

A file of keys (--api-key-file) has one key a line, and behind it what its holder may do; without any of these words the
holder may do as much as the server can. Empty lines and lines that begin with ``#`` are passed over::

    # a name for logs and metrics, requests a minute, tokens a minute (prompt and answer), requests at once
    k3y-0f-the-lab   name=lab  requests=60  tokens=40000  concurrent=4
    sha256:9f86d0…   name=guests  concurrent=1

A key that is written as ``sha256:`` and the 64 hexadecimal digits of its SHA-256 is not in the file at all.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime.errors import InputError, UnknownName

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

PUBLIC_PATHS = frozenset(
    {"/health", "/v1/health", "/ready", "/solofile/status", "/solofile/events", "/solofile/instance"}
)
"""Open without a key, beside the page's own files; the list of models needs one, as in llama-server."""

_BEARER = "Bearer "
_HASHED = "sha256:"
_LIMITS = ("requests", "tokens", "concurrent")
_NAME_LENGTH = 64


class Key(NamedTuple):
    """A key: the SHA-256 of it, what logs and metrics call it, and its limits, 0 for none.

    ``requests`` and ``tokens`` are for a minute, ``concurrent`` counts requests at once.
    """

    digest: bytes
    name: str
    requests: int = 0
    tokens: int = 0
    concurrent: int = 0

    @classmethod
    def of(cls, text: str, name: str) -> Key:
        """The key ``text`` without limits."""
        return cls(hashlib.sha256(text.encode("utf-8")).digest(), name)


NOBODY = Key(b"", "")
"""Stands for whoever asks a server without keys."""


class Keys:
    """The keys that open the API; none means that it is open."""

    def __init__(self, keys: Iterable[str | Key]) -> None:
        """Accept any of ``keys``; of one that is given twice the last counts."""
        made = [Key.of(key, f"key-{number}") if isinstance(key, str) else key for number, key in enumerate(keys, 1)]
        self._keys = list({key.digest: key for key in made}.values())

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    @property
    def names(self) -> list[str]:
        """What logs and metrics call them."""
        return [key.name for key in self._keys]

    def find(self, authorization: str, x_api_key: str) -> Key | None:
        """The key that the values of the two header fields (as WSGI gives them, empty where absent) hold.

        Without keys that is `NOBODY`; None where it is a wrong one. What is compared are SHA-256 digests, all of them,
        each in constant time: how long it takes says nothing about any key, its length included.
        """
        given = (authorization or x_api_key).removeprefix(_BEARER).encode("latin-1", "replace")
        digest = hashlib.sha256(given).digest()
        found = None if self._keys else NOBODY
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


def read_api_keys(path: Path) -> list[Key]:
    """The keys of a file.

    `InputError` where it cannot be read, has no key or says something of one that is not known: a server that is open
    by mistake is worse than none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"{path} cannot be read ({reason}): give --api-key-file a text of one key a line.") from error
    keys = [
        _read_key(line.split(), path, number)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not keys:
        raise InputError(f"{path} has no key in it: give --api-key-file a text file, one key a line.")
    return keys


def _read_key(words: list[str], path: Path, number: int) -> Key:
    text, rest = words[0], words[1:]
    facts: dict[str, str] = dict(_fact(word, path, number) for word in rest)
    name = facts.pop("name", f"key-{number}")
    if not name.isprintable() or len(name) > _NAME_LENGTH:
        raise InputError(f"{path}, line {number}: the name is longer than {_NAME_LENGTH} characters: shorten it.")
    limits = {fact: _count(value, fact, path, number) for fact, value in facts.items()}
    return Key(_digest(text, path, number), name, **limits)


def _fact(word: str, path: Path, number: int) -> tuple[str, str]:
    fact, equals, value = word.partition("=")
    if not equals:
        raise InputError(
            f"{path}, line {number}: a key has no spaces in it, and what follows it is name=… or a limit: "
            f"write it as in --help."
        )
    if fact != "name" and fact not in _LIMITS:
        raise UnknownName("limit", fact, ("name", *_LIMITS), where=f"{path}, line {number}")
    return fact, value


def _count(value: str, fact: str, path: Path, number: int) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 2**31:
        raise InputError(f"{path}, line {number}: {fact}= needs a whole number above 0.")
    return int(value)


def _digest(text: str, path: Path, number: int) -> bytes:
    """The digest of a key, which is not named in messages: they may end up in a log."""
    if not text.startswith(_HASHED):
        return Key.of(text, "").digest
    digits = text.removeprefix(_HASHED)
    if len(digits) != 64 or digits.strip("0123456789abcdefABCDEF"):
        raise InputError(f"{path}, line {number}: sha256: needs the 64 hexadecimal digits of the key's SHA-256.")
    return bytes.fromhex(digits)
