"""Run as a program: one measurement in a process of its own, as the runtime makes it.

Arguments: native_dir, backend library, JSON of {"name", "file", "offset", "size"}, JSON of the spec. Prints JSON: the
result, or {"error": sentence}.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

from solofile.runtime import bridge, native_probe
from solofile.runtime.errors import EngineError


def measure(native_dir: str, backend: str, place: str, spec: str) -> dict[str, Any]:
    library = bridge.load(Path(native_dir))
    error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
    assert not library.sf_backend_load(backend.encode(), error, len(error)), bridge.text(error)
    member = json.loads(place)
    where = (member["name"].encode(), member["file"].encode(), member["offset"], member["size"])
    assert not library.sf_member_add(*where, error, len(error)), bridge.text(error)
    try:
        return native_probe.probe(library, json.loads(spec))
    except EngineError as problem:
        return {"error": str(problem)}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
