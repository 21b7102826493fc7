"""The stored prompts of a bundle that another one is made of: kept where they are good for that, else made anew or left
out, and said."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.copying import write_all
from solofile.builder.gguf_header import read_header
from solofile.builder.packfile import Pack
from solofile.builder.paths import cache_folder
from solofile.builder.prompt_build import PackRuntime, read, runtime_of
from solofile.builder.prompt_texts import system_text
from solofile.builder.prompts import RuntimeFiles, Subject
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import PromptFile
from solofile.runtime import hardware, stored_prompts
from solofile.runtime.container import Bundle
from solofile.runtime.manifest import Manifest
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.options import Given
from solofile.runtime.options import parse as parse_options
from solofile.runtime.stored_prompts import SYSTEM, Situation


def after_set(
    bundle: Bundle, after: Manifest, stack: contextlib.ExitStack, progress: ProgressMaker, *, drop: bool
) -> Sequence[PromptFile] | None:
    """The stored prompts for a bundle with the settings of ``after``; None where they stay as they are.

    The runtime in the bundle reads what must be read. The files are there until ``stack`` ends.
    """
    old = bundle.manifest
    if drop:
        return ()
    if not any(_why_not(prompt, old, after) for prompt in old.prompts):
        return None
    target = hardware.target() if hardware.target() in old.targets else next(iter(old.targets))
    return _renewed(bundle, after, runtime_of(bundle, target), stack, progress)


def after_upgrade(
    bundle: Bundle,
    after: Manifest,
    packs: Sequence[Pack],
    stack: contextlib.ExitStack,
    progress: ProgressMaker,
    *,
    drop: bool,
) -> Sequence[PromptFile]:
    """The same for a bundle with the runtime of ``packs``."""
    return () if drop else _renewed(bundle, after, PackRuntime(packs[0]), stack, progress)


def _renewed(
    bundle: Bundle, after: Manifest, runtime: RuntimeFiles, stack: contextlib.ExitStack, progress: ProgressMaker
) -> Sequence[PromptFile]:
    old, kept, anew = bundle.manifest, list[PromptFile](), list[PromptFile]()
    note = progress("Stored prompts", None, "tokens").note
    for prompt in old.prompts:
        why = _why_not(prompt, old, after, runtime.llama_cpp)
        if not why:
            kept.append(PromptFile(prompt, _taken_out(bundle, prompt, stack)))
        elif prompt.path == SYSTEM and after.system_prompt:
            subject = _subject(bundle, prompt, after)
            anew += read([system_text(after.system_prompt)], subject, runtime, stack, progress).files
        elif prompt.path == SYSTEM:
            note(f"{prompt.path} is left out: there is no system prompt any more.")
        else:
            note(f"{prompt.path} is left out, since {why}: build from the recipe to have it made anew.")
    return [*anew, *kept]


def _why_not(prompt: Prompt, old: Manifest, after: Manifest, llama_cpp: str | None = None) -> str:
    """Why the state is of no use after the change; empty where it is."""
    digests = {part.path: part.sha256 for part in old.parts}
    given = parse_options(after.arguments)
    now = Situation(prompt.model, digests[prompt.model], llama_cpp or old.llama_cpp.commit, given, after.system_prompt,
                    _context(given), stored_prompts.flash_word(given))  # fmt: skip
    return stored_prompts.refusal(prompt, now, old.system_prompt)


def _context(given: Sequence[Given]) -> int:
    asked = [int(one.values[0]) for one in given if one.option.key == "-c"]
    return asked[-1] if asked else 0


def _taken_out(bundle: Bundle, prompt: Prompt, stack: contextlib.ExitStack) -> Path:
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=cache_folder("prompts"))))
    file = place / Path(prompt.path).name
    with file.open("xb", buffering=0) as output:
        for chunk in bundle.open_part(prompt.path):  # compares it with its hash
            write_all(output, chunk)
    return file


def _subject(bundle: Bundle, prompt: Prompt, after: Manifest) -> Subject:
    model = next(model for model in bundle.manifest.models if model.path == prompt.model)
    span = _span(bundle, model.path)
    with open_raw(Path(bundle.path)) as file:
        header = read_header(file, *span)
    companions = {path: (Path(bundle.path), _span(bundle, path)) for path in _companions(bundle)}
    return Subject(model, Path(bundle.path), header, after.arguments, span, companions)


def _companions(bundle: Bundle) -> Iterator[str]:
    return (path for path in bundle.parts if path.startswith("adapters/"))


def _span(bundle: Bundle, path: str) -> Span:
    return Span(bundle.data_offset(path), bundle.parts[path].size)
