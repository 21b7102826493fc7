"""From a folder of Hugging Face's, weights as safetensors, to a GGUF: by llama.cpp's own converter in a child process.

<build cache>/converted/<key>/NAME.gguf

The converter lies in the pinned sources; what it imports is solofile's extra “convert”, since PyTorch is large.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.errors import BadModel, MissingTool
from solofile.builder.known_hashes import digest_of
from solofile.builder.output import check_space, explained
from solofile.builder.paths import cache_folder, keep_newest, locked, mark_used
from solofile.builder.sources import Fetched, safe_name
from solofile.builder.tools import ProgressMaker
from solofile.runtime.errors import UnknownName

CONVERTER = "vendor/llama.cpp/convert_hf_to_gguf.py"
NEEDED = ("torch", "transformers", "numpy")
EXTRA = "pip install 'solofile[convert]'"
TYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""What the converter writes; ``auto`` is the 16-bit type nearest to the weights'."""

KEPT = 2
"""Converted models that stay in the build cache."""

READ = ("*.safetensors", "*.json", "*/config.json", "*.model", "*.txt", "*.tiktoken", "*.jinja", "*.md")
"""The files of such a folder that the converter gets to see: it would run Python files, and unpickle others."""

_TOLD = 4000


def is_convertible(folder: Path) -> bool:
    """Is it a folder with a model of Hugging Face's?"""
    return folder.is_dir() and (folder / "config.json").is_file() and any(_weights(folder))


def converted(fetched: Fetched, progress: ProgressMaker, kind: str = "auto") -> tuple[Fetched, str]:
    """The GGUF of a folder, and the SHA-256 over its files (``folder_digest``). Raises BadModel, MissingTool."""
    check_extra()
    folder = fetched.path.absolute()
    digest = folder_digest(folder, progress)
    name = f"{safe_name(folder.name)}.gguf"
    key = hashlib.sha256(json.dumps([digest, name, kind, inputs.LLAMA_CPP_COMMIT]).encode()).hexdigest()
    place = cache_folder("converted", key)
    path = place / name
    with locked(place.with_name(f"{place.name}.lock")):
        if not path.is_file():
            try:
                convert(folder, path, kind, progress)
            except BaseException:
                place.rmdir()
                raise
    mark_used(place)
    keep_newest(place.parent, KEPT)
    return Fetched(path, None, name), digest


def convert(folder: Path, path: Path, kind: str, progress: ProgressMaker) -> None:
    """Write the GGUF of ``folder`` to ``path``. Raises BadModel, MissingTool, UnknownName, BadOutput."""
    check_extra()
    if kind not in TYPES:
        raise UnknownName("type", kind, TYPES)
    total = sum(one.stat().st_size for one in _weights(folder))
    check_space(path, total)
    temporary = path.with_name(f".{path.name}.part")
    command = [sys.executable, str(inputs.llama_source() / CONVERTER), "--outtype", kind, "--outfile", str(temporary)]
    label = f"Converting {folder.name}"
    try:
        with explained(path, total), progress(label, total, "B") as shown, _clean_copy(folder) as clean:
            _run([*command, str(clean)], folder, lambda: shown.update(min(_size(temporary), total - 1)))
            shown.update(total)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _run(command: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, env=_environment()
        )
        try:
            while process.poll() is None:
                tick()
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            messages.seek(max(0, messages.seek(0, os.SEEK_END) - _TOLD))
            reason = _reason(messages.read().decode("utf-8", "replace"))
            raise BadModel(f"llama.cpp's converter cannot convert {folder}: {reason}.")


@contextlib.contextmanager
def _clean_copy(folder: Path) -> Iterator[Path]:
    """A folder of the same name, which the converter makes the model's of, with links to the files that it may read."""
    with tempfile.TemporaryDirectory() as temporary:
        clean = Path(temporary) / folder.name
        for path in _readable(folder):
            link = clean / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        yield clean


def check_extra() -> None:
    """Refuse, with the command that brings them, where the converter's packages are missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingTool(f"Converting a folder of safetensors needs {' and '.join(missing)}: {EXTRA}.")


def folder_digest(folder: Path, progress: ProgressMaker) -> str:
    """The SHA-256 over a line for each file that the converter may read, as sha256sum prints it, sorted by name."""
    lines = (
        f"{digest_of(path, None, progress)}  {path.relative_to(folder).as_posix()}\n" for path in _readable(folder)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _readable(folder: Path) -> list[Path]:
    return sorted({path for pattern in READ for path in folder.glob(pattern) if path.is_file()})


def _weights(folder: Path) -> Iterable[Path]:
    return folder.glob("*.safetensors")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _environment() -> Mapping[str, str]:
    """The converter looks for nothing outside of the folder."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **offline, "PYTHONDONTWRITEBYTECODE": "1"}


def _reason(text: str) -> str:
    """The last line that says something: of a traceback the error itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "it does not say why")[:300].rstrip(".")
