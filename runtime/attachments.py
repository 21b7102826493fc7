"""The text of a file that is put into a prompt: of a PDF (pdf.py), or of any text file."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, NamedTuple

from solofile.runtime.engine_api import Request
from solofile.runtime.errors import EngineError, SolofileError

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine

MAX_BYTES = 32 * 1024 * 1024
MAX_CHARACTERS = 4_000_000
"""More than any context holds."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f\b\x1b")


class Unusable(SolofileError):  # noqa: N818 - reads as what happened
    """A file that no text can be had of; ``status`` is that of the HTTP answer."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Text(NamedTuple):
    """The text of a file; ``pages`` is None where it has none."""

    name: str
    text: str
    pages: int | None


def read(name: str, data: bytes) -> Text:
    """The text of the file ``name``. Raises Unusable with a sentence for a person."""
    name = shown(name)
    if not data:
        raise Unusable(f"{name} is empty: choose another file.")
    if len(data) > MAX_BYTES:
        raise Unusable(f"{name} is larger than {MAX_BYTES >> 20} MB: attach a part of it.", 413)
    if data[:1024].lstrip().startswith(b"%PDF-") or name.lower().endswith(".pdf"):
        from solofile.runtime import pdf

        text, pages = pdf.read(name, data)
        if not text.strip():
            raise Unusable(f"{name} holds no text, perhaps pictures of pages: attach a PDF with text in it.")
        return Text(name, text, pages)
    text = decode(name, data)
    if len(text) > MAX_CHARACTERS:
        raise Unusable(f"{name} has more than {MAX_CHARACTERS} characters: attach a part of it.", 413)
    return Text(name, text, None)


def decode(name: str, data: bytes) -> str:
    """The text of a text file: UTF-8, or what the mark at its beginning says. Raises Unusable."""
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "")
    if not encoding and any(byte in _CONTROLS for byte in data[:65536]):
        raise Unusable(f"{name} is neither a text nor a PDF: attach one of these.", 415)
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(f"{name} is no text in UTF-8: save it in that encoding and attach it again.", 415) from error
    return text.replace("\r\n", "\n")


def count_tokens(engine: Engine, text: str) -> int:
    """How many tokens the model takes for ``text``."""
    body = json.dumps({"content": text}).encode()
    response = engine.call(Request("POST", "/tokenize", headers={"Content-Type": "application/json"}, body=body)).run()
    try:
        answer = b"".join(response)
    finally:
        response.close()
    try:
        return len(json.loads(answer)["tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"llama.cpp did not count the tokens (status {response.status}): ask again.") from error


def shown(name: str) -> str:
    """A file's name for a message: short, without folders and control characters."""
    plain = "".join(char for char in name.replace("\\", "/").rpartition("/")[2] if char.isprintable())
    return plain if len(plain) <= 100 else f"{plain[:60]}…{plain[-30:]}"
