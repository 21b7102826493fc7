"""The file names of native libraries, which each system's loader wants in its own way."""

from __future__ import annotations

_FORMS = {"windows": ("", ".dll"), "macos": ("lib", ".dylib"), "linux": ("lib", ".so")}


def library_file(name: str, target: str) -> str:
    """The file of a library on a target: ``libggml.so``, ``ggml.dll`` or ``libggml.dylib`` for ``ggml``."""
    prefix, suffix = _FORMS[target.partition("-")[0]]
    return f"{prefix}{name}{suffix}"


def library_name(file: str) -> str:
    """The library of a file, whatever the system: ``ggml`` for ``ggml.dll`` and ``libggml.so``."""
    for prefix, suffix in _FORMS.values():
        if file.endswith(suffix) and file.startswith(prefix):
            return file[len(prefix) : -len(suffix)]
    return file
