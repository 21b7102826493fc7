"""The manifest ``solofile.json``: what a bundle is, what is in it and where (FORMAT.md).

Reading is strict: an unknown key is refused with the nearest known one, a value of another type or out of its range
with its place, and a manifest of a newer format with the remedy.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from solofile.runtime.ending import FORMAT
from solofile.runtime.errors import DamagedBundle, InputError, UnknownName
from solofile.runtime.fields import Fields, is_sha256
from solofile.runtime.manifest_behind import Behind, parse_behind
from solofile.runtime.manifest_beside import Beside, parse_beside
from solofile.runtime.manifest_prompt import Prompt

MANIFEST_NAME = "solofile.json"
LAUNCHER_PART = "launcher"
"""The part that is no member of the archive: the bytes before it."""

MAX_MANIFEST = 4 << 20

_PART_TYPES = (str, int, int, int, str)


@dataclass(frozen=True)
class LlamaCpp:
    """The llama.cpp that a pack is made of."""

    version: str
    commit: str
    source: str


@dataclass(frozen=True)
class Launcher:
    """The launcher of one target: bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Gpu:
    """One GPU backend: the oldest system that it runs on, the libraries beyond the system's that it needs (a driver's
    loader), the shader features that the compiler lacked which built it."""

    requires: str
    needs: tuple[str, ...]
    lacks: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """One system that the bundle runs on. ``pack`` is the digest that names the folder in the cache.

    ``gpus`` holds the GPU backends by name; the key may be left out.
    """

    requires: str
    pack: str
    kernels: tuple[str, ...]
    launcher: Launcher
    gpus: Mapping[str, Gpu] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """What a build made a model of: its ``name`` and SHA-256 there (of a folder: over the SHA-256 of its files).

    ``converted`` from a folder of safetensors; ``quantized`` to that, with the importance matrix of the SHA-256
    ``imatrix``; ``edited``: the metadata keys that were changed. ``llama_cpp`` is the commit that did it.
    """

    name: str
    sha256: str
    converted: bool
    quantized: str | None
    imatrix: str | None
    edited: tuple[str, ...]
    llama_cpp: str


@dataclass(frozen=True)
class Model:
    """One model. ``size`` is in bytes, ``parameters`` counts weights, None stands for what the GGUF does not say.

    What follows may be left out. ``title`` is for people; ``system_prompt`` stands in place of the bundle's and
    ``arguments`` behind it where this model runs. ``token_bytes`` are what one token of context takes, with keys and
    values of 16 bits, ``compute_bytes`` the buffers to compute in; both rather too many, 0 where nobody worked it out.
    ``origin`` is of a model that is not as it was given.
    """

    path: str
    name: str
    architecture: str
    parameters: int
    quantization: str
    context_length: int | None
    chat_template: bool
    license: str | None
    size: int
    title: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    token_bytes: int = 0
    compute_bytes: int = 0
    origin: Origin | None = None


class Part(NamedTuple):
    """One part of the file: the launcher or a member of the archive.

    ``offset`` is that of its first byte, not of its header; it takes ``stored`` bytes there. ``size`` and ``sha256``
    are of the bytes that come out. A named tuple, since every start makes hundreds of them.
    """

    path: str
    offset: int
    size: int
    stored: int
    sha256: str


_part_values = itemgetter(*Part._fields)


@dataclass(frozen=True)
class Manifest:
    """The whole of ``solofile.json``."""

    format: int
    solofile: str
    llama_cpp: LlamaCpp
    name: str
    title: str
    targets: Mapping[str, Target]
    models: tuple[Model, ...]
    default_model: str
    system_prompt: str | None
    arguments: tuple[str, ...]
    parts: tuple[Part, ...]
    packed: str | None = None
    """SHA-256 over the deflated parts as they lie in the file, in order; it may be left out."""
    icon: str | None = None
    """The part that holds the page's icon; it may be left out, as ``greeting``, which an empty chat shows."""
    greeting: str | None = None
    prompts: tuple[Prompt, ...] = ()
    """Left out where there is none."""
    beside: tuple[Beside, ...] = ()
    """What lies in other files; the key may be left out."""
    behind: Behind | None = None
    """Of a file that a Python starts; left out of all others."""

    def to_json(self) -> bytes:
        """The bytes of ``solofile.json``: ASCII, the same for the same manifest everywhere."""
        document = dataclasses.asdict(self) | {"parts": [part._asdict() for part in self.parts]}
        _leave_out(document, Manifest)
        for target in document["targets"].values():
            _leave_out(target, Target)
        for model in document["models"]:
            _leave_out(model, Model)
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str = MANIFEST_NAME) -> Manifest:
        """Read a manifest; ``where`` names the file in messages.

        Raises UnknownName for an unknown key, DamagedBundle for anything else that the format does not allow and
        InputError for a newer format.
        """
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DamagedBundle(f"The manifest of {where} is no JSON: copy or download the file again.") from error
        _check_format(raw, where)
        fields = Fields(raw, where, "", cls)
        manifest = cls(
            format=fields.count("format"),
            solofile=fields.text("solofile"),
            llama_cpp=_llama_cpp(fields.value("llama_cpp"), where),
            name=fields.text("name"),
            title=fields.text("title"),
            targets={name: _target(value, where, name) for name, value in fields.table("targets").items()},
            models=tuple(_model(value, where, index) for index, value in enumerate(fields.array("models"))),
            default_model=fields.text("default_model"),
            system_prompt=fields.text_or_none("system_prompt"),
            arguments=fields.texts("arguments"),
            parts=_parts(fields.array("parts"), where),
            packed=fields.digest_or_none("packed"),
            icon=fields.text_if_given("icon"),
            greeting=fields.text_if_given("greeting"),
            prompts=tuple(_prompt(value, where, at) for at, value in enumerate(fields.array_or_empty("prompts"))),
            beside=tuple(parse_beside(value, where, at) for at, value in enumerate(fields.array_or_empty("beside"))),
            behind=parse_behind(raw["behind"], where) if "behind" in raw else None,
        )
        manifest._check(fields)
        return manifest

    def _check(self, fields: Fields) -> None:
        """What one part of it says of another must hold. Raises DamagedBundle."""
        if self.default_model not in (model.path for model in self.models):
            raise fields.error("default_model", "must be one of the models")
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise fields.error("models", "must have names of their own")
        for index, prompt in enumerate(self.prompts):
            if prompt.model not in (model.path for model in self.models):
                raise fields.error(f"prompts.{index}.model", "must be one of the models")
        if self.icon is not None and self.icon not in (part.path for part in self.parts):
            raise fields.error("icon", "must be one of the parts")


def _leave_out(table: dict[str, Any], shape: type) -> None:
    """Take out of a table of ``shape`` what may be left out and says nothing."""
    for field in dataclasses.fields(shape):
        if field.default is not field.default_factory and not table[field.name]:
            del table[field.name]


def _check_format(raw: object, where: str) -> None:
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(
            f"{where} was built by a newer solofile (format {version}, this one reads {FORMAT}): "
            "use that version to read it."
        )
    if version != FORMAT or isinstance(version, bool):
        raise DamagedBundle(f"The manifest of {where} names no format that there is: copy or download the file again.")


def _llama_cpp(raw: object, where: str) -> LlamaCpp:
    fields = Fields(raw, where, "llama_cpp.", LlamaCpp)
    return LlamaCpp(fields.text("version"), fields.text("commit"), fields.text("source"))


def _target(raw: object, where: str, name: str) -> Target:
    place = f"targets.{name}."
    fields = Fields(raw, where, place, Target)
    launcher = Fields(fields.value("launcher"), where, f"{place}launcher.", Launcher)
    return Target(
        requires=fields.text("requires"),
        pack=fields.digest("pack"),
        kernels=fields.texts("kernels"),
        launcher=Launcher(launcher.count("size"), launcher.digest("sha256")),
        gpus={gpu: _gpu(value, where, f"{place}gpus.{gpu}.") for gpu, value in fields.table_or_empty("gpus").items()},
    )


def _gpu(raw: object, where: str, place: str) -> Gpu:
    fields = Fields(raw, where, place, Gpu)
    return Gpu(fields.text("requires"), fields.texts("needs"), fields.texts("lacks"))


def _model(raw: object, where: str, index: int) -> Model:
    fields = Fields(raw, where, f"models.{index}.", Model)
    return Model(
        path=fields.text("path"),
        name=fields.text("name"),
        architecture=fields.text("architecture"),
        parameters=fields.count("parameters"),
        quantization=fields.text("quantization"),
        context_length=fields.count_or_none("context_length"),
        chat_template=fields.flag("chat_template"),
        license=fields.text_or_none("license"),
        size=fields.count("size"),
        title=fields.text_if_given("title"),
        system_prompt=fields.text_if_given("system_prompt"),
        arguments=fields.texts_or_none("arguments"),
        token_bytes=fields.count_or_zero("token_bytes"),
        compute_bytes=fields.count_or_zero("compute_bytes"),
        origin=_origin(raw["origin"], where, index) if isinstance(raw, dict) and "origin" in raw else None,
    )


def _origin(raw: object, where: str, index: int) -> Origin:
    fields = Fields(raw, where, f"models.{index}.origin.", Origin)
    return Origin(
        name=fields.text("name"),
        sha256=fields.digest("sha256"),
        converted=fields.flag("converted"),
        quantized=fields.text_or_none("quantized"),
        imatrix=None if fields.value("imatrix") is None else fields.digest("imatrix"),
        edited=fields.texts("edited"),
        llama_cpp=fields.text("llama_cpp"),
    )


def _prompt(raw: object, where: str, index: int) -> Prompt:
    fields = Fields(raw, where, f"prompts.{index}.", Prompt)
    return Prompt(
        path=fields.text("path"),
        model=fields.text("model"),
        model_sha256=fields.digest("model_sha256"),
        llama_cpp=fields.text("llama_cpp"),
        tokens=fields.count("tokens"),
        flash=fields.text("flash"),
        streams=fields.count("streams"),
        options=fields.texts("options"),
        kernel=fields.text("kernel"),
        context_from=fields.count("context_from"),
        context_to=fields.count_or_none("context_to"),
    )


def _parts(raw: list[Any], where: str) -> tuple[Part, ...]:
    """The parts; written out without Fields for each, since there are hundreds and every start reads them."""
    parts = []
    for index, value in enumerate(raw):
        try:
            row = _part_values(value)
        except (KeyError, TypeError):
            raise _odd_part(value, where, index) from None
        if len(value) != len(row) or tuple(map(type, row)) != _PART_TYPES or not is_sha256(row[-1]):
            raise _odd_part(value, where, index)
        parts.append(Part._make(row))
    return tuple(parts)


def _odd_part(value: object, where: str, index: int) -> Exception:
    """The error for an entry of ``parts`` that is none."""
    place = f"parts.{index}."
    for key in value if isinstance(value, dict) else ():
        if key not in Part._fields:
            known = [place + one for one in Part._fields]
            return UnknownName("key", place + key, known, where=f"the manifest of {where}")
    return DamagedBundle(f"In the manifest of {where}, {place[:-1]} is malformed: copy or download the file again.")
