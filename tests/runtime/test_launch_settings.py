"""What a start is to do: manifest < environment < command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from small_bundle import manifest, model
from solofile.runtime import settings
from solofile.runtime.errors import InputError, RefusedOption, UnknownName
from solofile.runtime.kernel_path import KernelPath
from solofile.runtime.manifest import Manifest
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.settings import Launch, core_arguments, fits_easily, has_template, resolve

PATH = KernelPath("x64")


def launch(words: str, found: Manifest | None = None, environ: Mapping[str, str] | None = None) -> Launch:
    return resolve(words.split(), found or manifest(), environ or {})


def server(words: str, **environ: str) -> ServerSettings:
    found = launch(words, None, environ).server
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("", "page"),
        ("--server", "server"),
        ("--chat", "chat"),
        ("-p hello", "prompt"),
        ("--prompt hello", "prompt"),
        ("--doctor", "doctor"),
        ("--verify", "verify"),
        ("--extract there", "extract"),
        ("--licenses", "licenses"),
        ("--cache-clear", "cache-clear"),
        ("--version", "version"),
        ("--help", "help"),
        ("-h --server", "help"),
        ("--usage", "help"),
    ],
)
def test_mode(words: str, mode: str) -> None:
    assert launch(words).mode == mode


def test_two_modes_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^The options --server and --chat ask for different things: give one of"):
        launch("--server --chat")


def test_only_the_page_opens_a_browser() -> None:
    assert launch("").browser
    assert not launch("--no-browser").browser
    assert not launch("--server").browser


def test_when_the_page_ends_by_itself() -> None:
    found = manifest(arguments=("--idle-exit", "3", "--no-history"))
    assert (launch("").idle_exit, launch("").history) == (10.0, True)
    assert (launch("", found).idle_exit, launch("", found).idle_exit_given) == (3.0, False)
    assert (launch("--idle-exit 0.5", found).idle_exit, launch("--idle-exit 0.5").idle_exit_given) == (0.5, True)
    assert launch("--server", found).idle_exit == 3.0, "a bundle's default is no demand"
    assert (launch("--chat", found).history, launch("--chat --history", found).history) == (False, True)


def test_flags_win_over_the_manifest_and_the_last_one_over_the_first() -> None:
    found = manifest(arguments=("-c", "512", "--temp", "0.1", "--no-kv-offload"))
    assert launch("--ctx-size 1024 --kv-offload", found).core == ("--temp", "0.1", "--ctx-size", "1024", "--kv-offload")
    assert launch("-c 1 -c 2", found).core == ("--temp", "0.1", "--no-kv-offload", "-c", "2")


def test_some_options_add_up() -> None:
    found = manifest(arguments=("-l", "1+1"))
    assert launch("-l 2-1 --lora a --lora b", found).core == ("-l", "1+1", "-l", "2-1", "--lora", "a", "--lora", "b")


@pytest.mark.parametrize(
    "spelling",
    [
        "--host 0.0.0.0",
        "--api-key k",
        "--server",
        "-p x",
        "--path /",
        "--kernel x64",
        "--require-signature K",
        "--no-auth",
        "--access-log x",
        "--otlp-endpoint http://127.0.0.1",
    ],
)
def test_the_manifest_cannot_decide_what_only_the_user_may(spelling: str) -> None:
    with pytest.raises(RefusedOption, match="which only the user can give: rebuild the bundle without it"):
        launch("", manifest(arguments=tuple(spelling.split())))


def test_the_manifest_may_name_a_port_which_then_is_no_demand() -> None:
    found = launch("", manifest(arguments=("--port", "9000")))
    assert (found.port, found.port_given) == (9000, False)
    found = launch("--port 9001", manifest(arguments=("--port", "9000")))
    assert (found.port, found.port_given) == (9001, True)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_impossible_port(port: str) -> None:
    with pytest.raises(InputError, match=f"There is no port {port}"):
        launch(f"--port {port}")


def test_server_defaults_are_loopback_and_no_key() -> None:
    assert server("--server") == ServerSettings()
    assert server("") == ServerSettings(drain_seconds=0.0)
    assert launch("--chat").server is None
    assert launch("-p x").server is None


def test_server_options_are_ours_and_not_the_cores(tmp_path: Path) -> None:
    words = (
        "--server --host 0.0.0.0,::1 --port 1 --api-key a,b --api-key c --api-prefix /x --timeout 5 --threads-http 7 "
        f"--reuse-port --path {tmp_path} --cors-origins https://a.example --allow-origin https://b.example "
        "--cors-credentials --no-webui --cors-methods GET --cors-headers X --ssl-key-file k --ssl-cert-file c"
    )
    assert launch(words).core == ()
    assert server(words) == ServerSettings(
        hosts=("0.0.0.0", "::1"),
        api_keys=("a", "b", "c"),
        allow_origins=("https://a.example", "https://b.example"),
        cors_methods="GET",
        cors_headers="X",
        cors_credentials=True,
        api_prefix="/x",
        timeout=5,
        threads=7,
        reuse_port=True,
        ssl_cert_file=Path("c"),
        ssl_key_file=Path("k"),
        page=False,
        static_folder=tmp_path,
    )


def test_key_of_the_environment_counts_unless_the_command_line_names_one() -> None:
    assert server("", SOLOFILE_API_KEY="e").api_keys == ("e",)
    assert server("--api-key f", SOLOFILE_API_KEY="e").api_keys == ("f",)
    found = launch("--api-key-file keys", environ={"SOLOFILE_API_KEY": "e"})
    assert found.server is not None
    assert (found.server.api_keys, found.api_key_files) == ((), ("keys",))


def test_keys_that_the_launcher_hid_come_from_the_environment() -> None:
    hidden = {"SOLOFILE_GIVEN_KEYS": "a,b\x1fc"}
    assert server("--server --api-key * --api-key=*", **hidden).api_keys == ("a", "b", "c")
    assert server("--server --api-key *").api_keys == ("*",)


def test_bounds_of_a_server() -> None:
    words = "--server --queue 3 --max-tokens 50 --max-seconds 1.5 --drain-seconds 0 --max-body-mb 2 --access-log a.log "
    words += "--access-log-mb 5 --otlp-endpoint http://127.0.0.1:4318 --no-auth"
    assert server(words) == ServerSettings(
        queue=3, max_tokens=50, max_seconds=1.5, drain_seconds=0.0, max_body=2 << 20, access_log=Path("a.log"),
        access_log_bytes=5 << 20, otlp_endpoint="http://127.0.0.1:4318", open_to_all=True,
    )  # fmt: skip
    for words in ("--queue -1", "--max-seconds -1", "--max-tokens -1", "--drain-seconds -2", "--access-log-mb 0"):
        with pytest.raises(InputError, match=words.split()[0]):
            server(f"--server {words}")


def test_llama_cpps_environment_does_not_count() -> None:
    environ = {"LLAMA_API_KEY": "k", "LLAMA_ARG_CTX_SIZE": "1", "LLAMA_ARG_HOST": "0.0.0.0", "LLAMA_ARG_PORT": "1"}
    assert launch("", environ=environ) == launch("")


def test_keys_with_commas_stand_in_quotes() -> None:
    assert resolve(["--server", "--api-key", '"a,b",c'], manifest(), {}).server == ServerSettings(api_keys=("a,b", "c"))


def test_log_level() -> None:
    assert launch("-p x").log_level == 0
    assert launch("-p x --verbose").log_level == 5
    assert launch("-p x -lv 2").log_level == 2
    assert launch("-p x -v").core == ("-v",)


def test_system_prompt_of_the_manifest_unless_given() -> None:
    found = manifest(system_prompt="Be brief.")
    assert launch("--chat", found).system_prompt == "Be brief."
    assert resolve(["--chat", "-sys", "Be kind."], found, {}).system_prompt == "Be kind."


def test_model_of_the_bundle_by_name_or_path() -> None:
    found = manifest(model("small"), model("large"))
    assert launch("", found).model == "models/small.gguf"
    for name in ("large", "large.gguf", "models/large.gguf"):
        assert launch(f"-m {name}", found).model == "models/large.gguf"
    with pytest.raises(UnknownName, match="Unknown model larg in this bundle: did you mean large"):
        launch("-m larg", found)


@pytest.mark.parametrize("path", ["/tmp/x.gguf", "x.gguf", "./large"])
def test_model_outside_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(RefusedOption, match="A bundle runs the models inside it"):
        launch(f"-m {path}")


def test_json_goes_with_doctor() -> None:
    assert launch("--doctor --json").json
    with pytest.raises(InputError, match="The option --json goes with --doctor"):
        launch("--json")


def test_modes_that_need_no_manifest_resolve_without_one() -> None:
    found = resolve(["--doctor", "--kernel", "x64"], None, {})
    assert found == Launch("doctor", kernel="x64")


def test_core_arguments_name_the_model_unless_given() -> None:
    found = manifest(model("small"), model("large"))
    assert core_arguments(launch("--chat"), manifest(), PATH, None) == ("--alias", "tiny")
    assert core_arguments(launch("--chat", found), found, PATH, None) == ("--alias", "small")
    assert core_arguments(launch("--chat -m large", found), found, PATH, None) == ("--alias", "large")
    assert core_arguments(launch("--chat -t 1 -a me", found), found, PATH, None) == ()
    shorter = PATH._replace(context=4096)
    assert core_arguments(launch("--chat", found), found, shorter, None)[:2] == ("-c", "4096")


def test_what_surely_fits_is_not_measured_first() -> None:
    found = manifest()  # 135,000 weights, 8192 tokens: 4096 bytes and at most 264 bytes a token
    need = 2 * (4096 + 8192 * 135_000 // 512)
    assert core_arguments(launch("--chat", found), found, PATH, need + 2)[-2:] == ("--fit", "off")
    assert core_arguments(launch("--chat", found), found, PATH._replace(gpu_layers="auto"), need + 2) == (
        "--alias",
        "tiny",
    )
    for words, memory in (("", need), ("", None), ("-c 9000", need + 2), ("-fit on", need * 9)):
        assert "off" not in core_arguments(launch(f"--chat {words}", found), found, PATH, memory)


def test_a_model_of_unknown_context_is_measured() -> None:
    unknown = dataclasses.replace(model("x"), context_length=None)
    assert not fits_easily(unknown, 0, 1 << 40)
    assert fits_easily(unknown, 100, 1 << 40)


def test_one_answer_is_not_warmed_up_for() -> None:
    found = manifest()
    assert "--no-warmup" in core_arguments(launch("-p x", found), found, PATH, None)
    assert "--no-warmup" not in core_arguments(launch("-p x --warmup", found), found, PATH, None)
    assert "--no-warmup" not in core_arguments(launch("--server", found), found, PATH, None)


def test_template_of_the_model_or_of_the_user() -> None:
    base = manifest(model("base", chat_template=False))
    assert not has_template(launch("--chat", base), base)
    assert has_template(launch("--chat --chat-template chatml", base), base)
    assert has_template(launch("--chat"), manifest())


def test_serving_modes_are_the_ones_with_a_server() -> None:
    found = settings.SERVING
    assert found == {"page", "server"}
