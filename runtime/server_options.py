"""What the options of a start say of its server: its addresses, keys, limits, logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solofile.runtime.options import Given
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.settings import GIVEN_KEYS

HIDDEN = "*"
"""Stands on the command line where the launcher took a key away."""

_MEGABYTE = 1024 * 1024


def settings(merged: Sequence[Given], environ: Mapping[str, str], *, page: bool) -> ServerSettings:
    """What the options say of serving; ``page``: for the page, and not --server."""
    texts = {one.option.key: one.values[-1] for one in merged if one.values}
    flags = {one.option.key: not one.negated for one in merged if not one.values}
    keys = _keys(merged, environ)
    file_given = any(one.option.key == "--api-key-file" for one in merged)
    if not keys and not file_given:
        keys = listed(environ.get("SOLOFILE_API_KEY", ""))
    origins = listed(texts.get("--cors-origins", ""))
    origins += [one.values[0] for one in merged if one.option.key == "--allow-origin"]
    cert, key, folder = (texts.get(name) for name in ("--ssl-cert-file", "--ssl-key-file", "--path"))
    usual = ServerSettings()
    return ServerSettings(
        hosts=tuple(listed(texts["--host"])) if "--host" in texts else usual.hosts,
        api_keys=tuple(keys),
        allow_origins=tuple(origins),
        cors_methods=texts.get("--cors-methods", usual.cors_methods),
        cors_headers=texts.get("--cors-headers", usual.cors_headers),
        cors_credentials=flags.get("--cors-credentials", usual.cors_credentials),
        api_prefix=texts.get("--api-prefix", usual.api_prefix),
        timeout=int(texts.get("-to", usual.timeout)),
        threads=int(texts.get("--threads-http", usual.threads)),
        reuse_port=flags.get("--reuse-port", usual.reuse_port),
        ssl_cert_file=Path(cert) if cert is not None else None,
        ssl_key_file=Path(key) if key is not None else None,
        page=flags.get("--ui", usual.page),
        static_folder=Path(folder) if folder is not None else None,
        open_to_all=flags.get("--no-auth", False) is not False,
        max_body=int(texts["--max-body-mb"]) * _MEGABYTE if "--max-body-mb" in texts else usual.max_body,
        **_bounds(texts, page=page),
    )


def _keys(merged: Sequence[Given], environ: Mapping[str, str]) -> list[str]:
    """The keys of --api-key. The launcher keeps them out of the list of processes: where it found them, there is a
    star, and they stand in the environment (launcher/secrets.zig)."""
    hidden = iter(environ[GIVEN_KEYS].split("\x1f") if GIVEN_KEYS in environ else ())
    given = [one.values[0] for one in merged if one.option.key == "--api-key"]
    return [key for text in given for key in listed(next(hidden, text) if text == HIDDEN else text)]


def _bounds(texts: Mapping[str, str], *, page: bool) -> dict[str, Any]:
    """What bounds a server and tells of it. The page's program ends at once: nobody waits for its answers then."""
    log = texts.get("--access-log")
    found: dict[str, Any] = {"drain_seconds": 0.0} if page else {}
    if "--access-log-mb" in texts:
        found["access_log_bytes"] = int(texts["--access-log-mb"]) * _MEGABYTE
    for option, kind in (("--queue", int), ("--max-tokens", int), ("--max-seconds", float), ("--drain-seconds", float)):
        if option in texts:
            found[option[2:].replace("-", "_")] = kind(texts[option])
    return {**found, "access_log": Path(log) if log else None, "otlp_endpoint": texts.get("--otlp-endpoint", "")}


def listed(text: str) -> list[str]:
    """The parts of a list with commas; a part that holds a comma stands in double quotes, as llama.cpp has it."""
    if '"' not in text:
        return [part.strip() for part in text.split(",") if part.strip()]
    import csv

    return [part for part in next(csv.reader([text], skipinitialspace=True)) if part]
