"""Which states a build stores, and from whose runtime they come: the step between finding the packs and writing."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.chosen_models import Chosen
from solofile.builder.errors import BadInput
from solofile.builder.gguf_header import read_header
from solofile.builder.packfile import Pack
from solofile.builder.paths import cache_folder, keep_newest
from solofile.builder.progress import byte_size
from solofile.builder.prompt_texts import LEAST_TOKENS, Text, prefix_texts, system_text
from solofile.builder.prompts import PROGRAM, CannotRead, Read, RuntimeFiles, Subject, read_texts
from solofile.builder.python_pack import START
from solofile.builder.recipe import Recipe
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import PromptFile
from solofile.runtime.container import Bundle
from solofile.runtime.manifest_behind import PYTHON

_LEAST_BYTES = 3 * LEAST_TOKENS
"""A shorter system prompt has too few tokens: no model need be loaded to know that."""


class PackRuntime:
    """The runtime of a pack."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self.target, self.kernels = pack.facts.target, pack.facts.kernels
        self.llama_cpp = pack.facts.llama_cpp.commit

    def names(self) -> Sequence[str]:
        """The paths of its files."""
        return list(self._pack.members)

    def read(self, path: str) -> bytes:
        """One of them."""
        return self._pack.read(path)


class BundleRuntime:
    """The runtime in a bundle, for one of its targets."""

    def __init__(self, bundle: Bundle, target: str) -> None:
        self._bundle = bundle
        self.target, self.kernels = target, bundle.manifest.targets[target].kernels
        self.llama_cpp = bundle.manifest.llama_cpp.commit

    def names(self) -> Sequence[str]:
        """The paths of its files."""
        return list(self._bundle.parts)

    def read(self, path: str) -> bytes:
        """One of them."""
        return self._bundle.read(path)


class ZipappRuntime(BundleRuntime):
    """The runtime in a zipapp: the Python that runs solofile starts its modules."""

    def __init__(self, bundle: Bundle, target: str) -> None:
        super().__init__(bundle, target)
        self._program, self._inner = f"runtime/{target}/{PROGRAM}", f"runtime/{target}/{PYTHON}/"
        self._modules = f"runtime/{PYTHON}/"

    def names(self) -> Sequence[str]:
        """The paths of its files as a frozen one has them; an executable solofile is no Python that could start it."""
        found = [name.replace(self._modules, self._inner, 1) for name in super().names()]
        return found if getattr(sys, "frozen", False) else [*found, self._program]

    def read(self, path: str) -> bytes:
        """One of them; the program is a script."""
        if path != self._program:
            return super().read(path.replace(self._inner, self._modules, 1))
        python = shlex.quote(sys.executable)
        return f'#!/bin/sh\nexec {python} -I -S -X utf8 "${{0%/*}}/{PYTHON}/{START}" "$@"\n'.encode()


def runtime_of(bundle: Bundle, target: str) -> RuntimeFiles:
    """The runtime in a bundle for one of its targets, whatever its form."""
    behind = bundle.manifest.behind
    return ZipappRuntime(bundle, target) if behind is not None and behind.python else BundleRuntime(bundle, target)


def stored_prompts(
    recipe: Recipe,
    chosen: Chosen,
    arguments: tuple[str, ...],
    companions: Mapping[str, Path],
    packs: Sequence[Pack],
    stack: contextlib.ExitStack,
    progress: ProgressMaker,
) -> tuple[PromptFile, ...]:
    """The states for a bundle of ``recipe`` that runs ``chosen``, in files that are there until ``stack`` ends.

    Says what they take, and why one is not stored. Raises BadInput where the recipe insists on them.
    """
    model, fetched, arguments = chosen.model, chosen.fetched, (*arguments, *chosen.model.arguments)
    if model.system_prompt is not None:
        recipe = replace(recipe, system_prompt=model.system_prompt)
    texts = texts_of(recipe, chats=model.chat_template or "--chat-template" in arguments)
    if not texts:
        return ()
    with open_raw(fetched.path) as file:
        header = read_header(file, *(fetched.span or (0, None)))
    places = {path: (file, Span(0, file.stat().st_size)) for path, file in companions.items()}
    subject = Subject(model, fetched.path, header, arguments, fetched.span, places)
    insists = recipe.store_prompt is True
    return read(texts, subject, PackRuntime(packs[0]), stack, progress, insists=insists).files


def texts_of(recipe: Recipe, *, chats: bool) -> tuple[Text, ...]:
    """What is to be read. Raises BadInput for a prefix that cannot be used."""
    if recipe.store_prompt is False:
        return ()
    prompt, prefixes = recipe.system_prompt or "", prefix_texts(recipe.prefix)
    long = len(prompt.encode()) >= _LEAST_BYTES or (prompt and recipe.store_prompt)
    return (*((system_text(prompt),) if long and chats else ()), *prefixes)


def read(
    texts: Sequence[Text],
    subject: Subject,
    runtime: RuntimeFiles,
    stack: contextlib.ExitStack,
    progress: ProgressMaker,
    *,
    insists: bool = False,
) -> Read:
    """Have ``texts`` read, and say what came of it; without an error where that cannot be, unless one ``insists``."""
    folder = cache_folder("prompts")
    keep_newest(folder)  # of builds that were killed
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
    note = progress("Stored prompts", None, "tokens").note
    try:
        found = read_texts(texts, subject, runtime, place, progress)
    except CannotRead as error:
        sentence = f"No prompt is stored in the bundle, since {error}"
        if insists:
            raise BadInput(f"{sentence}: leave store_prompt out, or give --no-stored-prompt.") from error
        note(f"{sentence}: it is read at each start.")
        return Read()
    if insists and found.notes:
        raise BadInput(found.notes[0])
    for sentence in found.notes:
        note(sentence)
    for one in found.files:
        size, tokens = byte_size(one.source.stat().st_size), one.prompt.tokens
        note(f"Stored: {one.prompt.path}, {tokens} tokens in {size}, read on {one.prompt.kernel}.")
    return found
