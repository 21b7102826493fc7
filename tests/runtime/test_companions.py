"""The parts of a bundle that options name: adapters and a draft model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from solofile.runtime.companions import companions, names_in
from solofile.runtime.core_words import of_layout
from solofile.runtime.engine import Member
from solofile.runtime.manifest import Part


class FakeBundle:
    """Parts at known places."""

    path = "/x/b.exe"

    def __init__(self) -> None:
        names = ("adapters/a.gguf", "adapters/b.gguf", "models/m.gguf", "models/draft-d.gguf", "LICENSES/x.txt")
        self.parts = {name: Part(name, 100 * n, 7 + n, 7 + n, "0" * 64) for n, name in enumerate(names)}

    def part(self, name: str) -> Part:
        return self.parts[name]

    def place(self, part: Part) -> tuple[Path, int]:
        return Path(self.path), part.offset


def found(*words: str) -> tuple[Member, ...]:
    bundle: Any = FakeBundle()
    return companions(bundle, words)


def test_what_options_name() -> None:
    assert found("-c", "9", "--lora", "adapters/a.gguf", "--lora-scaled", "adapters/b.gguf:0.5") == (
        Member("adapters/a.gguf", Path("/x/b.exe"), 0, 7),
        Member("adapters/b.gguf", Path("/x/b.exe"), 100, 8),
    )
    assert found("-md", "models/draft-d.gguf") == (Member("models/draft-d.gguf", Path("/x/b.exe"), 300, 10),)
    assert [one.name for one in found("--lora", "adapters/a.gguf,mine.gguf,adapters/b.gguf,adapters/a.gguf")] == [
        "adapters/a.gguf",
        "adapters/b.gguf",
    ]


@pytest.mark.parametrize("name", ["mine.gguf", "./adapters/a.gguf", "adapters/none.gguf", "LICENSES/x.txt", ""])
def test_files_of_the_users(name: str) -> None:
    assert found("--lora", name) == ()
    assert found("--lora-scaled", f"{name}:1") == ()
    assert found("--spec-draft-model", name) == ()


def test_scales() -> None:
    assert list(names_in("--lora-scaled", "a.gguf:0.5,b:c.gguf:1")) == ["a.gguf", "b:c.gguf"]
    assert list(names_in("--lora", "a.gguf:0.5")) == ["a.gguf:0.5"]


def test_scale_changes_nothing_of_what_a_model_takes() -> None:
    digests = SimpleNamespace(get={"adapters/a.gguf": "d1"}.get)
    assert of_layout(["--lora-scaled", "adapters/a.gguf:0.5"], digests.get) == ("--lora-scaled", "d1")
    assert of_layout(["--lora-scaled", "mine.gguf:0.5"], digests.get) is None
    assert of_layout(["--lora", "adapters/a.gguf"], digests.get) == ("--lora", "d1")
