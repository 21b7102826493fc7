"""Who is let in: the keys of a start, and whether it may be without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from solofile.runtime.errors import InputError
from solofile.runtime.server_settings import ServerSettings


def with_key_files(settings: ServerSettings, files: tuple[str, ...]) -> ServerSettings:
    """Add the keys of --api-key-file."""
    if not files:
        return settings
    from solofile.runtime.auth import read_api_keys

    keys = tuple(key for name in files for key in read_api_keys(Path(name)))
    return dataclasses.replace(settings, keys=(*settings.keys, *keys))


def checked(settings: ServerSettings) -> ServerSettings:
    """The settings, unless they would let in whoever reaches the port without the user having said so: InputError."""
    if not settings.loopback and not settings.locked and not settings.open_to_all:
        raise InputError(
            f"--host {','.join(settings.hosts)} lets other machines in: give --api-key-file or --api-key a key, or "
            "--no-auth where everybody may use it."
        )
    if settings.open_to_all and settings.locked:
        raise InputError("--no-auth and a key ask for different things: give one of them.")
    return settings
