"""From a choice to one that fits: what memory decides is a part of the choice, and an estimate is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from choice_support import AVX2, MODEL, listing, machine
from solofile.runtime import choice, core_words, estimates, fitting, options, remembered, selection, settings
from solofile.runtime.container import Bundle
from solofile.runtime.engine import Member
from solofile.runtime.errors import InputError
from solofile.runtime.kernel_path import Known
from solofile.runtime.memory import DeviceShare, Estimate

GB = 10**9


class Start:
    """Starts of one bundle on machines with more or less memory; counts how often the model is laid out."""

    def __init__(self, bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle, self.cache = bundle, cache
        self.asked: list[int] = []
        monkeypatch.setattr(fitting, "estimator", lambda *_: self.estimate)

    def estimate(self, context: int) -> Estimate:
        """8.5 GB of weights, 128 KiB a token."""
        self.asked.append(context)
        context = context or 131_072
        return Estimate(context, 131_072, 8_500_000_000, GB, context * 131_072, 300_000_000)

    def selected(self, words: str = "", memory: int = 64 * GB, **more: Any) -> tuple[settings.Launch, Any]:
        launch = settings.resolve(["--server", *words.split()], self.bundle.manifest, {})
        on = machine(AVX2, memory=memory, memory_total=memory)
        key = more.pop("model_key", "0011223344556677")
        offer = selection.offered(self.bundle, on.target)
        wishes = choice.wishes(launch.kernel, launch.gpu, options.parse(launch.core))
        book = remembered.file_path(self.cache, "machine", "pack")
        ground = selection.Ground(
            selection.Place(self.bundle, self.cache, Path("/none")), on, MODEL, Member("m", Path("/none"), 0, 1), offer,
            wishes, Known(), book, remembered.read(book)[0], key, "",
        )  # fmt: skip
        chosen = choice.choose(on, MODEL, offer, wishes, Known())
        return launch, selection.Selection(ground, chosen._replace(path=chosen.path._replace(**more)))

    def __call__(self, words: str = "", memory: int = 64 * GB, **more: Any) -> fitting.Fitted:
        self.asked = []
        launch, selected = self.selected(words, memory, **more)
        return fitting.fitted(launch, selected, [], pytest.fail)

    def arguments(self, words: str, memory: int) -> Sequence[str]:
        launch, selected = self.selected(words, memory)
        return core_words.arguments(launch, fitting.fitted(launch, selected, [], pytest.fail).accepted())


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts of a bundle without default arguments."""
    from small_bundle import make_bundle

    return Start(Bundle.open(make_bundle(tmp_path / "bundle")), Path(environ["SOLOFILE_CACHE_DIR"]), monkeypatch)


def test_a_second_start_knows(start: Start) -> None:
    first = start()
    assert start.asked == [0]
    second = start()
    assert start.asked == []
    assert second.selection.choice == first.selection.choice
    decision = second.selection.choice.of("context")
    assert (second.selection.choice.path.context, decision.value) == (131_072, "131,072 tokens")
    assert decision.reason == "what the model was trained for, and all of it fits"


@pytest.mark.parametrize(
    "words", ["-c 4096", "-ctk q8_0", "-ctv q8_0", "-np 2", "-ub 256", "-b 512", "-fa off", "--swa-full", "-kvu",
              "--no-repack", "-lm none", "--rope-scale 2", "--embeddings", "--kernel x64", "--mmproj-auto",
              "--lora there.gguf"],
)  # fmt: skip
def test_another_input_is_another_estimate(start: Start, words: str) -> None:
    start()
    start(words)
    assert start.asked
    start(words)
    assert bool(start.asked) is words.startswith("--lora")  # what is in a file may be something else next time


@pytest.mark.parametrize("more", [{"variant": "x64"}, {"repack": False}, {"flash": "off"}, {"model_key": "other"},
                                  {"environment": (("A", "b"),)}])  # fmt: skip
def test_another_path_or_model_is_another_estimate(start: Start, more: dict[str, Any]) -> None:
    start()
    start(**more)
    assert start.asked


def test_another_pack_is_another_estimate(start: Start) -> None:
    _, selected = start.selected()
    path, words = selected.choice.path, ("-c", "1")
    assert estimates.fingerprint("a", path, words) == estimates.fingerprint("a", path, ("-c", "1"))
    assert estimates.fingerprint("a", path, words) != estimates.fingerprint("b", path, words)


@pytest.mark.parametrize("words", ["-t 1 -tb 3", "--temp 0.5 -s 1", "--cache-ram 77", "-n 4", "-a me", "--metrics"])
def test_what_changes_nothing_needs_no_estimate(start: Start, words: str) -> None:
    start()
    start(words)
    assert start.asked == []


def test_less_memory_needs_no_estimate_while_it_is_clearly_enough(start: Start) -> None:
    start()
    assert start(memory=32 * GB).selection.choice.path.cache_ram == 2329
    assert start.asked == []
    start(memory=28 * GB)  # fits, but not clearly: what an earlier start knew is not relied on
    assert start.asked == [0]


def test_calibrate_finds_it_out_anew(start: Start) -> None:
    start()
    start("--calibrate")
    assert start.asked == [0]


def test_a_context_is_shrunk_and_the_core_gets_it(start: Start) -> None:
    start()
    found = start(memory=16 * GB)
    assert start.asked[0] == 0
    chosen = found.accepted().choice
    tokens = chosen.path.context
    assert 0 < tokens < 131_072
    assert chosen.of("context").value == f"{tokens:,} tokens"
    assert chosen.of("context").reason == "the longest that fits: a model can have 15.4 GB"
    assert [value for value, _ in chosen.of("context").losers] == ["131,072 tokens"]
    assert chosen.of("prompt cache").value == "none"
    assert f" The context is {tokens:,} tokens in place of 131,072, which would take " in chosen.sentence
    assert chosen.sentence.endswith(" No memory is left for a prompt cache (--cache-ram sets it).")
    assert chosen.report()["note"] == chosen.note
    words = start.arguments("", 16 * GB)
    assert words[words.index("-c") + 1] == str(tokens)
    assert words[-2:] == ("--fit", "off")


def test_a_context_of_0_is_shrunk_like_none(start: Start) -> None:
    words = start.arguments("-c 0", 16 * GB)
    assert words.count("-c") == 1
    assert int(words[words.index("-c") + 1]) > 512


def test_a_given_context_is_refused_and_never_changed(start: Start) -> None:
    found = start("-c 100000", memory=16 * GB)
    with pytest.raises(InputError, match=r"takes 21.9 GB of memory with a context of 100,000 tokens .* -c \d+ fits"):
        found.accepted()
    assert found.selection.choice.path.context == 100_000
    start("-c 100000", memory=16 * GB)
    assert start.asked[0] == 100_000  # what is refused is not remembered
    assert start("-c 4096", memory=16 * GB).accepted().choice.path.context == 4096
    assert start.arguments("-c 4096", 16 * GB).count("-c") == 1


def test_a_model_that_cannot_fit_is_refused(start: Start) -> None:
    with pytest.raises(InputError, match="use a smaller"):
        start(memory=6 * GB).accepted()


def test_fit_off_is_the_users_word(start: Start) -> None:
    chosen = start("--fit off -c 100000", memory=16 * GB).accepted().choice
    assert "--fit off loads it all the same" in chosen.sentence
    assert "are more than the 15.4 GB that a model can have (--fit off)" in chosen.of("context").reason


def test_the_prompt_cache_is_what_the_estimate_leaves(start: Start) -> None:
    chosen = start("-c 4096").accepted().choice
    assert chosen.path.cache_ram == 2048  # four slots of 512 MiB
    assert chosen.of("prompt cache").value == "2048 MiB at most"
    assert start(memory=32 * GB).accepted().choice.of("prompt cache").reason.startswith("half of what")
    assert start("-c 4096 --cache-ram 5").accepted().choice.path.cache_ram == 5


def test_slots_with_a_context_of_their_own(start: Start) -> None:
    for words, parts in (("-np 3", 3), ("-np 3 --no-kv-unified", 3), ("-np 3 -kvu", 1), ("", 1), ("-np -1", 1)):
        found = start(words, memory=16 * GB).selection.choice.path.context
        assert found % (256 * parts) == 0, words


def test_a_small_model_costs_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "fits_easily", lambda *_: True)
    found = start()
    assert (found.fit, start.asked) == (None, [])


def test_layers_that_llama_cpp_shares_out_are_never_remembered(start: Start) -> None:
    gpu = {"backend": "vulkan", "device": "Vulkan0", "gpu_layers": "auto"}
    for _ in range(2):
        found = start(**gpu)
        assert start.asked == [0]
    assert found.selection.choice.path.context == 0  # llama.cpp fits it too
    launch, selected = start.selected(**gpu)
    assert "--fit" not in fitting._words(launch, selected)
    start(**{**gpu, "gpu_layers": "all"})
    start(**{**gpu, "gpu_layers": "all"})
    assert start.asked == []


def test_gpus_without_memory_of_their_own() -> None:
    from solofile.runtime.gpu_devices import without_memory

    known = Known({"vulkan": listing(("Vulkan0", "RTX", 8.0)), "vulkan-cpu": listing(("Vulkan1", "llvmpipe", 8.0))})
    assert without_memory("vulkan", known) == {"Vulkan1"}
    assert without_memory("vulkan", Known({"vulkan": listing(("Vulkan0", "Iris", 8.0), kind="igpu")})) == {"Vulkan0"}
    assert without_memory("cuda", known) == set()


ONE = Estimate(4096, 8192, 100, 60, 20, 3, (DeviceShare("Vulkan0", 7, 9, 10),))


def test_an_estimate_survives_the_book(tmp_path: Path) -> None:
    book = remembered.file_path(tmp_path, "machine", "pack")
    assert remembered.add(book, estimates.news("model", "key", ONE)) == ""
    document, _ = remembered.read(book)
    assert estimates.find(document, "model", "key") == ONE
    assert estimates.find(document, "model", "other") is None
    assert estimates.find(document, "other", "key") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.pop("weights"),
        lambda one: one.update(kv=-1),
        lambda one: one.update(context=0),
        lambda one: one.update(compute="many"),
        lambda one: one.update(compute=True),
        lambda one: one.update(devices=[{"name": "x"}]),
        lambda one: one.update(devices=7),
    ],
)
def test_what_makes_no_sense_is_found_out_again(spoil: Callable[[dict[str, Any]], object]) -> None:
    document = estimates.news("model", "key", ONE)
    spoil(document["models"]["model"]["estimates"]["key"])
    assert estimates.find(document, "model", "key") is None


def test_a_book_keeps_the_latest_estimates(tmp_path: Path) -> None:
    book = remembered.file_path(tmp_path, "machine", "pack")
    for number in range(remembered.KEPT_ESTIMATES + 3):
        remembered.add(book, estimates.news("model", str(number), ONE))
    kept = remembered.read(book)[0]["models"]["model"]["estimates"]
    assert list(kept) == [str(number) for number in range(3, remembered.KEPT_ESTIMATES + 3)]


def test_files_count_by_what_is_in_them() -> None:
    words = ("--model", "models/a.gguf", "-c", "512", "-t", "4", "--mmproj", "models/p.gguf")
    assert core_words.of_layout(words, {"models/a.gguf": "aa", "models/p.gguf": "bb"}.get) == (
        "--model", "aa", "-c", "512", "--mmproj", "bb",
    )  # fmt: skip
    assert core_words.of_layout(words, {"models/a.gguf": "aa"}.get) is None
