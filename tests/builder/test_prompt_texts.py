"""Which texts a build has read, and where their states end up in new bundles."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from bundles import FACTS, make_bundle
from solofile.builder.changing import Changes, change_settings
from solofile.builder.cli import main
from solofile.builder.errors import BadInput, BadRecipe
from solofile.builder.gguf_header import Header
from solofile.builder.progress import SilentProgress
from solofile.builder.prompt_build import texts_of
from solofile.builder.prompt_changes import after_set
from solofile.builder.prompt_texts import prefix_texts, system_text
from solofile.builder.prompts import Subject, Window
from solofile.builder.recipe import Recipe
from solofile.builder.sources import PathSource
from solofile.builder.writer import PromptFile
from solofile.runtime.container import Bundle
from solofile.runtime.errors import UnknownName
from solofile.runtime.integrity import verify
from solofile.runtime.manifest import Model
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.prompt_child import changes_daily

LONG = "Be kind to whoever asks, and answer in one sentence. " * 4


def recipe(**changes: Any) -> Recipe:
    return dataclasses.replace(Recipe(PathSource(Path("m.gguf"))), **changes)


def test_long_system_prompts_are_read() -> None:
    [text] = texts_of(recipe(system_prompt=LONG), chats=True)
    assert (text.path, text.request["chat"]["messages"][0]["content"]) == ("prompts/system.kv", LONG)


@pytest.mark.parametrize(
    ("changes", "chats"),
    [
        ({"system_prompt": "Be kind."}, True),
        ({"system_prompt": LONG}, False),
        ({"system_prompt": LONG, "store_prompt": False}, True),
        ({"store_prompt": True}, True),
    ],
)
def test_others_are_not(changes: dict[str, Any], chats: bool) -> None:
    assert not texts_of(recipe(**changes), chats=chats)


def test_short_one_is_read_where_the_recipe_insists() -> None:
    assert texts_of(recipe(system_prompt="Be kind.", store_prompt=True), chats=True) == (system_text("Be kind."),)


def test_prefixes(tmp_path: Path) -> None:
    (tmp_path / "My Tools.json").write_text(json.dumps({"messages": [], "tools": [{"type": "function"}]}))
    (tmp_path / "story.txt").write_text("Once upon a time")
    tools, story = prefix_texts([tmp_path / "My Tools.json", tmp_path / "story.txt"])
    assert tools.request == {"chat": {"messages": [], "tools": [{"type": "function"}]}}
    assert tools.path.isprintable()
    assert (story.path, story.request) == ("prompts/story.kv", {"text": "Once upon a time"})


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.json", "[]", "a list of messages"),
        ("a.json", '{"messages": [{"content": "x"}]}', "each with a role"),
        ("a.txt", " \n", "is empty"),
        ("system.txt", "x", "two stored prompts would be called system"),
    ],
)
def test_prefixes_that_cannot_be_used(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadRecipe, match=f"(?i){complaint}"):
        prefix_texts([tmp_path / name])


def test_unknown_fields_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"messages": [], "tool": []}')
    with pytest.raises(UnknownName, match="tools"):
        prefix_texts([tmp_path / "a.json"])
    with pytest.raises(BadRecipe, match="cannot be read"):
        prefix_texts([tmp_path / "b.txt"])


def subject(arguments: str = "", *, names: frozenset[str] = frozenset(), original: int = 4096) -> Subject:
    values: dict[str, Any] = {"phi3.rope.scaling.original_context_length": original}
    model = Model("models/m.gguf", "m", "phi3", 1000, "F32", 131_072, True, None, 4096)
    return Subject(model, Path("m.gguf"), Header(3, 0, values, {}, names=names), tuple(arguments.split()))


def test_context_in_which_texts_are_read() -> None:
    assert Window.of(subject(), 2000) == Window(2024, 131_072, 1)
    assert Window.of(subject("-c 1500"), 2000).tokens == 1500
    assert Window.of(subject("-np 2"), 2000) == Window(2 * 2024, 65_536, 2)
    assert Window.of(subject(), 2000).holding(9000).tokens == 9000


def test_models_with_other_factors_for_long_contexts() -> None:
    names = frozenset({"rope_factors_long.weight"})
    found = Window.of(subject(names=names), 2000)
    assert (found.above, found.up_to) == (4096, None)
    assert found.tokens > 4096
    found = Window.of(subject("-c 4096", names=names), 2000)
    assert (found.above, found.up_to) == (0, 4096)
    assert found.tokens < 4096


def test_date_in_a_template() -> None:
    import datetime

    today = datetime.datetime.now().astimezone().strftime("%d %B %Y")
    assert changes_daily("{{ strftime_now('%d %B %Y') }}", f"Today is {today}.", "Be kind.")
    assert not changes_daily("{{ messages }}", f"Today is {today}.", "Be kind.")
    assert not changes_daily("{% if x %}{{ strftime_now('%Y') }}{% endif %}", "Be kind.", "Be kind.")


def prompt(path: str, **changes: Any) -> Prompt:
    found = Prompt(path, "models/model.gguf", "0" * 64, FACTS.llama_cpp.commit, 100, "auto", 1, (), "x64", 164, None)
    return dataclasses.replace(found, **changes)


@pytest.fixture
def old(gguf_path: Path, pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with two stored prompts, whatever is in them."""
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.gguf"
    model.write_bytes(gguf_path.read_bytes())
    files = []
    for name in ("system", "tools"):
        (tmp_path / name).write_bytes(name.encode() * 5000)
        files.append(PromptFile(prompt(f"prompts/{name}.kv"), tmp_path / name))
    make_bundle(tmp_path / "old.exe", pack_path, [model], prompts=files, system_prompt=LONG)
    return tmp_path / "old.exe"


def changed(old: Path, changes: Changes, *, drop: bool = False) -> tuple[str, ...]:
    """The stored prompts of the bundle with these changes, which is checked."""
    new = old.with_name("new.exe")
    with Bundle.open(old) as bundle, contextlib.ExitStack() as stack:
        prompts = after_set(bundle, changes.applied(bundle.manifest), stack, SilentProgress, drop=drop)
        change_settings(bundle, new, changes, SilentProgress, prompts=prompts)
    with Bundle.open(new) as bundle:
        verify(bundle)
        assert bundle.manifest.arguments == (changes.arguments or ())
        for one in bundle.manifest.prompts:
            assert bundle.read(one.path) == Path(one.path).stem.encode() * 5000
        return tuple(one.path for one in bundle.manifest.prompts)


def test_set_keeps_what_is_good_for_the_new_settings(old: Path) -> None:
    both = ("prompts/system.kv", "prompts/tools.kv")
    assert changed(old, Changes(title="New", arguments=("--temp", "0.5"))) == both
    assert changed(old, Changes(), drop=True) == ()
    assert changed(old, Changes(system_prompt="")) == ("prompts/tools.kv",)


def test_set_leaves_out_what_cannot_be_made_anew(old: Path) -> None:
    """The runtime in this bundle cannot read anything."""
    assert changed(old, Changes(system_prompt=f"{LONG} And brief.")) == ("prompts/tools.kv",)
    assert changed(old, Changes(arguments=("-ctk", "q8_0"))) == ()


def test_inspect_shows_them(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(old)]) == 0
    shown = capsys.readouterr().out
    assert "prompts/system.kv, 100 tokens, read on x64" in shown
    assert "stored prompts, 2 files" in shown
    assert main(["verify", str(old)]) == 0


def test_recipe_that_insists_is_refused_where_nothing_can_read(
    gguf_path: Path,
    pack_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))
    text = f'name = "a"\nprefix = "story.txt"\n[model]\npath = "{gguf_path}"\n'
    (tmp_path / "story.txt").write_text(LONG)
    (tmp_path / "r.toml").write_text(text)
    words = ["build", str(tmp_path / "r.toml"), "--pack", str(pack_path), "-o", str(tmp_path / "a.exe")]
    assert main(words) == 0
    assert "No prompt is stored in the bundle, since " in capsys.readouterr().err
    (tmp_path / "r.toml").write_text(f"store_prompt = true\n{text}")
    assert main([*words, "--force"]) == BadInput.exit_code
    assert "leave store_prompt out" in capsys.readouterr().err
    assert main([*words, "--force", "--no-stored-prompt"]) == 0
