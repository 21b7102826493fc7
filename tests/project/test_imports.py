"""The import rule: what ships knows nothing of what builds."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHARED = {"archive", "container", "ending", "errors", "fields", "integrity", "layout", "manifest", "version"} | {
    "manifest_behind",
    "manifest_beside",
    "manifest_prompt",
    "raw_file",
    "arm",
    "authenticode",
    "beside",
    "bridge",
    "choice",
    "choose_cpu",
    "choose_gpu",
    "choose_memory",
    "choose_work",
    "control_groups",
    "cpuid",
    "doctor_text",
    "doctor_unused",
    "gpu_devices",
    "gpu_environment",
    "gpus",
    "group_mounts",
    "hardware",
    "hardware_linux",
    "hardware_macos",
    "hardware_report",
    "hardware_windows",
    "kernel_path",
    "kernels",
    "library_names",
    "measured",
    "memory",
    "memory_text",
    "native_probe",
    "options",
    "record",
    "seccomp",
    "seccomp_programs",
    "stored_prompts",
    "system_files",
    "text_columns",
    "topology",
    "vulkan_files",
    "windows_processors",
}
"""The runtime's modules that both halves must agree on."""

SHIPPED = {"flask", "werkzeug", "cheroot", "jaraco", "llama_cpp", "typing_extensions", "solofile"} | {
    "prompt_toolkit",
    "pypdf",
}
"""What the runtime may import beside the standard library."""

ALONE = {"prompt_toolkit": "chat_terminal.py", "pypdf": "pdf_child.py"}
"""What one module alone imports: no other start pays for it."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", modules("runtime"), ids=lambda path: path.name)
def test_runtime_imports_what_ships(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] in SHIPPED or parts[0] in sys.stdlib_module_names, name
        assert ALONE.get(parts[0], path.name) == path.name, name
        if parts[0] == "solofile":
            assert parts[1] in ("runtime", "webui"), name


@pytest.mark.parametrize("path", modules("builder"), ids=lambda path: path.name)
def test_builder_imports_what_both_agree_on(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["solofile", "runtime"] and len(parts) > 2:
            assert parts[2] in SHARED, f"{name}: only {', '.join(sorted(SHARED))} are shared"
        assert parts[:2] != ["solofile", "tests"]


def test_shared_modules_import_only_each_other() -> None:
    for name in SHARED - {"options"}:
        for found in imports(ROOT / "runtime" / f"{name}.py"):
            parts = found.split(".")
            if parts[0] == "solofile":
                assert parts[2] in SHARED, f"{name} imports {found}"
            else:
                assert parts[0] in sys.stdlib_module_names, f"{name} imports {found}"
