"""The modes that answer without a model, the server's settings, and the sentences for bad input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from small_bundle import LICENSE, make_bundle, model
from solofile.runtime import access, cli, selection
from solofile.runtime.auth import Key
from solofile.runtime.cache import Wanted
from solofile.runtime.container import Bundle
from solofile.runtime.errors import InputError
from solofile.runtime.hardware import target
from solofile.runtime.server_settings import ServerSettings


def run(words: str, environ: dict[str, str]) -> tuple[int, str]:
    out = io.StringIO()
    return cli.main(words.split(), environ, out), out.getvalue()


def test_help_needs_no_bundle_and_names_every_mode_and_core_option() -> None:
    code, text = run("--help", {})
    assert code == 0
    assert max(map(len, text.splitlines())) <= 120
    modes = "--server --chat -p, --doctor --bench --verify --extract --licenses --cache-clear"
    assert [word for word in f"{modes} -ngl --temp".split() if word not in text] == []


def test_version(environ: dict[str, str]) -> None:
    assert run("--version", environ) == (0, "tiny, made by solofile 0.1.0; llama.cpp 0.5.0 (0c1e570)\n")


def test_licenses(environ: dict[str, str]) -> None:
    code, text = run("--licenses", environ)
    assert code == 0
    assert text.startswith("tiny: apache-2.0\n")
    assert "\nllama.cpp\n=========\n\n" + LICENSE.decode() in text


def test_verify_of_a_whole_and_a_damaged_bundle(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run("--verify", environ)
    assert (code, "is whole: " in text) == (0, True)
    raw = bytearray(Path(environ["SOLOFILE_BUNDLE"]).read_bytes())
    with Bundle.open(environ["SOLOFILE_BUNDLE"]) as bundle:
        raw[bundle.data_offset("models/tiny.gguf")] ^= 1
    damaged = tmp_path / "damaged.exe"
    damaged.write_bytes(raw)
    assert run("--verify", {**environ, "SOLOFILE_BUNDLE": str(damaged)}) == (2, "")
    assert "models/tiny.gguf" in capsys.readouterr().err


def test_extract(environ: dict[str, str], tmp_path: Path) -> None:
    code, text = run(f"--extract {tmp_path / 'there'}", environ)
    assert (code, text.endswith(f"files below {tmp_path / 'there'}.\n")) == (0, True)
    assert (tmp_path / "there/models/tiny.gguf").stat().st_size == 4096


def test_cache_clear(environ: dict[str, str]) -> None:
    code, text = run("--cache-clear", environ)
    assert (code, text) == (0, f"Removed 0 from {environ['SOLOFILE_CACHE_DIR']}, 0.0 MB in all.\n")


def test_doctor_as_json_and_as_text(environ: dict[str, str]) -> None:
    code, text = run("--doctor --json", environ)
    report = json.loads(text)
    assert code == 0
    assert "SOLOFILE_NATIVE_DIR is not set" in report["choice"]["error"]
    assert report["bundle"]["models"][0]["quantization"] == "Q4_1"
    assert report["hardware"]["threads"] >= 1
    assert report["cache"]["path"] == environ["SOLOFILE_CACHE_DIR"]
    code, text = run("--doctor", environ)
    assert code == 0
    assert f"{target()} with glibc 2.17 or newer; 2 CPU kernels, GPU libraries: none" in text
    assert "! SOLOFILE_NATIVE_DIR is not set" in text


def test_doctor_of_a_damaged_bundle_still_shows_the_machine(environ: dict[str, str], tmp_path: Path) -> None:
    damaged = tmp_path / "cut.exe"
    damaged.write_bytes(Path(environ["SOLOFILE_BUNDLE"]).read_bytes()[:-1])
    code, text = run("--doctor --json", {**environ, "SOLOFILE_BUNDLE": str(damaged)})
    report = json.loads(text)
    assert code == 0
    assert str(damaged) in report["bundle"]["error"]
    assert report["hardware"]["cpu"]


def test_doctor_lists_crashes_and_cache(environ: dict[str, str]) -> None:
    state = Path(environ["SOLOFILE_CACHE_DIR"]) / "state"
    state.mkdir()
    (state / "crash-2026-01-01.txt").write_text("SIGILL")
    assert json.loads(run("--doctor --json", environ)[1])["cache"]["crashes"] == [str(state / "crash-2026-01-01.txt")]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("--nonsense", 2, "Unknown option --nonsense"),
        ("--server --chat", 2, "ask for different things"),
        ("-hf a/b", 2, "The option -hf is not offered by a bundle: it downloads a model"),
        ("--server --compare", 2, "The option --compare goes with --bench: give both or neither"),
        ("--server --json", 2, "The option --json goes with --doctor or --bench: give both or neither"),
        ("--server --public-key K", 2, "The option --public-key goes with --verify: give both or neither"),
        ("-m other", 2, "Unknown model other in this bundle"),
        ("--server --port 70000", 2, "There is no port 70000"),
        ("--idle-exit -1", 2, "--idle-exit -1 cannot be"),
        ("--server --idle-exit 5", 2, "The option --idle-exit is for the page and not for --server"),
    ],
)
def test_bad_input(
    words: str, code: int, sentence: str, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words, environ) == (code, "")
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_started_without_a_launcher(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", {})[0] == 2
    said = capsys.readouterr().err
    assert said == "This is a part of a bundle and not meant to be started by itself: start the bundle.\n"


def test_damaged_bundle_is_refused(environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "cut.exe"
    damaged.write_bytes(Path(environ["SOLOFILE_BUNDLE"]).read_bytes()[:-1])
    assert run("-p x", {**environ, "SOLOFILE_BUNDLE": str(damaged)}) == (2, "")
    assert str(damaged) in capsys.readouterr().err


def test_bundle_for_another_system(environ: dict[str, str]) -> None:
    with Bundle.open(environ["SOLOFILE_BUNDLE"]) as bundle, pytest.raises(InputError, match="and not for plan9-mips"):
        selection.offered(bundle, "plan9-mips")


def test_kernel_library_comes_out_of_the_bundle(environ: dict[str, str]) -> None:
    with Bundle.open(environ["SOLOFILE_BUNDLE"]) as bundle:
        place = selection.Place(bundle, Path(environ["SOLOFILE_CACHE_DIR"]), Path("/none"))
        path, lock = selection.library(place, target(), "cpu-x64", lambda _: None)
        part = bundle.part(f"native/{target()}/libggml-cpu-x64.so")
    assert lock is not None
    lock.close()
    assert path.parent.name == part.sha256
    assert Wanted(path.name, part.sha256, path.stat().st_size) == Wanted("libggml-cpu-x64.so", part.sha256, part.size)


def test_native_folder_of_the_environment_counts_in_a_source_tree_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert selection.native_folder({"SOLOFILE_NATIVE_DIR": "/there"}) == Path("/there")
    with pytest.raises(InputError):
        selection.native_folder({})
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert selection.native_folder({"SOLOFILE_NATIVE_DIR": "/there"}) == Path(sys.executable).parent / "native"


def test_beyond_loopback_a_key_is_needed_or_the_word_of_the_user() -> None:
    loopback, world = ServerSettings(), ServerSettings(hosts=("0.0.0.0",))
    with pytest.raises(InputError, match=r"^--host 0\.0\.0\.0 lets other machines in: give --api-key-file"):
        access.checked(world)
    keyed = ServerSettings(hosts=("0.0.0.0",), keys=(Key.of("k", "k"),))
    spoken = ServerSettings(hosts=("0.0.0.0",), open_to_all=True)
    for settings in (loopback, keyed, spoken):
        assert access.checked(settings) is settings
    with pytest.raises(InputError, match="ask for different things"):
        access.checked(ServerSettings(api_keys=("k",), open_to_all=True))


def test_default_arguments_that_no_bundle_may_hold(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "b", arguments=("--host", "0.0.0.0"), models=(model("m"),))
    assert run("--server", {**environ, "SOLOFILE_BUNDLE": str(bundle)}) == (2, "")
    assert "which only the user can give" in capsys.readouterr().err


def test_key_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# comment\n\nfirst\n second \n")
    settings = ServerSettings(api_keys=("zeroth",))
    assert access.with_key_files(settings, (str(keys),)).keys == (Key.of("first", "key-3"), Key.of("second", "key-4"))
    keys.write_text("# none\n")
    with pytest.raises(InputError, match="has no key in it"):
        access.with_key_files(settings, (str(keys),))
    keys.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="it is no UTF-8 text"):
        access.with_key_files(settings, (str(keys),))
    with pytest.raises(InputError, match="cannot be read"):
        access.with_key_files(settings, (str(tmp_path / "gone"),))
