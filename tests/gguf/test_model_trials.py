"""llama.cpp tries a model before it is put into a bundle: what it cannot load or render is refused, soon."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ggufs import ARCHITECTURE, NO_WORDS, raw_gguf, tensor, write_gguf
from solofile.builder import model_trial, native
from solofile.builder.archive_writer import Span
from solofile.builder.child import ChildFailure, clause, run_child
from solofile.builder.cli import main
from solofile.builder.errors import BadModel
from solofile.builder.gguf_architectures import architecture_problem, known_architectures
from solofile.builder.gguf_check import check_model
from solofile.builder.gguf_edit import edited
from solofile.builder.gguf_header import UINT32, read_header
from solofile.builder.metadata_edits import parse_edit
from solofile.builder.model_trial import try_model
from solofile.builder.progress import SilentProgress
from solofile.builder.template_trial import Trial, try_template

LONGEST = 10
"""Seconds, of which a template may have half."""

MESSAGES = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}"
    "{% endfor %}"
)

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}" + MESSAGES
HOSTILE = {
    "loops": LOOP,
    "a loop in one step": "{% set x = range(2000000000) | list %}" + MESSAGES,
    "grows": "{% set n = namespace(x='aaaaaaaa') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
    + MESSAGES,
    "multiplies": "{{ 'a' * 9999999999 }}" + MESSAGES,
    "reads a file": "{% include '/etc/passwd' %}" + MESSAGES,
    "imports": "{% import 'os' as os %}" + MESSAGES,
    "reaches out": "{{ ''.__class__.__mro__[1].__subclasses__()[0].nothing.there }}" + MESSAGES,
    "nests deeply": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "does not end": "{% for m in messages %}{{ m.role ",
    "is no template": "{{ ]] }}",
    "leaves all out": "hello",
    "fails": "{{ raise_exception('no') }}",
    "recurses": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" + MESSAGES,
}


@pytest.fixture(params=["llama.cpp", "jinja2"])
def libraries(request: pytest.FixtureRequest) -> Callable[[], Path | None]:
    """With what templates are rendered: llama.cpp's libraries, or none."""
    if request.param == "jinja2":
        pytest.importorskip("jinja2")
        return lambda: None
    request.getfixturevalue("cache")
    return native.libraries_folder


TRY = """
import json, resource, sys
from pathlib import Path
from solofile.builder.template_trial import try_template
trial = try_template(sys.argv[1], Path(sys.argv[2]) if sys.argv[2] else None)
print(json.dumps([trial.problem, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates(libraries: Callable[[], Path | None], name: str) -> None:
    start = time.monotonic()
    command = [sys.executable, "-c", TRY, HOSTILE[name], str(libraries() or "")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    problem, peak = json.loads(done.stdout)
    assert problem and "\n" not in problem
    assert time.monotonic() - start < LONGEST
    assert peak << 10 < 500 << 20


def test_sound_templates(libraries: Callable[[], Path | None]) -> None:
    assert try_template(MESSAGES + TOOLS, libraries()) == Trial()
    assert try_template(MESSAGES, libraries()) == Trial(lacks=("tools",))


@pytest.mark.usefixtures("cache")
def test_system_prompt_that_a_template_refuses() -> None:
    """llama.cpp then puts it before what the user writes; by jinja2 nobody does."""
    assert try_template(NO_SYSTEM, native.libraries_folder()) == Trial(lacks=("tools",))
    pytest.importorskip("jinja2")
    assert try_template(NO_SYSTEM, None) == Trial(lacks=("a system prompt", "tools"))


@pytest.mark.usefixtures("cache")
def test_a_sound_model(tiny: Path) -> None:
    assert try_model(tiny, None, ()) == ("Its chat template knows nothing of tools.",)


@pytest.mark.usefixtures("cache")
def test_a_model_inside_another_file(tiny: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.write_bytes(bytes(65_536) + tiny.read_bytes() + b"more")
    assert len(try_model(host, Span(65_536, tiny.stat().st_size), ())) == 1


@pytest.mark.usefixtures("cache")
def test_what_was_tried_is_remembered(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = try_model(tiny, None, ())

    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("it was tried again")

    monkeypatch.setattr(model_trial, "run_child", no_child)
    monkeypatch.setattr(model_trial, "try_template", no_child)
    assert try_model(tiny, None, ()) == first


@pytest.mark.usefixtures("cache")
def test_models_that_llama_cpp_cannot_load(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    with pytest.raises(BadModel, match=r"llama\.cpp cannot load .*m\.gguf \(.+\): get it again"):
        try_model(path, None, ())
    path.write_bytes(raw_gguf([ARCHITECTURE, NO_WORDS], [tensor("a", (32,), 0, 0)]))
    with pytest.raises(BadModel, match=r"llama\.cpp cannot load"):
        try_model(path, None, ())


@pytest.mark.usefixtures("cache")
def test_absurd_numbers(tiny: Path) -> None:
    """Whatever a header says of the model's shape, llama.cpp takes it, or it is refused with a sentence."""
    refused = 0
    with tiny.open("rb", buffering=0) as file:
        keys = [key for key, kind in read_header(file).kinds.items() if kind == UINT32 and key.startswith("llama.")]
    assert len(keys) > 5
    for key in keys:
        for number in (0, 3, (1 << 31) - 1, (1 << 32) - 1):
            edits = [parse_edit(f"{key}={number}")]
            path = edited(tiny, None, "m.gguf", "0" * 64, edits, lambda *_: SilentProgress())
            start = time.monotonic()
            try:
                check_model(path)
                try_model(path, None, ())
            except BadModel as error:
                refused += 1
                assert str(error).startswith(("llama.cpp cannot load", str(path)))
            assert time.monotonic() - start < LONGEST
    assert refused > len(keys)


@pytest.mark.usefixtures("cache")
def test_another_template(tiny: Path, pack_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the one that the bundle will use which is tried."""
    build = ["build", str(tiny), "-o", "x.exe", "--pack", str(pack_path), "--args"]
    assert main([*build, "--chat-template 'hello {{'"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "The chat template that is given cannot be used with" in error
    assert not list(folder.iterdir())
    assert main([*build, f'--chat-template "{MESSAGES}{TOOLS}"']) == 0
    assert "knows nothing" not in capsys.readouterr().err
    assert main([*build, "--chat-template chatml", "--force"]) == 0


def test_without_libraries_it_is_said(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "empty"))
    assert "has not tried the model" in try_model(tiny, None, ())[0]


@pytest.mark.usefixtures("cache")
def test_architectures() -> None:
    known = known_architectures()
    assert {"llama", "qwen3", "gemma3"} < known
    assert not {"clip", "(unknown)"} & known
    assert architecture_problem("llama") is None
    assert "the nearest that it knows is qwen3" in str(architecture_problem("qwen3x"))


def test_a_child_that_takes_too_long() -> None:
    pytest.importorskip("jinja2")
    start = time.monotonic()
    with pytest.raises(ChildFailure, match=r"longer than 0\.5 seconds") as caught:
        run_child("render_by_jinja", {"template": LOOP, "conversations": {"plain": {"messages": []}}}, seconds=0.5)
    assert caught.value.crashed
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("common_chat_templates_init: error: Unknown statement: include", "Unknown statement: include"),
        ("one\n---\nError: std::bad_alloc\n", "std::bad_alloc"),
        ("TypeError: no loader.", "no loader"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_clauses(text: str, says: str) -> None:
    assert clause(text) == says
