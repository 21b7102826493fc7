"""What the native libraries say of this machine, and how fast they are on it: the CPU, the devices, a measurement.

None of these needs a model to be loaded. `probe` may crash with a driver or a kernel that the machine cannot run, so it
belongs into a process of its own (`probing.py`).
"""

from __future__ import annotations

import ctypes
from typing import Any

from solofile.runtime import bridge
from solofile.runtime.errors import EngineError

_SIZE = 1 << 16  # bytes of a text; devices may have changed by a second call, so nothing is asked twice


def cpu(library: ctypes.CDLL) -> str:
    """What the CPU says of itself (cpuid), as JSON text; `sf_cpu` in bridge.h says what it holds."""
    return _text(library.sf_cpu)


def devices(library: ctypes.CDLL) -> list[dict[str, Any]]:
    """What the backends loaded so far can compute on; `sf_devices` in bridge.h names the fields. Sizes are in bytes."""
    import json

    found: list[dict[str, Any]] = json.loads(_text(library.sf_devices) or "[]")
    return found


def probe(library: ctypes.CDLL, spec: dict[str, Any]) -> dict[str, Any]:
    """Measure a device with some of a model's weights; `sf_probe` in bridge.h says what is asked and answered.

    The device's backend is loaded and the model's place is known (`sf_member_add`) before. Raises EngineError with the
    reason when it cannot compute.
    """
    import json

    out = ctypes.create_string_buffer(_SIZE)
    if library.sf_probe(json.dumps(spec).encode(), out, len(out)):
        raise EngineError(bridge.text(out))
    result: dict[str, Any] = json.loads(bridge.text(out))
    return result


def _text(function: Any) -> str:
    out = ctypes.create_string_buffer(_SIZE)
    function(out, len(out))
    return bridge.text(out)
