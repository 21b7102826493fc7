"""The report of --doctor as one screen for a person: pure text from the data that doctor.py collects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solofile.runtime import doctor_unused, kernels
from solofile.runtime.hardware import short_name
from solofile.runtime.measured import speed
from solofile.runtime.memory_text import size_text
from solofile.runtime.text_columns import block, columns, joined, marked

_PARTS = {
    "model": "model", "kernel": "CPU kernels", "repack": "weights", "gpu": "GPU", "gpu layers": "on the GPU",
    "threads": "threads", "threads for prompts": "for prompts", "batch": "batch", "flash attention": "attention",
    "context": "context", "prompt cache": "prompt cache", "load mode": "loading", "NUMA": "NUMA", "workers": "workers",
}  # fmt: skip
"""The parts of a choice in the order in which they are shown, and what people read there."""

_WORDS = {
    ("repack", "on"): "repacked", ("repack", "off"): "as in the file",
    ("repack", "nothing to repack"): "as in the file", ("load mode", "auto"): "mapped",
}  # fmt: skip

_MEMORY = {
    "weights_mapped": "weights, mapped in place", "weights_loaded": "weights, copied from the file",
    "weights_repacked": "weights, repacked", "kv_cache": "KV cache", "compute": "computing",
}  # fmt: skip

Report = Mapping[str, Any]


def page(report: Report) -> str:
    """The whole of it."""
    blocks = [
        _head(report),
        block("This machine", columns(machine_rows(report["hardware"]))),
        block("What computes", columns(choice_rows(report.get("choice", {})))),
        block(_memory_title(report), list(memory_lines(_section(report.get("choice", {}), "memory")))),
        block("Not used, and what would change that", columns(doctor_unused.rows(report))),
        block("Bundle and cache", columns([*bundle_rows(report["bundle"]), *cache_rows(report["cache"])])),
        block("Sandbox", columns(sandbox_rows(_section(report, "sandbox")))),
    ]
    return joined(blocks)


def _section(table: Report, name: str) -> Report:
    """A section, empty where it could not be found out: that is among the problems."""
    found: Report = table.get(name, {})
    return {} if "error" in found else found


def _head(report: Report) -> list[str]:
    bundle = _section(report, "bundle")
    name = bundle.get("title") or bundle.get("name") or "solofile"
    made = "".join(f", llama.cpp {one['version']} ({one['commit'][:7]})" for one in [bundle.get("llama_cpp")] if one)
    title = f"{name}: solofile {report['solofile']}{made}"
    found = report["problems"]
    if not found:
        return [title, "No problem was found."]
    return [title, *(line for one in found for line in marked(one))]


def machine_rows(machine: Report) -> Iterator[tuple[str, str]]:
    """What there is of it, and what this process may use."""
    cores = f"{machine['cores']} core{_s(machine['cores'])}"
    if machine["efficiency_cores"]:
        cores = f"{machine['performance_cores']} performance and {machine['efficiency_cores']} efficiency cores"
    sockets = f", {machine['sockets']} sockets" if machine["sockets"] > 1 else ""
    caches = _caches(machine["caches"])
    yield "CPU", f"{short_name(machine['cpu']) or machine['target']}: {cores}{sockets}{caches}"
    yield "usable", "; ".join(_usable(machine))
    total = _size_or(machine["memory_total"], "unknown")
    limit = machine["memory_limit"]
    below = f", under a limit of {size_text(limit)}" if limit is not None else ""
    yield "memory", f"{total}, {_size_or(machine['memory_available'], 'nobody knows how much')} available{below}"
    for gpu in machine["gpus"]:
        driver = f"driver {gpu['driver']} {gpu['driver_version']}".rstrip() if gpu["driver"] else "no driver"
        yield "GPU", f"{gpu['name']} ({', '.join(filter(None, (gpu['kind'], driver)))})"
    if not machine["gpus"]:
        yield "GPU", "none that the system shows"


def _usable(machine: Report) -> Iterator[str]:
    every = machine["allowed_cpus"] == machine["logical"]
    count = f"all {machine['logical']}" if every else f"{machine['allowed_cpus']} of {machine['logical']}"
    yield "the one CPU there is" if machine["logical"] == 1 else f"{count} CPUs"
    if machine["container_limit"] is not None:
        yield f"a container's limit of {machine['container_limit']:.3g} CPUs"
    features = kernels.able_features(frozenset(machine["features"]))
    if features:
        yield ", ".join(features)


def _caches(caches: Sequence[Report]) -> str:
    last = max((one["level"] for one in caches), default=0)
    if last < 2:
        return ""
    biggest = max(one["size"] for one in caches if one["level"] == last)
    return f", {biggest // 1024 / 1024:.3g} MiB L{last} cache"


def choice_rows(choice: Report) -> Iterator[tuple[str, str, str]]:
    """The choice, and what was measured for it."""
    yield from part_rows(choice)
    yield from prompt_rows(choice)
    if choice.get("decisions"):
        yield "measured", *measured_words(choice)


def part_rows(choice: Report) -> Iterator[tuple[str, str, str]]:
    """Each part of the choice with its reason."""
    decisions = {one["part"]: one for one in choice.get("decisions", ())}
    for part, name in _PARTS.items():
        one = decisions.get(part)
        if one is None or _goes_without_saying(part, one, decisions, choice["path"]):
            continue
        below = part == "gpu" and one["losers"] and one["value"] == "none"
        yield name, _value(part, one["value"], choice["path"]), "why not is said below" if below else one["reason"]


def prompt_rows(choice: Report) -> Iterator[tuple[str, str, str]]:
    """The stored prompts."""
    for one in choice.get("prompts", ()):
        name = one["path"].rpartition("/")[2].removesuffix(".kv")
        if one["reason"]:
            yield "stored prompt", f"{name}: not used", one["reason"]
        else:
            yield "stored prompt", f"{name}: {one['tokens']} tokens", f"read when it was built, on {one['kernel']}"


def _value(part: str, value: str, path: Report) -> str:
    if part == "prompt cache" and path["cache_ram"] > 0:
        return f"up to {size_text(path['cache_ram'] << 20)}"
    if part == "batch":
        return f"{path['batch']}, {path['ubatch']}"
    return f"flash: {value}" if part == "flash attention" else _WORDS.get((part, value), value)


def _goes_without_saying(part: str, one: Report, decisions: Report, path: Report) -> bool:
    if part == "threads for prompts":
        return bool({**one, "part": "threads"} == decisions["threads"])
    if part == "batch":
        return "asked for" not in one["reason"]
    if part == "gpu layers":
        unused = one["value"] == "0" or path["workers"]  # theirs are said with them
        return not path["backend"] and unused and "does nothing" not in one["reason"]
    return part == "NUMA" and one["value"] == "off" and not one["losers"]


def measured_words(choice: Report) -> tuple[str, str]:
    """When calibration measured, and what; else what the choice stands on."""
    found = choice.get("calibration")
    if not found:
        return "nothing yet", "all by rule; a server measures once, for 2 s after its first load"
    if found.get("path") != choice["path"]["key"]:
        return f"{found.get('date', 'earlier')}", f"for {found.get('path')}, which is not used now: all by rule"
    answers, prompts = (_rates(found.get(kind)) for kind in ("decode", "prompt"))
    text = ", ".join(filter(None, (answers and f"answers {answers}", prompts and f"prompts {prompts}")))
    return f"{found.get('date', 'earlier')}", f"tokens/s by threads: {text}; rules decide the rest"


def _rates(table: object) -> str:
    if not isinstance(table, Mapping):
        return ""
    return ", ".join(f"{speed(rate)} with {count}" for count, rate in table.items() if isinstance(rate, (int, float)))


def _memory_title(report: Report) -> str:
    table = _section(report.get("choice", {}), "memory")
    return f"Memory, with a context of {table['context']:,} tokens" if table else "Memory"


def memory_lines(table: Report) -> Iterator[str]:
    """What goes where, summed up beside what there is."""
    if not table:
        return
    for key, name in _MEMORY.items():
        if key in table:
            yield f"{name:<30}{size_text(table[key]):>8}"
    for one in table["devices"]:
        yield f"{'on ' + one['name']:<30}{size_text(one['used']):>8}  of {size_text(one['free'])} that are free there"
    yield f"{'sum':<30}{size_text(table['needed']):>8}  {_verdict(table)}"
    if table["prompt_cache_at_most"] > 0:
        cache = size_text(table["prompt_cache_at_most"])
        yield f"{'prompt cache':<30}{cache:>8}  at most, as conversations come and go"


def _verdict(table: Report) -> str:
    if table["available"] is None:
        return "(nobody knows how much is available)"
    fits = "fits into" if table["fits"] else "DOES NOT FIT into"
    return f"{fits} the {size_text(table['usable'])} that a model can have here"


def bundle_rows(bundle: Report) -> Iterator[tuple[str, str]]:
    """The file and its models."""
    if "error" in bundle:
        return
    yield "bundle", f"{bundle['path']}, {size_text(bundle['size'])}, built by solofile {bundle['built_by']}"
    for name, requires in bundle["targets"].items():
        count = len(bundle["kernels"][name])
        gpus = ", ".join(bundle["gpus"].get(name, {})) or "none"
        yield "runs on", f"{name} with {requires} or newer; {count} CPU kernel{_s(count)}, GPU libraries: {gpus}"
    for model in bundle["models"]:
        facts = [
            f"{model['architecture']} {_count(model['parameters'])}", model["quantization"], size_text(model["size"]),
            f"trained for {model['context_length']:,} tokens" if model["context_length"] else "context unknown",
            "can chat" if model["chat_template"] else "knows no chat", model["license"] or "license unknown",
        ]  # fmt: skip
        yield "model", f"{model['name']} ({', '.join(facts)})"
    if bundle["arguments"]:
        yield "defaults", " ".join(bundle["arguments"])


def cache_rows(cache: Report) -> Iterator[tuple[str, str]]:
    """The cache folder."""
    if "error" in cache:
        return
    count, size = len(cache["folders"]), sum(one["size"] for one in cache["folders"])
    free = "" if cache["free"] is None else f", {size_text(cache['free'])} free there"
    kept = f"{size_text(size)} in {count} folder{_s(count)}" if count else "empty"
    yield "cache", f"{cache['path']}: {kept}{free}" + (" (--cache-clear empties it)" if count else "")


def sandbox_rows(sandbox: Report) -> Iterator[tuple[str, str]]:
    """What a start cannot do any more, and why it is not more."""
    if not sandbox:
        return
    level = f" (Landlock {sandbox['landlock']})" if sandbox["landlock"] else ""
    yield "files", f"a start reads its own and writes its state{level}" if sandbox["files"] else "not confined"
    yield "programs", "a loaded model starts none, nor connections, nor code" if sandbox["calls"] else "not confined"
    for why in sandbox["lacks"]:
        yield "lacking", why


def _size_or(size: int | None, unknown: str) -> str:
    return unknown if size is None else size_text(size)


def _count(number: int) -> str:
    """A count of weights as model cards write it: 135M, 7.2B."""
    if number >= 1_000_000_000:
        return f"{number / 1e9:.3g}B"
    return f"{number / 1e6:.0f}M" if number >= 1_000_000 else str(number)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
