"""What earlier starts on this machine measured and saw: one JSON file for each machine and pack, in the cache's state/.

    {"format": 1, "check": "<CRC-32 of all the rest, in hexadecimal digits>",
     "machine": {…},                                              for people
     "probes": {"haswell": {"status", "detail", "date"}, "vulkan": {…, "result": {"devices": […]}}},
     "models": {"<16 hex digits>": {"used": date, "probes": {"haswell": {sf_probe's result}}, "calibration": {…},
                                    "estimates": {"<16 hex digits>": {estimates.py}}}},
     "crashes": {"vulkan:Vulkan0": {"what": "crashed (SIGSEGV)", "date", "launcher": process}}}

What others put in (media.py) is kept as it is. A file that cannot be used is made anew.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solofile.runtime import state_files
from solofile.runtime.kernel_path import CRASHED, FAILED, HUNG, MISSING, OK, Known, Outcome

FORMAT = 1
KEPT_MODELS, KEPT_CRASHES, KEPT_FILES, KEPT_ESTIMATES = 16, 16, 16, 8

_LIMIT = 1 << 20
_STATUSES = (OK, CRASHED, HUNG, FAILED, MISSING)
_MERGED = {"machine": 1, "probes": 1, "models": 3, "crashes": 1, "media": 1}
"""How deep each section is merged; below that the newer one counts as a whole."""

Document = dict[str, Any]


def file_path(cache: Path, identity: str, pack: str) -> Path:
    """Where it is, for the machine of this ``identity`` (hardware.py) and the digest of the ``pack``."""
    return cache / "state" / f"choice-{identity}-{pack[:16]}.json"


def read(path: Path) -> tuple[Document, str]:
    """What is remembered, and a sentence where the file cannot be used, else an empty one. Raises nothing."""
    try:
        data = state_files.load(path, _LIMIT)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"What earlier starts measured cannot be read from {path} ({error.strerror or error})."
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if _is_sound(document) and document.pop("check", "") == _checksum(document):
        return document, ""
    return {}, f"{path} is not as it was written, so what earlier starts measured is found out again."


def _checksum(document: Document) -> str:
    """Whatever happened to the file, by a disk or by hand: what it says is used only where it is what we wrote."""
    text = json.dumps(document, sort_keys=True)
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def _is_sound(document: Any) -> bool:
    """Has it the shape that this program writes? Numbers are looked at where they are used."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return False
    probes, models, crashes = (document.get(name, {}) for name in ("probes", "models", "crashes"))
    return (
        _holds_tables(probes)
        and all(one.get("status") in _STATUSES and _are_texts(one, "detail", "date") for one in probes.values())
        and all(isinstance(one.get("result", {}), dict) for one in probes.values())
        and _holds_tables(models)
        and all(_holds_tables(one.get("probes", {})) for one in models.values())
        and all(isinstance(one.get("calibration", {}), dict) for one in models.values())
        and _holds_tables(crashes)
        and all(_are_texts(one, "what", "date") for one in crashes.values())
    )


def _holds_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())


def _are_texts(table: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(table.get(name, ""), str) for name in names)


def known(document: Document, model: str, *, crash: str | None = None, launcher: str = "", anew: bool = False) -> Known:
    """What a start with this ``model`` knows. ``anew`` (--calibrate) forgets everything but crashes.

    ``crash`` is the signal that ended the run before, and ``launcher`` the process that started both.
    """
    crashes = document.get("crashes", {})
    ran = [key for key, one in crashes.items() if crash and launcher and one.get("launcher") == launcher]
    told = {key: f"{one.get('what', 'crashed')} on {one.get('date', 'another day')}" for key, one in crashes.items()}
    if anew:
        return Known(crashes=told, crash=crash, ran=ran[-1] if ran else "")
    mine = document.get("models", {}).get(model, {})
    measured = mine.get("probes", {})
    probes = {
        key: Outcome(one["status"], one.get("detail", ""), measured.get(key, one.get("result")), one.get("date", ""))
        for key, one in document.get("probes", {}).items()
    }
    return Known(probes, mine.get("calibration"), told, crash, ran[-1] if ran else "")


def add(path: Path, changes: Mapping[str, Any]) -> str:
    """Put ``changes`` (of the shape of the file) into it, whatever others have put there meanwhile.

    Returns a sentence where that cannot be done, since nothing depends on it, else an empty one.
    """
    from solofile.runtime.locks import Lock

    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        lock = Lock(path)
        try:
            lock.seize(patience=2.0)  # without it the other's news may get lost, but no file is ever half written
            document, _ = read(path)
            news = bounded(merge(document, changes))
            # Machines change and packs grow old.
            state_files.write(path, {**news, "check": _checksum(news)}, kind="choice-*.json", kept=KEPT_FILES)
        finally:
            lock.close()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return f"What was measured cannot be kept in {path} ({why}): the next start does it again."
    return ""


def merge(document: Document, changes: Mapping[str, Any]) -> Document:
    """The document with the changes in it; a value of None removes a key."""
    merged = {"format": FORMAT, **document}
    for section, news in changes.items():
        merged[section] = _merge(merged.get(section, {}), news, _MERGED.get(section, 0))
    return merged


def _merge(old: Any, new: Any, depth: int) -> Any:
    if depth == 0 or not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    merged = {**old, **{key: _merge(old.get(key), value, depth - 1) for key, value in new.items()}}
    return {key: value for key, value in merged.items() if value is not None}


def bounded(document: Document) -> Document:
    """The document without the models used longest ago, the oldest crashes and the oldest estimates of each model."""
    models, crashes = document.get("models", {}), document.get("crashes", {})
    newest = sorted(models, key=lambda key: str(models[key].get("used", "")))[-KEPT_MODELS:]
    latest = sorted(crashes, key=lambda key: str(crashes[key].get("date", "")))[-KEPT_CRASHES:]
    return {
        **document,
        "models": {key: _few_estimates(models[key]) for key in models if key in newest},
        "crashes": {key: crashes[key] for key in crashes if key in latest},
    }


def _few_estimates(model: Document) -> Document:
    found = model.get("estimates")
    if not isinstance(found, dict) or len(found) <= KEPT_ESTIMATES:
        return model
    return {**model, "estimates": dict(list(found.items())[-KEPT_ESTIMATES:])}
