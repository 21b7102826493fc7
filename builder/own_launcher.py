"""``--launcher FILE``: a bundle that begins with a launcher made elsewhere in place of the pack's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from solofile.builder.errors import BadInput
from solofile.builder.launcher import SIZE_LIMIT
from solofile.builder.machine import HEADER, header_targets
from solofile.runtime.container import sums_path

SIGNED_LIMIT = SIZE_LIMIT + (1 << 20)
"""Bytes: signatures, an icon and what else somebody may have added have room."""


def read_launcher(path: Path, targets: Iterable[str]) -> bytes:
    """The launcher in a file, found to be one for each of these targets. Raises BadInput."""
    try:
        with path.open("rb") as file:
            data = file.read(SIGNED_LIMIT + 1)
    except OSError as error:
        raise BadInput(f"The launcher {path} cannot be read: {error.strerror}.") from error
    if len(data) > SIGNED_LIMIT:
        raise BadInput(
            f"The launcher {path} has more than {SIGNED_LIMIT} bytes: give the launcher alone, not a bundle."
        )
    there = header_targets(data[:HEADER])
    for target in targets:
        if target not in there:
            raise BadInput(f"The launcher {path} is for {' and '.join(there) or 'no system'}, not for {target}.")
        if sums_path(target).encode() not in data:  # which it looks for in its bundle
            raise BadInput(f"{path} is no launcher of solofile: “solofile extract” takes one out of a bundle.")
    return data
