"""Which of a bundle's models a start runs, by the user's word and by the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from small_bundle import manifest, model
from solofile.runtime.errors import RefusedOption, UnknownName
from solofile.runtime.manifest import Manifest, Model, Part
from solofile.runtime.memory import Room
from solofile.runtime.settings import Launch, resolve
from solofile.runtime.which_model import ENOUGH, pick, verdict

GB = 1_000_000_000
EASY = Room(1 << 40)


def sized(name: str, size: int, *, token: int = 100_000, context: int | None = 32_768, **changes: object) -> Model:
    facts = {"size": size, "token_bytes": token, "compute_bytes": 50_000_000, "context_length": context}
    return dataclasses.replace(model(name), **facts, **changes)  # type: ignore[arg-type]


SMALL, MIDDLE, LARGE = sized("small", GB), sized("middle", 4 * GB), sized("large", 20 * GB)
THREE = manifest(MIDDLE, LARGE, SMALL)


def chosen(room: Room, found: Manifest = THREE, asked: int = 0) -> str:
    return pick(found, lambda _: asked, room).model.name


def room_for(usable: int) -> Room:
    """A room of which a model may take at least so much, and hardly more."""
    return Room((usable + (128 << 20)) * 32 // 31 + 64)


def test_the_largest_that_fits() -> None:
    needs = {one.name: verdict(THREE, one, 0, EASY).needs for one in THREE.models}
    assert needs["middle"] == 4 * GB + ENOUGH * 100_000 + 50_000_000
    for name in ("large", "middle", "small"):
        assert chosen(room_for(needs[name])) == name
    assert chosen(room_for(needs["large"] - 1_000_000)) == "middle"
    assert chosen(room_for(needs["middle"] - 1_000_000)) == "small"


def test_the_smallest_where_none_fits() -> None:
    picked = pick(THREE, lambda _: 0, room_for(GB // 2))
    assert (picked.model.name, picked.reason) == ("small", "the smallest of 3, since none fits")
    assert not any(one.fits for one in picked.verdicts)


def test_the_largest_where_nobody_knows() -> None:
    picked = pick(THREE, lambda _: 0, Room(None))
    assert (picked.model.name, "nobody knows how much memory" in picked.reason) == ("large", True)


def test_of_models_as_large_the_first() -> None:
    assert chosen(EASY, manifest(sized("one", GB), sized("two", GB))) == "one"


def test_a_context_that_was_asked_for_counts() -> None:
    room = room_for(verdict(THREE, MIDDLE, 0, EASY).needs)
    assert chosen(room, asked=512) == "middle"
    assert chosen(room, asked=30_000) == "small"
    assert verdict(THREE, MIDDLE, 512, EASY).estimate.context == 512
    short = sized("short", GB, context=2048)
    assert verdict(THREE, short, 0, EASY).estimate.context == 2048  # it holds no more
    assert verdict(THREE, sized("x", GB, context=None), 0, EASY).estimate.context == ENOUGH


def test_a_model_of_which_the_manifest_says_no_more() -> None:
    plain = dataclasses.replace(SMALL, token_bytes=0, compute_bytes=0, parameters=512_000)
    assert verdict(THREE, plain, 100, EASY).needs == GB + 100 * 1000
    recurrent = dataclasses.replace(SMALL, token_bytes=0)
    assert verdict(THREE, recurrent, 100, EASY).needs == GB + 50_000_000


def test_a_projector_counts() -> None:
    seeing = dataclasses.replace(SMALL, arguments=("--mmproj", "models/mmproj-x.gguf"))
    parts = (Part("models/mmproj-x.gguf", 0, 7_000, 7_000, "0" * 64),)
    both = manifest(SMALL, seeing, parts=parts)
    assert verdict(both, seeing, 0, EASY).needs - verdict(both, SMALL, 0, EASY).needs == 7_000


def test_what_is_said() -> None:
    picked = pick(THREE, lambda _: 0, room_for(6 * GB))
    assert picked.sentence == (
        "Model: middle, the largest that fits of 3 (4.9 GB with 8,192 tokens of context; 6.0 GB can be had); "
        "large: does not fit, it takes 20.9 GB with 8,192 tokens of context; small: smaller; --use small runs it."
    )
    report = picked.report()
    assert (report["part"], report["value"]) == ("model", "middle")
    assert [one["value"] for one in report["losers"]] == ["large", "small"]
    named = pick(THREE, lambda _: 0, room_for(6 * GB), LARGE)
    assert named.sentence.startswith("Model: large, asked for with --use; middle: smaller; --use middle runs it")


def launch(words: str, found: Manifest = THREE, room: Room = EASY) -> Launch:
    return resolve(words.split(), found, {}, lambda: room)


def test_a_start_takes_it() -> None:
    assert launch("--server").model == "models/large.gguf"
    found = launch("--server", room=room_for(6 * GB))
    assert found.model == "models/middle.gguf"
    assert found.picked is not None
    assert found.picked.model.name == "middle"
    for words in ("--use small", "-m small", "--use models/small.gguf", "--model small.gguf"):
        assert launch(words).model == "models/small.gguf"
    assert launch("--use large", room=room_for(GB)).model == "models/large.gguf"  # the user's word
    assert launch("-c 30000", room=room_for(5 * GB)).model == "models/small.gguf"


def test_names_that_are_none() -> None:
    with pytest.raises(UnknownName, match="Unknown model midle in this bundle: did you mean middle"):
        launch("--use midle")
    with pytest.raises(RefusedOption, match="A bundle runs the models inside it, not other"):
        launch("--use other.gguf")
    with pytest.raises(RefusedOption, match="hold --use, which only the user can give"):
        launch("", manifest(SMALL, MIDDLE, arguments=("--use", "small")))


def test_one_model_asks_nobody() -> None:
    def never() -> Room:
        raise AssertionError("the memory of a bundle with one model does not matter here")

    assert resolve(["--server"], manifest(SMALL), {}, never).picked is None


def test_what_is_a_models_own() -> None:
    own = dataclasses.replace(MIDDLE, system_prompt="Be brief.", arguments=("--temp", "0.5", "-c", "1000"))
    found = manifest(own, SMALL, system_prompt="Help.", arguments=("--temp", "1", "--no-slots"))

    def core(words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
        made = resolve(words, found, {}, lambda: EASY)
        return made.system_prompt, made.core

    assert core(["--server"]) == ("Be brief.", ("--no-slots", "--temp", "0.5", "-c", "1000"))
    assert core(["--use", "small"]) == ("Help.", ("--temp", "1", "--no-slots"))
    assert core(["--temp", "0", "-sys", "Hi"]) == ("Hi", ("--no-slots", "-c", "1000", "--temp", "0"))
    # The context that its arguments ask for is the one that it must have room for.
    assert verdict(found, own, 1000, EASY).needs == 4 * GB + 1000 * 100_000 + 50_000_000
    picked = resolve([], found, {}, lambda: EASY).picked
    assert picked is not None
    assert [one.estimate.context for one in picked.verdicts] == [1000, ENOUGH]
