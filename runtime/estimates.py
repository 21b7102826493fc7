"""What models take of the memory, remembered: laying one out costs a start a tenth of a second and more.

An estimate is kept under its model in the book (remembered.py), by a fingerprint of all that it depends on: the pack
(llama.cpp and what it was compiled to), the kernel path, and every word that the core is started with but for those
known to change nothing (core_words.py). Another input is another fingerprint, so that nothing has to be thrown away for
being out of date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from solofile.runtime.memory import DeviceShare, Estimate

if TYPE_CHECKING:
    from solofile.runtime.kernel_path import KernelPath

_SIZES = ("context", "context_train", "weights", "repacked", "kv", "compute")
_DEVICE = ("used", "free", "total")


def fingerprint(pack: str, path: KernelPath, words: Sequence[str]) -> str:
    """Sixteen hexadecimal digits for what an estimate depends on; no secret, so no hash that must be loaded first."""
    facts = repr((pack, path.key, path.environment, tuple(words)))
    return f"{int.from_bytes(facts.encode('utf-8', 'replace'), 'big') % (2**64 - 59):016x}"


def find(document: Mapping[str, Any], model: str, key: str) -> Estimate | None:
    """The estimate that is kept for a ``model`` under this fingerprint; None where there is none that makes sense."""
    one = document.get("models", {}).get(model, {}).get("estimates")
    found = one.get(key) if isinstance(one, dict) else None
    if not isinstance(found, dict) or not _are_sizes(found, _SIZES) or found["context"] < 1 or found["weights"] < 1:
        return None
    devices = found.get("devices", [])
    if not isinstance(devices, list) or not all(_is_device(device) for device in devices):
        return None
    shares = tuple(DeviceShare(device["name"], *(device[name] for name in _DEVICE)) for device in devices)
    return Estimate(**{name: found[name] for name in _SIZES}, devices=shares)


def _are_sizes(table: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(type(table.get(name)) is int and table[name] >= 0 for name in names)


def _is_device(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str) and _are_sizes(one, _DEVICE)


def news(model: str, key: str, estimate: Estimate) -> dict[str, Any]:
    """An estimate in the shape in which the book keeps it."""
    table = estimate._asdict() | {"devices": [one._asdict() for one in estimate.devices]}
    return {"models": {model: {"estimates": {key: table}}}}
