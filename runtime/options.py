"""Reading a command line by the option table: what was given, checked, and whose it is.

``parse`` knows nothing of modes or defaults; ``settings`` makes a launch of what it returns. Options are spelled as
llama.cpp spells them (``--ctx_size`` is ``--ctx-size``); ``--ctx-size=8192`` is taken too, although llama.cpp does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from solofile.runtime import options_table as table
from solofile.runtime.errors import InputError, RefusedOption, UnknownName

CORE, OURS, REFUSED, IGNORED = "core", "ours", "refused", "ignored"
VALUES = {"flag": 0, "integer": 1, "number": 1, "text": 1, "pair": 2}


class Option(NamedTuple):
    """One option: ``key`` is its first spelling, ``place`` whose it is, ``kind`` what follows it (see ``VALUES``)."""

    key: str
    spellings: tuple[str, ...]
    negations: tuple[str, ...]
    kind: str
    place: str
    reason: str = ""

    @property
    def values(self) -> int:
        """How many words follow the option."""
        return VALUES[self.kind]


class Given(NamedTuple):
    """An option as it stands on a command line."""

    option: Option
    spelling: str
    values: tuple[str, ...] = ()

    @property
    def negated(self) -> bool:
        """Was it given in its form that says no?"""
        return self.spelling in self.option.negations

    def words(self) -> tuple[str, ...]:
        """The words that llama.cpp's parser reads for it."""
        return (self.spelling, *self.values)


def _blocks() -> Iterator[tuple[str, str, str, str]]:
    """Yield (block of lines, kind, place, reason) for every block of the table."""
    for prefix, place in (("CORE", CORE), ("OURS", OURS), ("BUNDLE", OURS), ("IGNORED", IGNORED)):
        for suffix, kind in (
            ("FLAGS", "flag"),
            ("INTEGERS", "integer"),
            ("NUMBERS", "number"),
            ("TEXTS", "text"),
            ("PAIRS", "pair"),
        ):
            yield getattr(table, f"{prefix}_{suffix}", ""), kind, place, ""
    for reason, flags, texts in table.REFUSED:
        yield flags, "flag", REFUSED, reason
        yield texts, "text", REFUSED, reason


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[str, str, str, str]]:
    """Map each spelling to (its line, kind, place, reason): cheap, since most options are never looked at."""
    index: dict[str, tuple[str, str, str, str]] = {}
    for block, kind, place, reason in _blocks():
        for line in block.split("\n"):
            row = (line, kind, place, reason)
            for word in line.split():
                index[word] = row
    index.pop("/", None)
    return index


def find(spelling: str) -> Option | None:
    """The option spelled so, or None."""
    row = _index().get(spelling)
    if row is None:
        return None
    line, kind, place, reason = row
    plain, _, negated = line.partition(" / ")
    spellings = tuple(plain.split())
    return Option(spellings[0], spellings, tuple(negated.split()), kind, place, reason)


def every() -> list[Option]:
    """Every option of the table, each once, in its order."""
    seen: dict[str, Option] = {}
    for spelling in _index():
        option = find(spelling)
        if option is not None:
            seen.setdefault(option.key, option)
    return list(seen.values())


def parse(words: Sequence[str]) -> tuple[Given, ...]:
    """Read a command line (without the program's name).

    Raises UnknownName for an option that does not exist, RefusedOption for one that a bundle does not offer, InputError
    for a missing or impossible value and for a word that belongs to no option.
    """
    rest = iter(words)
    return tuple(_read(word, rest) for word in rest)


def _read(word: str, rest: Iterator[str]) -> Given:
    spelling, attached = _split(word)
    option = find(spelling)
    if option is None:
        raise _unknown(word, spelling)
    if option.place == REFUSED:
        raise RefusedOption(f"The option {spelling} is not offered by a bundle: {option.reason}.")
    if attached is None:
        values = tuple(value for _, value in zip(range(option.values), rest, strict=False))
    elif option.values == 1:
        values = (attached,)
    else:
        raise InputError(f"The option {spelling} takes {_count(option.values)}: write it without =.")
    if len(values) < option.values:
        raise InputError(f"The option {spelling} needs {_count(option.values)} after it; see --help.")
    _check(option, spelling, values)
    return Given(option, spelling, values)


def _split(word: str) -> tuple[str, str | None]:
    """Return the option's spelling, and the value that was attached by ``=`` if there is one."""
    if not word.startswith("--"):
        return word, None
    head, equals, value = word.partition("=")
    return head.replace("_", "-"), value if equals else None


def _unknown(word: str, spelling: str) -> InputError:
    if word.startswith("-") and len(word) > 1:
        return UnknownName("option", spelling, _alike(spelling))
    return InputError(f'Unexpected word {word!r} on the command line: to ask something, write -p "…" with quotes.')


def _alike(spelling: str) -> Iterable[str]:
    """What a misspelled option may have meant: long ones for a long one, and nothing that would only be refused."""
    double = spelling.startswith("--")
    return (name for name, row in _index().items() if name.startswith("--") == double and row[2] != REFUSED)


def _check(option: Option, spelling: str, values: tuple[str, ...]) -> None:
    """Refuse what is no number where one is needed: llama.cpp reads ``12x`` as 12 and says ``stoi`` of ``abc``."""
    if option.kind not in ("integer", "number"):
        return
    value = values[0]
    try:
        number = int(value) if option.kind == "integer" else float(value)
    except ValueError:
        number = None
    if number is None or "_" in value or not abs(number) < 2**32:
        what = "a whole number" if option.kind == "integer" else "a number"
        raise InputError(f"The option {spelling} needs {what}, not {value!r}; see --help.")


def _count(values: int) -> str:
    return ("no value", "a value", "two values")[values]
