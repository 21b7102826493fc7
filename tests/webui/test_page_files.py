"""What the page is made of: its weight, its vendored library, its words. No browser is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from solofile.builder.licenses import page_libraries
from solofile.runtime.page import FILES, page_file

WEBUI = Path(__file__).parents[2] / "webui"
VENDOR = WEBUI / "vendor"
LIMIT = 200_000
"""Bytes, before compression, of all that a browser may ask for."""
NOT_SERVED = {"__init__.py", "vendor/manifest.json"}
STRING = re.compile(
    r"//[^\n]*|\"((?:\\.|[^\"\\\n])*)\"|'((?:\\.|[^'\\\n])*)'|`((?:\\.|[^`\\])*)`|/(?![/*])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n])+/[a-z]*"
)

OWN = sorted(name for name in FILES if name.endswith(".js") and not name.startswith(("vendor/", "languages/")))


def libraries() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text("utf-8"))
    return loaded


def test_weight() -> None:
    assert sum(len(page_file(name)) for name in FILES) <= LIMIT


def test_every_file_is_served_or_is_a_license() -> None:
    there = {
        path.relative_to(WEBUI).as_posix() for path in WEBUI.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in there - set(FILES) - NOT_SERVED if not name.endswith("/LICENSE")} == set()
    assert set(FILES) <= there


def test_modules_can_be_read_in_one_sitting() -> None:
    for name in OWN:
        assert len(page_file(name).decode("utf-8").splitlines()) <= 320, name


@pytest.mark.parametrize("library", libraries(), ids=lambda library: library["name"])
def test_libraries_are_as_recorded(library: dict[str, Any]) -> None:
    folder = VENDOR / library["folder"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == set(library["files"])
    for name, file in library["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"], name


@pytest.mark.parametrize("library", libraries(), ids=lambda library: library["name"])
def test_libraries_are_those_of_npm(library: dict[str, Any], tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("needs npm: install Debian's package npm")
    wanted = f"{library['name']}@{library['version']}"
    done = subprocess.run(
        ["npm", "pack", "--silent", wanted], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"npm could not fetch {wanted}")
    (archive,) = tmp_path.glob("*.tgz")
    kind, _, digest = library["integrity"].partition("-")
    assert base64.b64encode(hashlib.new(kind, archive.read_bytes()).digest()).decode() == digest
    with tarfile.open(archive) as package:
        for name, file in library["files"].items():
            member = package.extractfile(f"package/{file['package']}")
            assert member is not None
            assert member.read() == (VENDOR / library["folder"] / name).read_bytes(), name


def test_licenses_are_in_the_bundle() -> None:
    texts = page_libraries()
    assert set(texts) == {library["folder"] for library in libraries()}
    assert b"CC0 1.0 Universal" in texts["speed-highlight"]


def words_of(language: str) -> dict[str, Any]:
    """The keys of a language and its words, by Node or by reading the plain object."""
    text = page_file(f"languages/{language}.js").decode("utf-8")
    found: dict[str, Any] = {}
    line = re.compile(r"^  (?:\"([\w.]+)\"|(\w+)): (\"(?:\\.|[^\"\\])*\"|\{ one: \"[^\"]*\", other: \"[^\"]*\" \}),$")
    for row in text.splitlines():
        match = line.match(row)
        if match:
            key = match[1] or match[2]
            assert key not in found, f"{key} is there twice"
            found[key] = match[3]
        else:
            assert row in {"", "export default {", "};"} or row.strip().startswith("//"), row
    return found


def test_languages_have_the_same_keys() -> None:
    english, german = words_of("en"), words_of("de")
    assert list(english) == list(german)
    for key, words in english.items():
        assert sorted(re.findall(r"\{(\w+)\}", words)) == sorted(re.findall(r"\{(\w+)\}", german[key])), key
        assert words.startswith("{") == german[key].startswith("{"), key


def test_every_key_is_used_and_every_used_key_is_there() -> None:
    keys = set(words_of("en"))
    html = page_file("index.html").decode("utf-8")
    text = "\n".join(page_file(name).decode("utf-8") for name in OWN)
    asked = set(re.findall(r"\bt\(\"([\w.]+)\"", text))
    asked |= set(re.findall(r"data-(?:t|label|hint|words)=\"([\w.]+)\"", html))
    assert asked <= keys, asked - keys
    spoken = {part for groups in STRING.findall(text) for part in groups if part}
    names = spoken | set(re.findall(r"\b(\w+):", text))
    made = {f"key.{name}" for name in names} | {f"{name}Hint" for name in names}
    unused = keys - asked - names - made - set(re.findall(r"\b(presence_penalty|frequency_penalty)\b", text))
    assert not unused, unused


class Words(HTMLParser):
    """Collects the words in an HTML file, and in attributes that are read or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        self.found += [
            value or "" for name, value in attrs if name in {"title", "alt", "aria-label", "placeholder", "value"}
        ]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        # Without JavaScript no language can be chosen, and the product's name is the same in all.
        if data.strip() and not set(self._inside) & {"noscript", "title", "h1"}:
            self.found.append(data.strip())


def test_no_words_in_the_html() -> None:
    words = Words()
    words.feed(page_file("index.html").decode("utf-8"))
    assert words.found == []


API_SNIPPETS = {"about.js"}
"""Programs in curl and Python are no words of the page."""


@pytest.mark.parametrize("name", OWN)
def test_no_words_in_the_modules(name: str) -> None:
    """A string with two words in a row, or that begins like a sentence, belongs into languages/."""
    if name in {"math-symbols.js", "sw.js"} | API_SNIPPETS:
        return
    text = page_file(name).decode("utf-8")
    for found in STRING.finditer(text):
        literal = next((group for group in found.groups() if group), "")
        literal = re.sub(r"\$\{[^}]*\}", "", literal)
        assert not re.search(r"\b[A-Za-z]{2,} [a-z]{2,}\b.*[.:!?]$|\b[A-Z][a-z]+ [a-z]{2,} [a-z]{2,}", literal), literal
        sentence = re.match(r"[A-Z][a-zäöü]+( [a-zäöü]+)+$", literal)
        assert not sentence, literal


def test_all_modules_are_loaded_by_relative_names() -> None:
    for name in OWN:
        for target in re.findall(r"from \"([^\"]+)\"", page_file(name).decode("utf-8")):
            assert target.startswith("./"), (name, target)
            assert target.removeprefix("./") in FILES, (name, target)
