"""What is in a bundle, as a page of text or as JSON."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from solofile.builder.gguf_header import HeaderCut, HeaderError, read_header
from solofile.builder.gguf_memory import Memory, context_of, memory_of
from solofile.builder.progress import byte_size
from solofile.runtime.archive import STORED, Member
from solofile.runtime.container import PADDING_PREFIX, Bundle
from solofile.runtime.manifest import LAUNCHER_PART, Manifest, Model, Origin, Part, Target
from solofile.runtime.manifest_behind import APE, PYZ
from solofile.runtime.manifest_prompt import Prompt

_GROUPS: Mapping[str, str] = {
    "runtime": "runtime", "native": "kernels", "LICENSES": "licenses", "models": "models", "adapters": "adapters",
    "prompts": "stored prompts", LAUNCHER_PART: "launcher", "about": "icon"
}  # fmt: skip


_STARTED_BY = {
    PYZ: "a Python from 3.10 on, in which it runs: python FILE, or ./FILE where env finds python3",
    APE: "the Cosmopolitan Python that it is itself, which starts the runtime for the machine it finds",
}


def page(bundle: Bundle) -> str:
    """The page that ``solofile inspect`` prints."""
    manifest = bundle.manifest
    rows = [
        ("file", f"{bundle.path}, {_exact(bundle.file_size)}"),
        ("built by", f"solofile {manifest.solofile}, llama.cpp {manifest.llama_cpp.version} "
                     f"({manifest.llama_cpp.commit[:7]}, from {manifest.llama_cpp.source})"),
        *(("started by", text) for text in [_started_by(manifest)] if text),
        *(("target", _target(name, target)) for name, target in manifest.targets.items()),
        *(row for model in manifest.models for row in _model_rows(bundle, model)),
        *(("greeting", text) for text in [manifest.greeting] if text),
        *(("icon", path) for path in [manifest.icon] if path),
        ("system prompt", manifest.system_prompt or "none"),
        *(("stored prompt", _prompt(prompt)) for prompt in manifest.prompts),
        ("arguments", " ".join(manifest.arguments) or "none"),
        *(("parts", line) for line in _groups(manifest.parts)),
        *(("beside", f"{one.file}, {_exact(one.size)}: {one.path}") for one in manifest.beside),
    ]  # fmt: skip
    return f"{manifest.name}: {manifest.title}\n\n" + _table(rows)


def document(bundle: Bundle) -> str:
    """The JSON that ``solofile inspect --json`` prints: the file's path, size and digest, what the directory says of
    each member, and the manifest as it is, which has the place and the SHA-256 of each part."""
    memory = {model.path: model_memory(bundle, model) for model in bundle.manifest.models}
    facts: dict[str, Any] = {
        "path": bundle.path,
        "size": bundle.file_size,
        "digest": bundle.digest,
        "memory": {path: one._asdict() if one else None for path, one in memory.items()},
        "members": [_member(member) for member in bundle.members.values()],
        "manifest": json.loads(bundle.manifest_bytes),
    }
    return json.dumps(facts, indent=1) + "\n"


def _member(member: Member) -> dict[str, Any]:
    return {
        "path": member.path,
        "method": "stored" if member.method == STORED else "deflated",
        "mode": f"{member.mode:04o}",
        "crc32": f"{member.crc:08x}",
        "header_offset": member.header_offset,
    }


def summary(manifest: Manifest) -> str:
    """One line on the default model."""
    return _model(next(model for model in manifest.models if model.path == manifest.default_model), False)


def _started_by(manifest: Manifest) -> str:
    """What starts a bundle that is no program itself."""
    return _STARTED_BY[manifest.behind.form] if manifest.behind else ""


def _target(name: str, target: Target) -> str:
    lines = [f"{name}, needs {target.requires}; kernels {', '.join(target.kernels)}"]
    for gpu, facts in target.gpus.items():
        needs = ", ".join([facts.requires, *facts.needs])
        lacks = f"; its shaders were compiled without {', '.join(facts.lacks)}" if facts.lacks else ""
        lines.append(f"GPU backend {gpu}, needs {needs}{lacks}")
    return "\n".join(lines)


def _prompt(prompt: Prompt) -> str:
    options = f", with {' '.join(prompt.options)}" if prompt.options else ""
    return f"{prompt.path}, {prompt.tokens} tokens, read on {prompt.kernel}{options}"


def _model(model: Model, default: bool) -> str:
    facts = [
        f"{model.architecture}, {count(model.parameters)} parameters, {model.quantization}, {byte_size(model.size)}",
        f"context {model.context_length}" if model.context_length else "context unknown",
        "chat template" if model.chat_template else "no chat template",
        f"license {model.license}" if model.license else "license unknown",
    ]
    return f"{model.name} ({', '.join(facts)}){' by default' if default else ''}"


def _model_lines(model: Model, manifest: Manifest) -> Iterator[str]:
    """A model, and what is its own."""
    yield _model(model, model.path == manifest.default_model)
    if model.title:
        yield f"  title: {model.title}"
    if model.system_prompt:
        yield f"  system prompt: {model.system_prompt}"
    if model.arguments:
        yield f"  arguments: {' '.join(model.arguments)}"


def _model_rows(bundle: Bundle, model: Model) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    yield "model", "\n".join(_model_lines(model, manifest))
    if model.origin is not None:
        yield "made from", origin_text(model.origin)
    memory = model_memory(bundle, model)
    if memory is not None:
        yield "memory", memory_text(memory, context_of((*manifest.arguments, *model.arguments)))


def origin_text(origin: Origin) -> str:
    """What a model was made from, and how."""
    steps = ["converted"] if origin.converted else []
    if origin.quantized:
        matrix = f" with the importance matrix {origin.imatrix[:12]}…" if origin.imatrix else ""
        steps.append(f"quantized to {origin.quantized}{matrix}")
    steps += [f"metadata edited ({', '.join(origin.edited)})"] if origin.edited else []
    return f"{origin.name}, SHA-256 {origin.sha256}\n{', '.join(steps)}, with llama.cpp {origin.llama_cpp[:7]}"


def memory_text(memory: Memory, context: int | None) -> str:
    """What whoever starts the bundle needs; ``context`` is what its arguments say of that."""
    tokens = context or memory.context
    if not tokens:
        return f"{byte_size(memory.weights)} for the weights"
    cache = memory.cache(tokens)
    return (
        f"{byte_size(memory.weights + cache)} and what computing takes: {byte_size(memory.weights)} for the weights, "
        f"at most {byte_size(cache)} for {tokens} tokens of context"
    )


def model_memory(bundle: Bundle, model: Model) -> Memory | None:
    """What the header of a model in a bundle says of that; None for one that does not."""
    part = bundle.parts[model.path]
    try:
        with io.FileIO(os.dup(bundle.fileno()), "rb") as file:
            return memory_of(read_header(file, bundle.data_offset(part), part.size))
    except (HeaderCut, HeaderError):  # solofile verify is for that
        return None


def _groups(parts: Iterable[Part]) -> list[str]:
    """One line for each kind of part: how many, their bytes in the file, and unpacked if that differs."""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(_group(part.path), []).append(part)
    lines = []
    for group, members in groups.items():
        stored, size = sum(part.stored for part in members), sum(part.size for part in members)
        unpacked = f" (unpacked {byte_size(size)})" if size != stored else ""
        files = f", {len(members)} files" if len(members) > 1 else ""
        lines.append(f"{group}{files}, {byte_size(stored)}{unpacked}")
    return lines


def _group(path: str) -> str:
    if path.startswith(PADDING_PREFIX):
        return "padding"
    if path.startswith("native/") and "/libggml-cpu-" not in path:
        return "GPU backends"
    return _GROUPS.get(path.split("/")[0], "other")


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns; a name that repeats is written once."""
    lines = []
    last = ""
    for name, text in rows:
        first, *rest = text.splitlines() or [""]
        lines.append(f"{'' if name == last else name:<14} {first}".rstrip())
        lines.extend(f"{'':<14} {line}".rstrip() for line in rest)
        last = name
    return "\n".join(lines) + "\n"


def count(number: int) -> str:
    """A count as model cards write it: ``135M``, ``7.2B``."""
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= limit:
            value = number / limit
            return f"{value:.1f}{unit}" if value < 100 else f"{value:.0f}{unit}"
    return str(number)


def _exact(size: int) -> str:
    return f"{byte_size(size)} ({size} bytes)"
