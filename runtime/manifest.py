"""The manifest ``solofile.json``: what a bundle is, what is in it and where (FORMAT.md).

Reading is strict: an unknown key is refused with the nearest known one, a value of another type or out of its range
with its place, and a manifest of a newer format with the remedy.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from solofile.runtime.errors import DamagedBundle, InputError, UnknownName

FORMAT = 1
MANIFEST_NAME = "solofile.json"
LAUNCHER_PART = "launcher"
"""The part that is no member of the archive: the bytes before it."""

MAX_MANIFEST = 4 << 20

_SIZE_LIMIT = 1 << 62
_is_sha256 = re.compile("[0-9a-f]{64}").fullmatch
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
class Model:
    """One model. ``size`` is in bytes, ``parameters`` counts weights, None stands for what the GGUF does not say."""

    path: str
    name: str
    architecture: str
    parameters: int
    quantization: str
    context_length: int | None
    chat_template: bool
    license: str | None
    size: int


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


@dataclass(frozen=True)
class Beside:
    """A part in a file of its own beside the bundle, named ``file``; ``ends`` is the SHA-256 over its first and its
    last 65,536 bytes."""

    path: str
    file: str
    size: int
    sha256: str
    ends: str


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
    beside: tuple[Beside, ...] = ()
    """What lies in other files; the key may be left out."""

    def to_json(self) -> bytes:
        """The bytes of ``solofile.json``: ASCII, the same for the same manifest everywhere."""
        document = dataclasses.asdict(self) | {"parts": [part._asdict() for part in self.parts]}
        for target in document["targets"].values():
            if not target["gpus"]:
                del target["gpus"]
        if self.packed is None:
            del document["packed"]
        if not self.beside:
            del document["beside"]
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
        fields = _Fields(raw, where, "", cls)
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
            beside=tuple(_beside(value, where, index) for index, value in enumerate(fields.array_or_empty("beside"))),
        )
        if manifest.default_model not in (model.path for model in manifest.models):
            raise fields.error("default_model", "must be one of the models")
        return manifest


class _Fields:
    """The keys of one JSON object, each read with its type."""

    def __init__(self, raw: object, where: str, place: str, shape: type) -> None:
        self._where, self._place = where, place
        if not isinstance(raw, dict):
            raise self.error("", "must be an object")
        self._raw: dict[str, Any] = raw
        fields = dataclasses.fields(shape)
        known = [field.name for field in fields]
        for key in raw:
            if key not in known:
                raise UnknownName("key", place + key, [place + one for one in known], where=f"the manifest of {where}")
        for field in fields:
            required = field.default is field.default_factory is dataclasses.MISSING
            if required and field.name not in raw:
                raise self.error(field.name, "is missing")

    def error(self, key: str, problem: str) -> DamagedBundle:
        name = (self._place + key).rstrip(".") or "its whole"
        return DamagedBundle(f"In the manifest of {self._where}, {name} {problem}: copy or download the file again.")

    def value(self, key: str) -> Any:
        return self._raw[key]

    def count(self, key: str) -> int:
        value = self._raw[key]
        if type(value) is not int or not 0 <= value < _SIZE_LIMIT:
            raise self.error(key, "must be a whole number that is not negative")
        return value

    def count_or_none(self, key: str) -> int | None:
        return None if self._raw[key] is None else self.count(key)

    def text(self, key: str) -> str:
        value = self._raw[key]
        if not isinstance(value, str):
            raise self.error(key, "must be text")
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self._raw[key] is None else self.text(key)

    def flag(self, key: str) -> bool:
        value = self._raw[key]
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def digest(self, key: str) -> str:
        value = self._raw[key]
        if not isinstance(value, str) or not _is_sha256(value):
            raise self.error(key, "must be 64 lower-case hex digits")
        return value

    def digest_or_none(self, key: str) -> str | None:
        """A digest, or None where the key is left out."""
        return self.digest(key) if key in self._raw else None

    def table(self, key: str) -> dict[str, Any]:
        value = self._raw[key]
        if not isinstance(value, dict) or not value:
            raise self.error(key, "must be an object that is not empty")
        return value

    def table_or_empty(self, key: str) -> dict[str, Any]:
        return self.table(key) if key in self._raw else {}

    def array(self, key: str) -> list[Any]:
        value = self._raw[key]
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        return value

    def array_or_empty(self, key: str) -> list[Any]:
        return self.array(key) if key in self._raw else []

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.array(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of texts")
        return tuple(values)


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
    fields = _Fields(raw, where, "llama_cpp.", LlamaCpp)
    return LlamaCpp(fields.text("version"), fields.text("commit"), fields.text("source"))


def _target(raw: object, where: str, name: str) -> Target:
    place = f"targets.{name}."
    fields = _Fields(raw, where, place, Target)
    launcher = _Fields(fields.value("launcher"), where, f"{place}launcher.", Launcher)
    return Target(
        requires=fields.text("requires"),
        pack=fields.digest("pack"),
        kernels=fields.texts("kernels"),
        launcher=Launcher(launcher.count("size"), launcher.digest("sha256")),
        gpus={gpu: _gpu(value, where, f"{place}gpus.{gpu}.") for gpu, value in fields.table_or_empty("gpus").items()},
    )


def _gpu(raw: object, where: str, place: str) -> Gpu:
    fields = _Fields(raw, where, place, Gpu)
    return Gpu(fields.text("requires"), fields.texts("needs"), fields.texts("lacks"))


def _model(raw: object, where: str, index: int) -> Model:
    fields = _Fields(raw, where, f"models.{index}.", Model)
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
    )


def _beside(raw: object, where: str, index: int) -> Beside:
    fields = _Fields(raw, where, f"beside.{index}.", Beside)
    file = fields.text("file")
    if not file or file in (".", "..") or any(letter in '/\\:*?"<>|' or letter < " " for letter in file):
        raise fields.error("file", "must be the name of a file beside the bundle")
    path = fields.text("path")
    if not path.startswith("models/"):
        raise fields.error("path", "must be that of a model")
    return Beside(path, file, fields.count("size"), fields.digest("sha256"), fields.digest("ends"))


def _parts(raw: list[Any], where: str) -> tuple[Part, ...]:
    """The parts; written out without _Fields for each, since there are hundreds and every start reads them."""
    parts = []
    for index, value in enumerate(raw):
        try:
            row = _part_values(value)
        except (KeyError, TypeError):
            raise _odd_part(value, where, index) from None
        if len(value) != len(row) or tuple(map(type, row)) != _PART_TYPES or not _is_sha256(row[-1]):
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
