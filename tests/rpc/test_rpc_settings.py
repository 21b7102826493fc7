"""The command line of several machines: addresses, the secret, who may be let in without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from solofile.runtime import options, rpc_settings, settings
from solofile.runtime.errors import InputError
from solofile.runtime.rpc_settings import Endpoint, endpoints

LONG = "a secret of many letters"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.2:50052", [("10.0.0.2", 50052)]),
        ("10.0.0.2", [("10.0.0.2", 50052)]),
        ("one:1, two:65535,", [("one", 1), ("two", 65535)]),
        ("[fe80::1]:7", [("fe80::1", 7)]),
        ("[::1]", [("::1", 50052)]),
        ("fe80::2", [("fe80::2", 50052)]),
    ],
)
def test_addresses(text: str, found: list[tuple[str, int]]) -> None:
    assert [tuple(one) for one in endpoints(text)] == found


@pytest.mark.parametrize(
    "text", ["", ",", ":1", "a:0", "a:65536", "a:b", "a:1:", "http://a:1", "user@a:1", "a b:1", "[::1", "[::1]1", "a:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--rpc"):
        endpoints(text)


def test_a_worker_twice_and_too_many_are_refused() -> None:
    with pytest.raises(InputError, match="a:1 twice"):
        endpoints("a:1,a:1")
    with pytest.raises(InputError, match="names 17 workers"):
        endpoints(",".join(f"host{number}" for number in range(17)))


def test_llama_cpp_gets_a_name_with_one_colon() -> None:
    one = Endpoint("fe80::1", 7)
    assert one.label == "fe80--1:7"
    assert str(one) == "[fe80::1]:7"
    assert endpoints(str(one)) == (one,)


def test_the_secret_is_in_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"\n{LONG}\n")
    assert rpc_settings.secret(str(file), {}) == LONG
    assert rpc_settings.secret("", {"SOLOFILE_RPC_SECRET": f"{LONG} "}) == LONG
    assert rpc_settings.secret(str(file), {"SOLOFILE_RPC_SECRET": "another one of many letters"}) == LONG
    assert rpc_settings.secret("", {}) == ""


@pytest.mark.parametrize("text", ["", "   \n", "short", "fifteen letters"])
def test_a_secret_that_could_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(InputError, match="could be guessed"):
        rpc_settings.secret(str(file), {})
    with pytest.raises(InputError, match="SOLOFILE_RPC_SECRET has"):
        rpc_settings.secret("", {"SOLOFILE_RPC_SECRET": text})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        rpc_settings.secret(str(tmp_path / "none"), {})
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(InputError, match="no UTF-8 text"):
        rpc_settings.secret(str(tmp_path / "bytes"), {})


def test_other_machines_are_let_in_with_a_secret_or_when_told_so() -> None:
    rpc_settings.check_hosts(("127.0.0.1", "::1"), "", no_auth=False)
    rpc_settings.check_hosts(("0.0.0.0",), LONG, no_auth=False)
    rpc_settings.check_hosts(("0.0.0.0",), "", no_auth=True)
    with pytest.raises(InputError, match="no secret"):
        rpc_settings.check_hosts(("127.0.0.1", "192.168.1.5"), "", no_auth=False)
    with pytest.raises(InputError, match="different things"):
        rpc_settings.check_hosts(("0.0.0.0",), LONG, no_auth=True)


def resolve(*words: str) -> settings.Launch:
    return settings.resolve(words, None, {})


def test_the_worker_listens_on_this_machine_and_llama_cpps_port_unless_told_otherwise() -> None:
    found = resolve("--rpc-worker").rpc_worker
    assert found == rpc_settings.Working(("127.0.0.1",), 50052, "", False)
    found = resolve("--rpc-worker", "--host", "0.0.0.0,::", "--port", "7", "--rpc-secret-file", "f").rpc_worker
    assert found == rpc_settings.Working(("0.0.0.0", "::"), 7, "f", False)
    assert resolve("--server").rpc_worker is None


def test_the_main_machine_names_its_workers() -> None:
    found = resolve("--server", "--rpc", "a:1,b:2", "--rpc-secret-file", "f").rpc
    assert found == rpc_settings.Shared((Endpoint("a", 1), Endpoint("b", 2)), "f")
    assert resolve("--server").rpc is None
    assert resolve("--doctor", "--rpc", "a").rpc is not None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rpc-worker", "--rpc", "a:1"], "--rpc does not go with --rpc-worker"),
        (["--verify", "--rpc", "a:1"], "--rpc does not go with --verify"),
        (["--bench", "--compare", "--rpc", "a:1"], "--rpc does not go with --compare"),
        (["--server", "--rpc-secret-file", "f"], "goes with --rpc or --rpc-worker"),
        (["--server", "--rpc-worker"], "ask for different things"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        resolve(*words)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("--server --rpc a:1,b:2 --rpc-secret-file f -c 512", "--server --rpc b:2 --rpc-secret-file f -c 512"),
        ("--server --rpc a:1 --rpc-secret-file f -c 512", "--server -c 512"),
        ("--rpc=a:1 --rpc-secret-file=f -ngl 4", "-ngl 4"),
        ("--rpc a:1,b:2 -ts 1,2 -dev RPC0,RPC1 -ngl 9", "--rpc b:2 -ngl 9"),
        ("--rpc a:1,b:2 -dev Vulkan0", "--rpc b:2 -dev Vulkan0"),
    ],
)
def test_the_command_line_without_a_worker(words: str, left: str) -> None:
    found = rpc_settings.words_without(options.parse(words.split()), Endpoint("a", 1))
    assert found == left.split()
