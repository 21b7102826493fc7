"""The text of a PDF, taken out in a child process: a broken or hostile file costs a sentence, and no more than its
share of time and memory.

The child is this program, started with SOLOFILE_CHILD=pdf (pdf_child.py): the file comes on its standard input, and on
its standard output goes ``{"text": …, "pages": n}`` or ``{"failure": kind}``.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence

from solofile.runtime import errands, own_program
from solofile.runtime.attachments import MAX_CHARACTERS, Unusable
from solofile.runtime.probing import VARIABLE

MAX_PAGES = 2000
SECONDS = 30.0
MEMORY = 1 << 30
"""Bytes of address space that the child may take."""

AT_ONCE = 2
"""Children at a time; others wait."""

ENCRYPTED, BROKEN, TOO_LONG, TOO_MUCH = "encrypted", "broken", "long", "memory"

_SENTENCES = {
    ENCRYPTED: ("{name} is encrypted: save a copy without a password and attach that.", 422),
    BROKEN: ("{name} is broken, or no PDF: open it in a PDF viewer, save it anew and attach that.", 422),
    TOO_LONG: (f"{{name}} has more than {MAX_PAGES} pages or {MAX_CHARACTERS} characters: attach a part of it.", 413),
    TOO_MUCH: ("{name} needs too much memory to be read: attach a part of it.", 413),
}
_turn = threading.Semaphore(AT_ONCE)


def read(name: str, data: bytes, *, seconds: float = SECONDS, command: Sequence[str] | None = None) -> tuple[str, int]:
    """The text of a PDF and its number of pages. Raises Unusable. ``command`` stands for this program in tests."""
    if not _turn.acquire(timeout=seconds):
        raise Unusable(f"{name} has to wait, since other files are being read: attach it again in a moment.", 429)
    try:
        done = _outside(data, seconds) if command is None else in_child(data, seconds, command)
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"{name} takes longer than {seconds:g} s to read: attach a part of it.", 413) from error
    except OSError as error:
        raise Unusable(f"{name} cannot be read now ({error.strerror or error}): try again.", 422) from error
    finally:
        _turn.release()
    try:
        found = json.loads(done)
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    if "text" in found:
        return found["text"], found["pages"]
    sentence, status = _SENTENCES.get(found.get("failure", ""), _SENTENCES[BROKEN])
    raise Unusable(sentence.format(name=name), status)


def _outside(data: bytes, seconds: float) -> bytes:
    """What a child says, which the sandbox lets another process start."""
    errand = errands.running()
    if errand is None:
        return in_child(data, seconds, own_program.command())
    answer = errand.run(errands.PDF, {"seconds": seconds}, data) or {}
    if answer.get("late"):
        raise subprocess.TimeoutExpired(VARIABLE, seconds)
    if "failure" in answer:
        raise OSError(answer["failure"])
    return str(answer.get("answer", "")).encode()


def in_child(data: bytes, seconds: float, command: Sequence[str]) -> bytes:
    """What a child says of a PDF. Raises OSError, and TimeoutExpired after so many seconds."""
    # PyInstaller's are about this process, and the child is to be one like it and not a part of it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("_PYI_")}
    limits = {"seconds": seconds, "pages": MAX_PAGES, "characters": MAX_CHARACTERS, "memory": MEMORY}
    with subprocess.Popen(
        list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**environment, VARIABLE: "pdf"},
    ) as child:  # fmt: skip
        try:
            answer, _ = child.communicate(json.dumps(limits).encode() + b"\n" + data, timeout=seconds)
        finally:
            child.kill()
    return answer
