"""API keys, as llama-server takes them: ``Authorization: Bearer KEY``, or Anthropic's ``X-Api-Key: KEY``."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path

from solofile.runtime.errors import InputError

PUBLIC_PATHS = frozenset({"/health", "/v1/health", "/solofile/status", "/solofile/events", "/solofile/instance"})
"""Open without a key, beside the page's own files; the list of models needs one, as in llama-server."""

_BEARER = "Bearer "


class Keys:
    """The keys that open the API; none means that it is open."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Accept any of ``keys``."""
        self._keys = [key.encode("utf-8") for key in keys]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    def opened_by(self, authorization: str, x_api_key: str) -> bool:
        """Whether the values of the two header fields (as WSGI gives them, empty where absent) hold a key.

        Every key is compared, each in constant time: how long it takes says nothing about any of them.
        """
        given = (authorization or x_api_key).removeprefix(_BEARER).encode("latin-1", "replace")
        right = [hmac.compare_digest(given, key) for key in self._keys]
        return not self._keys or any(right)


def read_api_keys(path: Path) -> list[str]:
    """The keys of a file, one a line; empty lines and those that begin with ``#`` are passed over.

    `InputError` where it cannot be read or has no key: a server that is open by mistake is worse than none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"{path} cannot be read ({reason}): give --api-key-file a text of one key a line.") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise InputError(f"{path} has no key in it: give --api-key-file a text file, one key a line.")
    return keys
