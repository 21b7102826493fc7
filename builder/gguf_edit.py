"""Writes a GGUF anew with other metadata: the header is made again, the weights are copied as they are.

<build cache>/edited/<key>/NAME.gguf
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.copying import SourceFault, clone_range, copy_plain, write_all
from solofile.builder.errors import BadInput, BadModel
from solofile.builder.gguf_header import DEFAULT_ALIGNMENT, MAGIC, Header, read_header
from solofile.builder.metadata_edits import Edit, encode
from solofile.builder.output import check_space, explained, replacing
from solofile.builder.paths import cache_folder, keep_newest, locked, mark_used
from solofile.builder.tools import ProgressMaker
from solofile.runtime.errors import UnknownName

RULES = 1
"""Counted up when the bytes of an edited file change."""

KEPT = 4
"""Edited models that stay in the build cache: they are as large as what they were made of."""


def edited(
    model: Path, span: Span | None, name: str, sha256: str, edits: Sequence[Edit], progress: ProgressMaker
) -> Path:
    """The model with the ``edits``; it is called ``name`` and has that SHA-256. Raises BadInput, UnknownName."""
    facts = [RULES, sha256, [(edit.key, edit.kind, edit.value) for edit in edits]]
    folder = cache_folder("edited", hashlib.sha256(json.dumps(facts).encode()).hexdigest())
    path = folder / name
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not path.is_file():
            try:
                _write(model, span, path, edits, progress)
            except BaseException:
                folder.rmdir()
                raise
    mark_used(folder)
    keep_newest(folder.parent, KEPT)
    return path


def _write(model: Path, span: Span | None, path: Path, edits: Sequence[Edit], progress: ProgressMaker) -> None:
    with open_raw(model) as source:
        start, size = span or (0, source.seek(0, io.SEEK_END))
        header = read_header(source, start, size)
        head = new_header(source, start, header, edits)
        data = size - header.data_offset
        check_space(path, len(head) + data)
        with explained(path, size), progress(f"Editing {path.name}", data, "B") as shown, replacing(path) as output:
            write_all(output, head)
            begin = start + header.data_offset
            done = clone_range(source, output, len(head), data, begin)
            try:
                copy_plain(source, begin + done, data - done, output, len(head) + done, shown.update)
            except SourceFault as error:
                raise BadModel(f"The model {model} {error}: build again once it is whole.") from error
            shown.update(data)


def new_header(source: io.FileIO, start: int, header: Header, edits: Sequence[Edit]) -> bytes:
    """The header with the ``edits``, padded to where the weights begin; what they do not name is as it was."""
    entries = {key: _bytes(source, start, place) for key, place in header.places.items()}
    for edit in edits:
        if edit.value is not None:
            entries[edit.key] = encode(edit, header)
        elif edit.key not in entries:
            raise UnknownName("metadata key", edit.key, entries)
        else:
            del entries[edit.key]
    if entries == {key: _bytes(source, start, place) for key, place in header.places.items()}:
        raise BadInput("The metadata says all that already: leave --metadata out.")
    infos = _bytes(source, start, header.infos)
    head = struct.pack("<4sIQQ", MAGIC, header.version, header.tensors, len(entries))
    head += b"".join(entries.values()) + infos
    alignment = header.values.get("general.alignment", DEFAULT_ALIGNMENT)
    return head + bytes(-len(head) % int(alignment))


def _bytes(source: io.FileIO, start: int, place: tuple[int, int]) -> bytes:
    source.seek(start + place[0])
    return source.read(place[1] - place[0]) or b""
