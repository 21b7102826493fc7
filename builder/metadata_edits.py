"""Changes of a GGUF's metadata as people write them: ``general.name=Helper``, ``llama.context_length:u32=8192``."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from solofile.builder.errors import BadInput
from solofile.builder.gguf_header import ARRAY, SCALARS, STRING, TEMPLATE, Header
from solofile.runtime.errors import UnknownName

TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "u64": 10,
         "i64": 11, "f64": 12}  # fmt: skip
"""GGUF's types by ggml's names for them."""

_NAMES = {number: name for name, number in TYPES.items()}
_FLOATS, _BOOL = (6, 12), 7

LAYOUT = ("general.alignment", "general.architecture", "general.file_type", "general.quantization_version")
"""What says how the tensors lie, or what they are: it is true or the file is broken."""

LAYOUT_PREFIX = "split."

_TEXTS = ("general.", TEMPLATE)
"""New keys that begin so are texts unless a type is named."""


@dataclass(frozen=True)
class Edit:
    """One change: the key, the type that was named, and the value as it was written; None takes the key out."""

    key: str
    value: str | None
    kind: str | None = None


def parse_edit(word: str) -> Edit:
    """``KEY=VALUE`` or ``KEY:TYPE=VALUE``. Raises BadInput, UnknownName."""
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise BadInput(f"“{word}” is no change of metadata: write KEY=VALUE or KEY:TYPE=VALUE.")
    return named_edit(name, value)


def named_edit(name: str, value: Any) -> Edit:
    """The change of a key, with its type perhaps, to a value of a recipe. Raises BadInput, UnknownName."""
    key, colon, kind = name.rpartition(":")
    if not colon:
        key, kind = name, ""
    if kind and kind not in TYPES:
        raise UnknownName("type", kind, TYPES, where=f"“{name}”")
    checked(key)
    return Edit(key, value if isinstance(value, str) else json.dumps(value), kind or None)


def checked(key: str) -> str:
    """``key``, if it may be changed. Raises BadInput."""
    if key in LAYOUT or key.startswith(LAYOUT_PREFIX):
        raise BadInput(f"The metadata key {key} says how the weights lie in the file: it cannot be changed.")
    return key


def flattened(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The keys of a recipe's table, ``general.name = …`` being a table in TOML and a key in a GGUF."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def encode(edit: Edit, header: Header) -> bytes:
    """The bytes of the entry that an edit makes, by the type that the key has in the model. Raises BadInput."""
    assert edit.value is not None
    existing = header.kinds.get(edit.key)
    wanted = TYPES[edit.kind] if edit.kind else None
    if existing is not None and wanted not in (None, existing):
        raise BadInput(
            f"The metadata key {edit.key} is of the type {_NAMES.get(existing, existing)} in the model, and llama.cpp "
            f"reads it as that: leave :{edit.kind} out."
        )
    kind = existing if existing is not None else wanted
    if kind is None and edit.key.startswith(_TEXTS):
        kind = STRING
    if kind is None:
        raise BadInput(
            f"The model has no metadata key {edit.key}: name its type, as in {edit.key}:str=…, or correct its name."
        )
    if edit.key in header.arrays:
        body = struct.pack("<I", ARRAY) + _list(edit, kind)
    else:
        body = struct.pack("<I", kind) + _scalar(edit, edit.value, kind)
    return _text(edit.key) + body


def _list(edit: Edit, kind: int) -> bytes:
    try:
        values = json.loads(edit.value or "")
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise BadInput(f"The metadata key {edit.key} is a list: write it as one, [1, 2].")
    plain = (one if isinstance(one, str) else json.dumps(one) for one in values)
    return struct.pack("<IQ", kind, len(values)) + b"".join(_scalar(edit, one, kind) for one in plain)


def _scalar(edit: Edit, written: str, kind: int) -> bytes:
    if kind == STRING:
        return _text(written)
    try:
        if kind == _BOOL:
            return struct.pack("<?", {"true": True, "false": False}[written.lower()])
        return struct.pack(SCALARS[kind], float(written) if kind in _FLOATS else int(written, 0))
    except (ValueError, KeyError, OverflowError, struct.error):
        raise BadInput(
            f"The metadata key {edit.key} cannot be “{written}”: it is of the type {_NAMES[kind]}."
        ) from None


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data
