"""The child process of pdf.py: reads a PDF that may be anything, within limits, and tells its parent the text."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from typing import Any

from solofile.runtime.probe_child import begin

ENCRYPTED, BROKEN, TOO_LONG, TOO_MUCH = "encrypted", "broken", "long", "memory"
_SPARE_SECONDS = 5


def main() -> int:
    """Read limits and file from standard input and write the answer; returns the exit code."""
    answer, limits = begin()
    if limits is None:
        return 2
    logging.disable(logging.CRITICAL)
    import pypdf  # noqa: F401 - what reads the file is loaded before nothing can be loaded any more
    from solofile.runtime import sandbox_child

    sandbox = sandbox_child.of_pdf()
    _bound(limits)
    if sandbox is not None:
        sandbox.seal()
    with os.fdopen(answer, "wb") as out:
        out.write(json.dumps(_answer(sys.stdin.buffer.read(), limits)).encode())
    return 0


def _bound(limits: dict[str, Any]) -> None:
    """End by itself when the time is over, should nobody end it, and take no more memory than was given."""
    ender = threading.Timer(limits["seconds"] + _SPARE_SECONDS, os._exit, (1,))
    ender.daemon = True
    ender.start()
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))


def _answer(data: bytes, limits: dict[str, Any]) -> dict[str, Any]:
    try:
        return text_of(data, limits["pages"], limits["characters"])
    except MemoryError:
        return {"failure": TOO_MUCH}
    except Exception as error:  # whatever a file of unknown make does to the library, it is the file that is broken
        return {"failure": ENCRYPTED if type(error).__name__ == "DependencyError" else BROKEN}


def text_of(data: bytes, most_pages: int, most_characters: int) -> dict[str, Any]:
    """The text of a PDF, its pages one after the other; raises what the library raises of a broken file."""
    import io

    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        return {"failure": ENCRYPTED}
    pages = len(reader.pages)
    if pages > most_pages:
        return {"failure": TOO_LONG}
    texts, characters = [], 0
    for page in reader.pages:
        text = page.extract_text().strip()
        characters += len(text)
        if characters > most_characters:
            return {"failure": TOO_LONG}
        texts.append(text)
    whole = "\n\n".join(text for text in texts if text)
    return {"text": whole.encode("utf-8", "replace").decode(), "pages": pages}
