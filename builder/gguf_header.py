"""Reads the header of a GGUF file, and nothing behind it (layout: ggml's docs/gguf.md).

Every count and length is checked against the bytes that are there before anything is read or kept, so a hostile file
costs neither memory nor time.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 4096
MAX_TENSORS = 32_768
MAX_ARRAY = 1 << 26
MAX_STRINGS = 3 << 19
"""In all lists together; the largest vocabularies, with their merges, have half of that."""
HEADER_LIMIT = 1 << 28
MAX_KEY = 4096
KEPT_LIST = 1024
"""Numbers in a list up to which it is kept: one for each layer, not one for each token."""
KEPT_TEXT = 4096
TEMPLATE = "tokenizer.chat_template"
LONGEST_TEMPLATE = 1 << 20
"""Bytes of the one text that is kept whole."""
MAX_NAME = 63
DEFAULT_ALIGNMENT = 32

_WINDOW = 1 << 20
UINT32, STRING, ARRAY = 4, 8, 9
SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip

TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip
"""ggml's tensor types by number: name, weights in a block, bytes of a block."""

Value = str | int | float | bool


class HeaderError(ValueError):
    """The header is not one; the message is a clause that says why."""


class HeaderCut(Exception):  # noqa: N818 - reads as what happened
    """The file ends inside its header; ``missing`` is how many bytes, at least, are not there."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing


class TensorPlace(NamedTuple):
    """Where a tensor is: what is said of it from ``start`` to ``stop`` of the file, its ``size`` bytes at ``offset`` of
    the data."""

    start: int
    stop: int
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """What a GGUF says of itself.

    ``values`` has the scalars and texts of its metadata, of long texts the beginning only; ``arrays`` has the lengths
    of its arrays, ``lists`` the content of the short ones that hold numbers; ``kinds`` has GGUF's number for the type
    of each value, of an array for that of what is in it; ``weights`` counts elements by the name of their tensor type.
    The data begins at ``data_offset`` and the last tensor ends at ``end``, in bytes from its start; ``names`` has
    the tensors, in their order.
    """

    version: int
    tensors: int
    values: dict[str, Value]
    arrays: dict[str, int]
    weights: dict[str, int] = field(default_factory=dict)
    data_offset: int = 0
    end: int = 0
    names: Mapping[str, TensorPlace] = field(default_factory=dict)
    lists: dict[str, tuple[float, ...]] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where each metadata entry begins and ends, its key included."""
    infos: tuple[int, int] = (0, 0)
    """Where that begins and ends which is said of the tensors."""


def read_header(file: io.FileIO, start: int = 0, size: int | None = None) -> Header:
    """Read the header at ``start`` of ``file``, of the ``size`` bytes there. Raises HeaderError, HeaderCut, OSError."""
    cursor = _Cursor(file, start, os.fstat(file.fileno()).st_size - start if size is None else size)
    magic, version = cursor.take(4), cursor.number("<I")
    if magic != MAGIC:
        raise HeaderError("it does not begin with GGUF")
    _check_version(version)
    tensors, entries = cursor.number("<Q"), cursor.number("<Q")
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise HeaderError(f"its header claims {tensors} tensors and {entries} metadata entries")
    metadata = _read_values(cursor, entries)
    infos, alignment = cursor.position, _alignment(metadata)
    weights, names, data_size = _read_tensors(cursor, tensors, alignment)
    data_offset = -(-cursor.position // alignment) * alignment
    return Header(
        version,
        tensors,
        metadata.values,
        metadata.arrays,
        weights,
        data_offset,
        data_offset + data_size,
        names,
        metadata.lists,
        metadata.kinds,
        metadata.places,
        (infos, cursor.position),
    )


def _alignment(metadata: _Metadata) -> int:
    alignment = metadata.values.get("general.alignment", DEFAULT_ALIGNMENT)
    if metadata.kinds.get("general.alignment", UINT32) != UINT32 or not isinstance(alignment, int):
        raise HeaderError(f"its alignment {alignment} is no number of 32 bits")
    if alignment < 1 or alignment > 1 << 20 or alignment & (alignment - 1):
        raise HeaderError(f"its alignment {alignment} is no power of two")
    return alignment


def _check_version(version: int) -> None:
    if version & 0xFFFF == 0:
        raise HeaderError("it is big-endian")
    if version == 1:
        raise HeaderError("it is of GGUF version 1, which llama.cpp no longer reads")
    if version not in VERSIONS:
        raise HeaderError(f"it is of GGUF version {version}, which this llama.cpp does not know")


@dataclass
class _Metadata:
    """What is read of the metadata, as a Header has it."""

    values: dict[str, Value] = field(default_factory=dict)
    arrays: dict[str, int] = field(default_factory=dict)
    lists: dict[str, tuple[float, ...]] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    strings: int = 0
    """In its arrays, so far."""


def _read_values(cursor: _Cursor, entries: int) -> _Metadata:
    found = _Metadata()
    for _ in range(entries):
        start = cursor.position
        key = cursor.text(MAX_KEY, "a key")
        if not key:
            raise HeaderError("its metadata has a key without a name")
        if key in found.kinds:
            raise HeaderError(f"its metadata has the key {key!r} twice")
        kind = cursor.number("<I")
        if kind == ARRAY:
            kind = _read_array(cursor, key, found)
        elif kind == STRING:
            whole = key == TEMPLATE
            found.values[key] = (
                cursor.text(LONGEST_TEMPLATE, "the chat template") if whole else cursor.beginning(KEPT_TEXT)
            )
        elif kind in SCALARS:
            found.values[key] = cursor.number(SCALARS[kind])
        else:
            raise HeaderError(f"its metadata key {key!r} has the unknown type {kind}")
        found.kinds[key] = kind
        found.places[key] = (start, cursor.position)
    return found


def _read_array(cursor: _Cursor, key: str, found: _Metadata) -> int:
    """Pass over a list, or keep it; the type of what is in it."""
    kind, count = cursor.number("<I"), cursor.number("<Q")
    if kind == STRING:
        found.strings += min(count, MAX_STRINGS + 1)
    if found.strings > MAX_STRINGS or count > MAX_ARRAY:
        raise HeaderError(f"its metadata key {key!r} claims {count} values")
    if kind == STRING:
        cursor.skip_strings(count)
    elif kind not in SCALARS:
        raise HeaderError(f"its metadata key {key!r} is a list of the unknown type {kind}")
    elif count <= KEPT_LIST:
        layout = SCALARS[kind]
        found.lists[key] = struct.unpack(f"<{count}{layout[1]}", cursor.take(count * struct.calcsize(layout)))
    else:
        cursor.skip(count * struct.calcsize(SCALARS[kind]))
    found.arrays[key] = count
    return kind


def _read_tensors(cursor: _Cursor, tensors: int, alignment: int) -> tuple[dict[str, int], dict[str, TensorPlace], int]:
    """Weights by type, where each tensor is by name, and the bytes from the start of the data to the last one's end."""
    weights: dict[str, int] = {}
    names: dict[str, TensorPlace] = {}
    position = end = 0
    for _ in range(tensors):
        start = cursor.position
        name = cursor.text(MAX_NAME, "a tensor's name")
        if name in names:
            raise HeaderError(f"it has two tensors called {name!r}")
        kind, elements, size = _read_shape(cursor, name)
        if cursor.number("<Q") != position:
            raise HeaderError(f"its tensor {name!r} does not lie behind the one before")
        names[name] = TensorPlace(start, cursor.position, position, size)
        weights[kind] = weights.get(kind, 0) + elements
        end = position + size
        position = -(-end // alignment) * alignment
    return weights, names, end


def _read_shape(cursor: _Cursor, name: str) -> tuple[str, int, int]:
    """Type, elements and bytes of a tensor."""
    dimensions = cursor.number("<I")
    if dimensions > 4:
        raise HeaderError(f"its tensor {name!r} has {dimensions} dimensions")
    shape = [cursor.number("<Q") for _ in range(dimensions)] or [1]
    number = cursor.number("<I")
    if number not in TENSOR_TYPES:
        raise HeaderError(f"its tensor {name!r} has the type {number}, which this llama.cpp does not know")
    kind, block, block_size = TENSOR_TYPES[number]
    elements = 1
    for length in shape:
        elements *= length
    if elements >= 1 << 62 or max(shape) >= 1 << 62 or shape[0] % block:
        raise HeaderError(f"its tensor {name!r} has the impossible shape {shape}")
    return kind, elements, elements // block * block_size


class _Cursor:
    """Reads forwards through a file, a window at a time."""

    def __init__(self, file: io.FileIO, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._window = b""
        self._base = 0
        self._next = 0

    @property
    def position(self) -> int:
        """Offset, from the start, of what is read next."""
        return self._base + self._next

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        if self._next + length > len(self._window):
            self._fill(length)
        start, self._next = self._next, self._next + length
        return self._window[start : self._next]

    def number(self, layout: str) -> int:
        """The next number, laid out as struct says (a float or a bool for those)."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]  # type: ignore[no-any-return]

    def text(self, limit: int, what: str) -> str:
        """The next string, of at most ``limit`` bytes."""
        length = self.number("<Q")
        if length > limit:
            raise HeaderError(f"the length of {what} is {length} bytes")
        return self.take(length).decode("utf-8", "replace")

    def beginning(self, kept: int) -> str:
        """The first ``kept`` bytes of the next string, the rest of it passed over."""
        length = self.number("<Q")
        text = self.take(min(length, kept)).decode("utf-8", "replace")
        self.skip(length - min(length, kept))
        return text

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes without reading them."""
        self._next += length
        self._check(0)

    def skip_strings(self, count: int) -> None:
        """Pass over ``count`` strings."""
        unpack = struct.Struct("<Q").unpack_from
        while count:
            if self._next + 8 > len(self._window):
                self._fill(8)
            window, position, last = self._window, self._next, len(self._window) - 8
            while count and position <= last:
                position += 8 + unpack(window, position)[0]
                count -= 1
            self._next = position
        self._check(0)

    def _check(self, length: int) -> None:
        if HEADER_LIMIT < self.position + length <= self._size:
            raise HeaderError(f"its header is longer than {HEADER_LIMIT >> 20} MiB")
        missing = self.position + length - self._size
        if missing > 1 << 40:
            raise HeaderError("a length in its header is impossible")
        if missing > 0:
            raise HeaderCut(missing)

    def _fill(self, length: int) -> None:
        self._check(length)
        self._base, self._next = self.position, 0
        self._file.seek(self._start + self._base)
        self._window = self._file.read(min(max(length, _WINDOW), self._size - self._base)) or b""
        if len(self._window) < length:
            raise HeaderCut(length - len(self._window))
