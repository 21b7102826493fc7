"""What is in a bundle, as a page of text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from solofile.builder.progress import byte_size
from solofile.runtime.archive import STORED, Member
from solofile.runtime.container import PADDING_PREFIX, Bundle
from solofile.runtime.manifest import LAUNCHER_PART, Manifest, Model, Part, Target

_GROUPS: Mapping[str, str] = {
    "runtime": "runtime", "native": "kernels", "LICENSES": "licenses", "models": "models", "adapters": "adapters",
    LAUNCHER_PART: "launcher"
}  # fmt: skip


def page(bundle: Bundle) -> str:
    """The page that ``solofile inspect`` prints."""
    manifest = bundle.manifest
    rows = [
        ("file", f"{bundle.path}, {_exact(bundle.file_size)}"),
        ("built by", f"solofile {manifest.solofile}, llama.cpp {manifest.llama_cpp.version} "
                     f"({manifest.llama_cpp.commit[:7]}, from {manifest.llama_cpp.source})"),
        *(("target", _target(name, target)) for name, target in manifest.targets.items()),
        *(("model", _model(model, model.path == manifest.default_model)) for model in manifest.models),
        ("system prompt", manifest.system_prompt or "none"),
        ("arguments", " ".join(manifest.arguments) or "none"),
        *(("parts", line) for line in _groups(manifest.parts)),
        *(("beside", f"{one.file}, {_exact(one.size)}: {one.path}") for one in manifest.beside),
    ]  # fmt: skip
    return f"{manifest.name}: {manifest.title}\n\n" + _table(rows)


def document(bundle: Bundle) -> str:
    """The JSON that ``solofile inspect --json`` prints: the file's path, size and digest, what the directory says of
    each member, and the manifest as it is, which has the place and the SHA-256 of each part."""
    facts: dict[str, Any] = {
        "path": bundle.path,
        "size": bundle.file_size,
        "digest": bundle.digest,
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


def _target(name: str, target: Target) -> str:
    lines = [f"{name}, needs {target.requires}; kernels {', '.join(target.kernels)}"]
    for gpu, facts in target.gpus.items():
        needs = ", ".join([facts.requires, *facts.needs])
        lacks = f"; its shaders were compiled without {', '.join(facts.lacks)}" if facts.lacks else ""
        lines.append(f"GPU backend {gpu}, needs {needs}{lacks}")
    return "\n".join(lines)


def _model(model: Model, default: bool) -> str:
    facts = [
        f"{model.architecture}, {count(model.parameters)} parameters, {model.quantization}, {byte_size(model.size)}",
        f"context {model.context_length}" if model.context_length else "context unknown",
        "chat template" if model.chat_template else "no chat template",
        f"license {model.license}" if model.license else "license unknown",
    ]
    return f"{model.name} ({', '.join(facts)}){' by default' if default else ''}"


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
