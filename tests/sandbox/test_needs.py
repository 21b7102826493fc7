"""What a start is left with: decided from names alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from solofile.builder import seccomp_lists
from solofile.runtime import landlock, options, options_table, sandbox_linux, sandbox_macos, sandbox_windows, seccomp
from solofile.runtime import sandbox_needs as needs
from solofile.runtime.seccomp_programs import PROGRAMS
from solofile.runtime.server_settings import ServerSettings

PLACE = needs.Place(("/media/stick/model.exe",), ("/cache/packs/1",), "/cache")


def start(*words: str, gpu: bool = False, server: ServerSettings | None = None) -> needs.Needs:
    return needs.of_start(PLACE, options.parse(words), server, gpu=gpu)


def test_a_start_reads_its_own_and_writes_its_state() -> None:
    found = start()
    assert {"/media/stick/model.exe", "/cache/packs/1", "/cache/kernels", "/cache/models"} <= set(found.read)
    assert found.make == ("/cache/state",)
    assert found.write == needs.WRITABLE and not found.devices and not found.ports
    for path in (*found.read, *found.make, *found.kept):
        assert not Path("/home").is_relative_to(path), path
        assert not Path("/root").is_relative_to(path), path
        assert path not in ("/", "/etc", "/var", "/tmp", "/dev", "/proc", "/run")


def test_what_the_user_names_is_reached(tmp_path: Path) -> None:
    server = ServerSettings(ssl_cert_file=Path("/tls/c"), ssl_key_file=Path("/tls/k"), static_folder=tmp_path)
    words = ["--lora-scaled", "/a/x.gguf:0.5,/a/y.gguf:1", "--grammar-file", "g", "--log-file", "/l/log"]
    found = start(*words, "--slot-save-path", "/slots", "--mmproj", "/m/p.gguf", server=server)
    assert {"/a/x.gguf", "/a/y.gguf", "g", "/m/p.gguf", "/tls/c", "/tls/k", str(tmp_path)} <= set(found.read)
    assert "/l/log" in found.write and "/slots" in found.make and "/slots" not in start().make


def test_every_option_that_names_a_file_is_known() -> None:
    """By its name: a new one of llama.cpp must not be forgotten."""
    known = needs.READ_OPTIONS | needs.WRITE_OPTIONS | needs.FOLDER_OPTIONS
    words = ("file", "path", "dir", "lora", "mmproj", "model", "lookup-cache", "control-vector")
    apart = {
        "--mmproj-device", "--control-vector-layer-range", "--video-ffmpeg-dir", "--spec-draft-device", "-mmdev",
    }  # fmt: skip
    for option in options.every():
        named = any(word in spelling for spelling in option.spellings for word in words)
        if option.place == options.CORE and option.kind == "text" and named and option.key not in apart:
            assert option.key in known, option
    keys = {option.key for option in options.every()}
    assert known <= keys
    assert "--video-ffmpeg-dir" in options_table.CORE_TEXTS


def test_drivers_of_gpus_get_more() -> None:
    found = start(gpu=True)
    assert found.gpu and "/dev/dri" in found.devices and "/cache/drivers" in found.make
    rules = sandbox_linux.rules(found)
    assert any(rule.access & landlock.IOCTL_DEV for rule in rules)
    assert not any(rule.access & landlock.IOCTL_DEV for rule in sandbox_linux.rules(start()))
    assert not any(rule.access & landlock.EXECUTE for rule in rules)
    assert all(rule.kept == rule.path.startswith("/proc") for rule in rules)


def test_programs_are_what_libseccomp_makes_of_the_lists() -> None:
    pytest.importorskip("pyseccomp", reason="pyseccomp is not installed", exc_type=ImportError)
    written = (Path(seccomp_lists.__file__).parents[1] / "runtime" / "seccomp_programs.py").read_text("utf-8")
    assert "\n".join(seccomp_lists.module()) + "\n" == written


@pytest.mark.parametrize("key", PROGRAMS, ids="-".join)
def test_a_program_is_of_this_process(key: tuple[str, str]) -> None:
    machine, profile = key
    code = seccomp.program(profile, machine, 0x01020304)
    assert len(code) % 8 == 0 and len(code) // 8 < 4096
    plain = bytes.fromhex(PROGRAMS[key])
    placeholder = seccomp.OWN_PROCESS.to_bytes(4, "little")
    assert plain.count(placeholder) == code.count((0x01020304).to_bytes(4, "little")) > 0
    assert placeholder not in code


def test_reasons() -> None:
    assert "not turned on" in sandbox_linux.why_no_landlock(OSError(95, "not supported"))
    assert "Linux 5.13" in sandbox_linux.why_no_landlock(OSError(38, "not implemented"))
    assert "TCP, ioctl, signals" in sandbox_linux.what_it_lacks(3)
    assert sandbox_linux.what_it_lacks(6) == ""
    assert "filtered" in sandbox_linux.why_no_seccomp(OSError(22, "invalid"))


def test_a_trial_leaves_this_process_as_it_is(tmp_path: Path) -> None:
    found = start()._replace(make=(), write=())
    files, calls = sandbox_linux.trial(found)
    assert (files == "") == (sandbox_linux.level() >= 6)
    assert isinstance(calls, str)
    (tmp_path / "x").write_text("still free")
    os.close(os.open(tmp_path / "x", os.O_RDONLY))


def test_profile_of_macos() -> None:
    text = sandbox_macos.profile(start()._replace(make=('/Users/a "b"/state',), ports=(50052,)))
    lines = text.splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert text.count("(") == text.count(")")
    assert '(allow file-read* file-write* (subpath "/Users/a \\"b\\"/state"))' in lines
    assert '(allow network-outbound (remote tcp "*:50052"))' in lines
    assert "process-exec" not in text and "process-fork" not in text
    assert "iokit-open" in sandbox_macos.profile(start(gpu=True)) and "iokit-open" not in text


def test_policies_of_windows() -> None:
    assert sandbox_windows.late_policies(gpu=False) == ((2, 1),)
    assert sandbox_windows.late_policies(gpu=True) == ()
    assert dict(sandbox_windows.early_policies()) == {6: 1, 9: 1, 10: 7}
