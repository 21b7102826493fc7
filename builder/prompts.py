"""Has a model read texts at build time, so that the bundle holds their states (runtime/stored_prompts.py).

The runtime that will restore them does it, in a process of its own: the one of the pack or of the bundle at hand,
unpacked to a temporary folder. A state depends on the CPU variant, which is the best that this machine runs of those in
the bundle, and on nothing else here: not on the number of threads (tested), nor on what was measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from solofile.builder.archive_writer import Span
from solofile.builder.errors import BuildError
from solofile.builder.gguf_header import Header
from solofile.builder.progress import Progress
from solofile.builder.prompt_texts import LEAST_TOKENS, Text
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import PromptFile
from solofile.runtime import choose_cpu, hardware, stored_prompts
from solofile.runtime.errors import SolofileError
from solofile.runtime.kernel_path import Known, Offer, Wishes
from solofile.runtime.manifest import Model
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.options import Given
from solofile.runtime.options import parse as parse_options

PROGRAM = "solofile-runtime"
_SPARE = 1024
"""Tokens beyond what a text looks like: what the chat template adds."""


class CannotRead(BuildError):  # noqa: N818 - reads as what happened
    """No states can be made; the message is half a sentence that says why."""


class RuntimeFiles(Protocol):
    """Where a runtime lies: a pack or a bundle."""

    target: str
    kernels: tuple[str, ...]
    llama_cpp: str

    def names(self) -> Sequence[str]:
        """The paths of its files."""

    def read(self, path: str) -> bytes:
        """One of them."""


@dataclass(frozen=True)
class Subject:
    """What reads: the model in a file, or in a ``span`` of it, with its header; ``arguments`` are the bundle's default
    ones, and ``companions`` the files that these name by their paths in the bundle, or where in a file they lie."""

    model: Model
    file: Path
    header: Header
    arguments: tuple[str, ...]
    span: Span | None = None
    companions: Mapping[str, tuple[Path, Span]] = field(default_factory=dict)

    @property
    def given(self) -> tuple[Given, ...]:
        """The options among the arguments."""
        return parse_options(self.arguments)


@dataclass(frozen=True)
class Read:
    """What came of it: states in files of the folder, and sentences on those that there are none of."""

    files: tuple[PromptFile, ...] = ()
    notes: tuple[str, ...] = ()


def read_texts(
    texts: Sequence[Text], subject: Subject, runtime: RuntimeFiles, folder: Path, progress: ProgressMaker
) -> Read:
    """Have the model read ``texts``; the states lie in ``folder``. Raises CannotRead."""
    why = stored_prompts.obstacle(subject.given)
    if why:
        raise CannotRead(why)
    if runtime.target != hardware.target():
        raise CannotRead(f"this machine is {hardware.target()} and the bundle is for {runtime.target}")
    machine = hardware.detect()
    try:
        kernel = choose_cpu.pick(machine, Offer(runtime.kernels), Wishes(), Known()).name
    except SolofileError as error:
        raise CannotRead(str(error).rstrip(".")) from error
    window = Window.of(subject, sum(text.size for text in texts))
    with _unpacked(runtime, kernel, folder) as program:
        job = _job(texts, subject, program, machine.threads, folder)
        answer = _ask(program, {**job, "context": window.tokens}, texts, progress)
        if "needs" in answer:
            window = window.holding(answer["needs"])
            answer = _ask(program, {**job, "context": window.tokens}, texts, progress)
    return _result(answer, subject, runtime, kernel, window, folder)


@dataclass(frozen=True)
class Window:
    """The context in which texts are read, in tokens; the states are for contexts ``above`` and ``up_to`` a number.

    Models with two sets of factors for positions (LongRoPE) take one of them by the length of the context.
    """

    tokens: int
    limit: int
    streams: int
    above: int = 0
    up_to: int | None = None

    @classmethod
    def of(cls, subject: Subject, size: int) -> Window:
        """The one for so many bytes of text."""
        given = subject.given
        asked = [int(one.values[0]) for one in given if one.option.key == "-c"]
        streams = stored_prompts.streams(given)
        limit = ((asked[-1] if asked else 0) or subject.model.context_length or 1 << 20) // streams
        tokens, above, up_to = min(limit, size // 2 + _SPARE), 0, None
        if any(name.startswith("rope_factors_long") for name in subject.header.names):
            change = _change(subject)
            above, up_to = (change, None) if limit > change else (0, change)
            tokens = max(tokens, above + _SPARE) if above else tokens
        return cls(tokens * streams, limit, streams, above, up_to)

    def holding(self, tokens: int) -> Window:
        """A longer one. Raises CannotRead."""
        if tokens > self.limit:
            raise CannotRead(f"a context of {self.limit} tokens does not hold them")
        return Window(tokens * self.streams, self.limit, self.streams, self.above, self.up_to)


def _change(subject: Subject) -> int:
    """The context beyond which the other factors count."""
    key = f"{subject.model.architecture}.rope.scaling.original_context_length"
    found = subject.header.values.get(key, subject.model.context_length)
    return found if isinstance(found, int) and found > 0 else 1 << 20


@dataclass(frozen=True)
class Program:
    """A runtime that can be started."""

    path: Path
    native: Path
    backend: Path


@contextmanager
def _unpacked(runtime: RuntimeFiles, kernel: str, folder: Path) -> Iterator[Program]:
    """Its files, and the library of one kernel, in a folder of their own."""
    prefix, library = f"runtime/{runtime.target}/", f"native/{runtime.target}/libggml-cpu-{kernel}.so"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        for name in runtime.names():
            if name.startswith(prefix) or name == library:
                file = root / (name[len(prefix) :] if name.startswith(prefix) else Path(name).name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(runtime.read(name))
        program = Program(root / PROGRAM, root / "native", root / Path(library).name)
        if not program.path.exists() or not program.backend.exists():
            raise CannotRead("its runtime cannot be started on this machine")
        program.path.chmod(0o755)
        yield program


def _job(texts: Sequence[Text], subject: Subject, program: Program, threads: int, folder: Path) -> dict[str, Any]:
    given = subject.given
    count = str(threads)
    streams = stored_prompts.streams(given)
    slots = ("-np", "1") if streams == 1 else ("-np", str(streams), "--no-kv-unified")
    own = ("--model", subject.model.path, *slots, "-t", count, "-tb", count, "-b", "2048", "-ub", "512",
           "-fa", stored_prompts.flash_word(given), "--fit", "off", "--cache-ram", "0", "--no-warmup")  # fmt: skip
    deciding = [word for one in stored_prompts.deciding(given) for word in one.words()]
    start, size = subject.span or (0, subject.model.size)
    members = [_member(subject.model.path, subject.file, start, size)]
    members += [_member(path, file, *span) for path, (file, span) in subject.companions.items()]
    return {
        "native_dir": str(program.native),
        "backends": [str(program.backend)],
        "arguments": [*own, *deciding],
        "members": members,
        "folder": str(folder),
        "least": LEAST_TOKENS,
        "texts": [{"name": text.name, **text.request} for text in texts],
    }


def _member(name: str, file: Path, offset: int, size: int) -> dict[str, Any]:
    return {"name": name, "file": str(file), "offset": offset, "size": size}


def _ask(program: Program, job: Mapping[str, Any], texts: Sequence[Text], progress: ProgressMaker) -> dict[str, Any]:
    """Start the runtime on a job, show how far it is, and return the last line of its answer. Raises CannotRead."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("_PYI_", "LLAMA_"))}
    label = "Reading the system prompt" if len(texts) == 1 else f"Reading {len(texts)} prompts"
    try:
        child = subprocess.Popen(
            [str(program.path)], env={**environment, "SOLOFILE_CHILD": "prompt"}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise CannotRead(f"its runtime cannot be started: {error.strerror}") from error
    with child, progress(label, None, "tokens") as shown:
        try:
            assert child.stdin is not None and child.stdout is not None and child.stderr is not None
            child.stdin.write(json.dumps(job).encode() + b"\n")
            child.stdin.flush()
            answer = _last(child.stdout, shown)
            child.stdin.close()
            words = child.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        except BrokenPipeError:
            answer, words = None, ""
        finally:
            child.kill()
    if answer is None:
        raise CannotRead(f"the runtime that reads ended with code {child.wait()}{words and f' ({words})'}")
    if "failure" in answer:
        raise CannotRead(answer["failure"].rstrip("."))
    return answer


def _last(lines: Any, shown: Progress) -> dict[str, Any] | None:
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    for line in lines:
        found: dict[str, Any] = json.loads(line)
        if "reading" not in found:
            return found
        done[found["reading"]], total[found["reading"]] = found["done"], found["total"]
        shown.total = sum(total.values())
        shown.update(sum(done.values()))
    return None


def _result(
    answer: Mapping[str, Any], subject: Subject, runtime: RuntimeFiles, kernel: str, window: Window, folder: Path
) -> Read:
    files, notes = [], []
    for one in answer["states"]:
        name = one["name"]
        if "refused" in one:
            notes.append(f"The state of the prompt {name} is not stored: {one['refused']}.")
            continue
        prompt = Prompt(
            path=f"prompts/{name}.kv",
            model=subject.model.path,
            model_sha256="0" * 64,  # the writer knows it
            llama_cpp=runtime.llama_cpp,
            tokens=one["tokens"],
            flash=stored_prompts.flash_word(subject.given),
            streams=window.streams,
            options=stored_prompts.fingerprint(subject.given),
            kernel=kernel,
            context_from=max(one["tokens"] + stored_prompts.SPARE, window.above + 1),
            context_to=window.up_to,
        )
        files.append(PromptFile(prompt, folder / f"{name}.kv"))
    return Read(tuple(files), tuple(notes))
