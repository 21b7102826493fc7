"""The note that a crash leaves in the cache: what ran, without anything that the user typed as a value."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9-]{0,37}")


def note(cache: str, bundle: str, words: Sequence[str], name: str) -> str:
    """Write ``state/crash-<UTC time>.txt``. Words for a sentence: where it is, or why it is not."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    text = f"time: {moment}\nsignal: {name}\nbundle: {bundle}\noptions:{''.join(map(_option, words))}\n"
    for number in range(1, 100):
        suffix = "" if number == 1 else f"-{number}"
        path = Path(cache, "state", f"crash-{moment}{suffix}.txt")
        try:
            with path.open("x", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            return f", not noted in {cache} ({error.strerror})"
        return f", noted in {path}"
    return f", not noted in {cache} (too many of this second are there)"


def _option(word: str) -> str:
    """The option in a word, with a blank before it; nothing of what may be a value."""
    name = word.partition("=")[0]
    return f" {name}" if _OPTION.fullmatch(name) else ""
