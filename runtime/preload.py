"""What a server reads from the cache later than at its start, read now: the cache may be deleted while it runs."""

from __future__ import annotations

import importlib
import threading

MODULES = ("about", "attachments", "pdf", "openapi", "control", "guard", "state_files", "instance")
"""Modules of ours that a request may be the first to need."""

STANDARD = ("encodings.idna", "http.client", "urllib.request", "csv", "hmac", "importlib.resources")
"""The same of Python's."""


def in_background(*, page: bool) -> threading.Thread:
    """Read all of it on a thread; the page's files (200 KB) where there is a ``page``."""
    thread = threading.Thread(target=_read, args=(page,), name="solofile-preload", daemon=True)
    thread.start()
    return thread


def _read(page: bool) -> None:
    for name in (*STANDARD, *(f"solofile.runtime.{module}" for module in MODULES)):
        importlib.import_module(name)
    if page:
        from solofile.runtime.page import FILES, file_tag

        for name in FILES:
            file_tag(name)
