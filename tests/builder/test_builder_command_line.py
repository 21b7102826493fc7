"""The command line itself: help, mistakes, and what it passes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from solofile.builder import native
from solofile.builder.cli import main, parse
from solofile.runtime.errors import InputError


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 0
    assert "build one executable out of a model" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    ["build", "inspect", "verify", "extract", "set", "upgrade", "demo", "native build", "pack build", "doctor"],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"usage: solofile {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("biuld m.gguf", "Unknown command biuld: did you mean build?"),
        ("m.gguf", "write solofile build m.gguf"),
        ("smollm2.toml", "write solofile build smollm2.toml"),
        ("--verison", "Unknown option --verison: did you mean --version?"),
        ("build m.gguf --ouptut x", "Unknown option --ouptut: did you mean --output?"),
        ("build m.gguf --systemprompt=x", "Unknown option --systemprompt: did you mean --system-prompt?"),
        ("build m.gguf --forc", "Unknown option --forc: did you mean --force?"),
        ("build", "MODEL.gguf|RECIPE.toml --from is required: see solofile build --help"),
        ("build m.gguf -o", "see solofile build --help"),
        ("inspect a b", "Unexpected word “b”: see solofile inspect --help"),
        ("pack biuld", "see solofile pack --help"),
        ("native", "see solofile native --help"),
        ("inspect none.exe", "none.exe cannot be opened: No such file or directory"),
        ("verify none.exe", "none.exe cannot be opened"),
        ("build none.gguf", "none.gguf does not exist"),
        ("build none.toml", "The recipe none.toml cannot be read: No such file or directory"),
    ],
)
def test_mistakes(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("solofile: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err
    assert captured.out == ""


def test_values_that_look_like_options() -> None:
    arguments = parse(["build", "m.gguf", "--args", "-c", "--system-prompt", "--help", "--title", "-"])
    assert (arguments.args, arguments.system_prompt, arguments.title) == ("-c", "--help", "-")
    with pytest.raises(InputError, match="--args"):
        parse(["build", "m.gguf", "--args"])


def test_demo_passes_everything_on() -> None:
    words = ["--server", "--no-such-option", "-p", "x"]
    assert parse(["demo", *words]).arguments == words


def test_native_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[object, ...]] = []

    def build(target: str | None, *, kernels: str, gpus: str, reference: bool) -> native.Native:
        calls.append((target, kernels, gpus, reference))
        return native.Native("key", "linux-x86_64", (), tmp_path, tmp_path / "llama-server" if reference else None)

    monkeypatch.setattr(native, "build", build)
    assert main(["native", "build", "--target", "linux-x86_64", "--kernels", "host"]) == 0
    assert main(["native", "build"]) == 0
    assert main(["native", "build", "--gpu", "vulkan", "--reference"]) == 0
    assert calls == [
        ("linux-x86_64", "host", "none", False),
        (None, "all", "none", False),
        (None, "all", "vulkan", True),
    ]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path), str(tmp_path), str(tmp_path / "llama-server")]


def test_starting_is_quick() -> None:
    """Help must not wait for what builds, freezes or downloads."""
    code = "import sys; from solofile.builder import cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    assert not {"numpy", "gguf", "PyInstaller", "flask", "pip"} & set(done.stdout.split())
