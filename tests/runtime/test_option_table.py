"""The option table, the reading of command lines by it, and its comparison with llama.cpp's own parser."""

from __future__ import annotations

import ctypes
import json
from collections import Counter
from pathlib import Path

import pytest
from solofile.runtime import options, options_table
from solofile.runtime.errors import InputError, RefusedOption, UnknownName
from solofile.runtime.options import CORE, IGNORED, OURS, REFUSED, Option, every, find, parse

BUNDLE_ONLY = frozenset(
    word
    for kind in ("FLAGS", "INTEGERS", "NUMBERS", "TEXTS")
    for word in getattr(options_table, f"BUNDLE_{kind}").split()
) - {"/"}
NEVER_PASSED = (
    "-hf", "-hff", "-hft", "-mu", "-dr", "-mmu", "-hfd", "--offline", "-cl", "--tools", "--tools-runtime", "-ag",
    "--mcp-servers-config", "--mcp-servers-json", "--ui-mcp-proxy", "--webui-mcp-proxy", "--models-dir",
    "--models-preset", "--models-max", "--models-autoload", "--rpc", "--completion-bash", "--list-devices",
    "--gpt-oss-20b-default", "--embd-gemma-default", "-m", "--host", "--port", "--api-key", "--ssl-key-file", "-to",
    "--threads-http", "--api-prefix", "--version", "-h",
)  # fmt: skip


def spellings(option: Option) -> tuple[str, ...]:
    return (*option.spellings, *option.negations)


def test_no_spelling_stands_twice() -> None:
    blocks = [block for block, *_ in options._blocks()]
    words = Counter(word for block in blocks for word in block.split() if word != "/")
    assert [word for word, count in words.items() if count > 1] == []


def test_every_option_has_one_place_and_every_refused_one_a_reason_and_a_remedy() -> None:
    for option in every():
        assert option.place in (CORE, OURS, REFUSED, IGNORED)
        assert bool(option.reason) == (option.place == REFUSED)
        assert option.place != REFUSED or "; " in option.reason


def test_what_adds_up_is_known() -> None:
    assert [word for word in options_table.ADDING_UP.split() if find(word) is None] == []


@pytest.mark.parametrize("spelling", NEVER_PASSED)
def test_is_not_passed_to_the_core(spelling: str) -> None:
    option = find(spelling)
    assert option is not None
    assert option.place != CORE


def test_table_is_llama_cpps(native_dir: Path) -> None:
    """Every spelling of the real parser is in the table with as many values, and the table invents none."""
    from solofile.runtime import bridge

    library = bridge.load(native_dir)
    found = json.loads(bridge.whole_text(library.sf_options))
    theirs = {
        spelling: entry["values"] for entry in found for spelling in (*entry["args"], *entry["args_neg"])
    }  # fmt: skip
    ours = {spelling: option.values for option in every() for spelling in spellings(option)}
    assert len(theirs) > 400
    assert {name: ours.get(name) for name in theirs} == theirs
    assert set(ours) - set(theirs) == BUNDLE_ONLY
    assert isinstance(library, ctypes.CDLL)


def test_reads_what_llama_server_reads() -> None:
    words = "-c 8192 -ngl 20 --temp 0.2 --control-vector-layer-range 1 3 --no-kv-offload"
    given = parse(words.split())
    assert [one.words() for one in given] == [
        ("-c", "8192"),
        ("-ngl", "20"),
        ("--temp", "0.2"),
        ("--control-vector-layer-range", "1", "3"),
        ("--no-kv-offload",),
    ]
    assert [one.negated for one in given] == [False, False, False, False, True]


def test_takes_underscores_equals_and_values_that_look_like_options() -> None:
    (size,) = parse(["--ctx_size=12"])
    assert size.words() == ("--ctx-size", "12")
    (question,) = parse(["-p", "--help"])
    assert question.values == ("--help",)
    (grammar,) = parse(["--grammar=root ::= a=b"])
    assert grammar.values == ("root ::= a=b",)
    assert parse(["--keep", "-1"])[0].values == ("-1",)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-c"], "The option -c needs a value after it; see --help."),
        (["-c", "1x"], "The option -c needs a whole number, not '1x'; see --help."),
        (["-c", "8_192"], "The option -c needs a whole number, not '8_192'; see --help."),
        (["-c", "99999999999"], "The option -c needs a whole number, not '99999999999'; see --help."),
        (["--temp", "warm"], "The option --temp needs a number, not 'warm'; see --help."),
        (["--temp", "nan"], "The option --temp needs a number, not 'nan'; see --help."),
        (["--metrics=1"], "The option --metrics takes no value: write it without =."),
        (["--control-vector-layer-range", "1"], "The option --control-vector-layer-range needs two values after it"),
        (["hello"], "Unexpected word 'hello' on the command line: to ask something, write -p \"…\" with quotes."),
        (["-"], "Unexpected word '-' on the command line: to ask something, write -p \"…\" with quotes."),
    ],
)  # fmt: skip
def test_says_what_is_wrong(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        parse(words)
    assert str(error.value).startswith(sentence)
    assert str(error.value).endswith(".")
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("--tempp", "--temp"), ("--serve", "--server"), ("--ctxsize", "--ctx-size"), ("-nlg", "-ngl"), ("--hf-rep", None)],
)
def test_unknown_option_names_the_nearest_that_is_offered(wrong: str, nearest: str | None) -> None:
    with pytest.raises(UnknownName) as error:
        parse([wrong, "1"])
    if nearest is None:
        assert error.value.nearest not in ("--hf-repo", "--hf-repo-draft")
    else:
        assert error.value.nearest == nearest
        assert str(error.value) == f"Unknown option {wrong}: did you mean {nearest}?"


@pytest.mark.parametrize("option", [option for option in every() if option.place == REFUSED], ids=lambda one: one.key)
def test_refusal_is_one_sentence_with_the_reason(option: Option) -> None:
    for spelling in spellings(option):
        with pytest.raises(RefusedOption) as error:
            parse([spelling, "x"])
        assert str(error.value) == f"The option {spelling} is not offered by a bundle: {option.reason}."


def test_no_to_what_is_refused_does_nothing() -> None:
    given = parse(["--no-agent", "-no-ag", "--no-ui-mcp-proxy", "--no-webui-mcp-proxy"])
    assert {one.option.place for one in given} == {IGNORED}
