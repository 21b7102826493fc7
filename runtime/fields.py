"""One object of a manifest, read strictly: each key known, there, and of its type."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from solofile.runtime.errors import DamagedBundle, UnknownName

_SIZE_LIMIT = 1 << 62
is_sha256 = re.compile("[0-9a-f]{64}").fullmatch


class Fields:
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

    def text_if_given(self, key: str) -> str | None:
        """A text, or None where the key is left out."""
        return self.text(key) if key in self._raw else None

    def count_or_zero(self, key: str) -> int:
        """A count, or 0 where the key is left out."""
        return self.count(key) if key in self._raw else 0

    def texts_or_none(self, key: str) -> tuple[str, ...]:
        """Texts, none where the key is left out."""
        return self.texts(key) if key in self._raw else ()

    def flag(self, key: str) -> bool:
        value = self._raw[key]
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def digest(self, key: str) -> str:
        value = self._raw[key]
        if not isinstance(value, str) or not is_sha256(value):
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
        """A list, empty where the key is left out."""
        return self.array(key) if key in self._raw else []

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.array(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of texts")
        return tuple(values)
