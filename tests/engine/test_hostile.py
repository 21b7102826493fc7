"""What llama.cpp's core would read behind our back, and must not; what must not end or hold up the process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from embedding import host_file
from solofile.runtime.engine import Member
from tiny_model import write_tiny_model, write_tiny_projector

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(native_dir: Path, member: Member) -> Run:
    """Runs a scenario in a process of its own, with the tiny model or another ``model``."""

    def run(
        scenario: str, *options: str, model: Member = member, cwd: Path | None = None, **environment: str
    ) -> dict[str, Any]:
        place = json.dumps({"file": str(model.file), "offset": model.offset, "size": model.size})
        command = [sys.executable, str(Path(__file__).with_name("scenario.py")), str(native_dir), place, scenario]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=cwd,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    return run


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def nobody_called(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return True
    return False


def test_the_environment_does_not_steer_the_core(run: Run, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    hostile = {
        "LLAMA_ARG_CTX_SIZE": "256",
        "LLAMA_ARG_RPC": f"127.0.0.1:{port}",
        "LLAMA_ARG_MODEL_URL": f"http://127.0.0.1:{port}/model.gguf",
        "LLAMA_ARG_ALIAS": "hostile",
        "LLAMA_API_KEY": "hostile",
        "LLAMA_MEDIA_MARKER": "hostile",
    }
    answer = run("props", "-c", "1024", **hostile)
    assert answer["phase"] == "ready"
    assert answer["props"]["default_generation_settings"]["n_ctx"] in (512, 1024)
    assert "hostile" not in json.dumps(answer)
    assert nobody_called(listener)


def test_config_files_do_not_steer_the_core(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    (folder / "config.ini").write_text("[*]\nalias = hostile\nctx-size = 256\n")
    answer = run("props", "-c", "1024", XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path))
    assert answer["props"]["default_generation_settings"]["n_ctx"] in (512, 1024)
    assert "hostile" not in json.dumps(answer)


@pytest.mark.skipif(os.geteuid() != 0 or Path("/etc/llama.cpp").exists(), reason="writes /etc/llama.cpp: root only")
def test_the_system_s_config_file_does_not_steer_the_core(run: Run) -> None:
    folder = Path("/etc/llama.cpp")
    folder.mkdir()
    try:
        (folder / "config.ini").write_text("[*]\nalias = hostile\n")
        assert "hostile" not in json.dumps(run("props"))
    finally:
        (folder / "config.ini").unlink()
        folder.rmdir()


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, zig_cc: Callable[..., None]) -> Path:
    """A folder of libraries that leave a mark when they are loaded."""
    folder = tmp_path_factory.mktemp("planted")
    source = folder / "planted.c"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void mark(void)"
        f' {{ fclose(fopen("{folder}/mark", "w")); }}\n'
    )
    for name in ("ggml-base", "ggml", "llama", "ggml-cpu-haswell", "ggml-cpu", "ggml-vulkan"):
        zig_cc("-shared", "-fPIC", str(source), "-o", str(folder / f"lib{name}.so"))
    return folder


def test_planted_libraries_are_not_loaded(run: Run, planted: Path) -> None:
    environment = {"GGML_BACKEND_PATH": str(planted / "libggml-cpu.so"), "LD_LIBRARY_PATH": str(planted)}
    answer = run("props", cwd=planted, **environment)
    assert answer["phase"] == "ready"
    assert not (planted / "mark").exists()


def test_the_planted_libraries_would_leave_a_mark(planted: Path) -> None:
    program = f"import ctypes; ctypes.CDLL({str(planted / 'libggml.so')!r})"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert (planted / "mark").exists()
    (planted / "mark").unlink()


@pytest.mark.parametrize("option", [["--rpc", "127.0.0.1:{port}"], ["-mu", "http://127.0.0.1:{port}/x.gguf"]])
def test_no_option_of_the_parser_connects(run: Run, listener: socket.socket, option: list[str]) -> None:
    port = listener.getsockname()[1]
    run("props", *[part.format(port=port) for part in option])
    assert nobody_called(listener)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_remote_media_is_not_fetched(run: Run, listener: socket.socket, tmp_path: Path, scheme: str) -> None:
    projector = write_tiny_projector(tmp_path / "mmproj.gguf")
    url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/x.png"
    answer = run("media", "--mmproj", str(projector), MEDIA_URL=url)
    assert answer["status"] == 400
    assert answer["body"]["error"]["message"] == (
        f"This program makes no outbound connection: {url} was not fetched; send the media itself as a data: URL."
    )
    assert nobody_called(listener)


def test_local_files_are_not_media(run: Run, tmp_path: Path) -> None:
    projector = write_tiny_projector(tmp_path / "mmproj.gguf")
    answer = run("media", "--mmproj", str(projector), MEDIA_URL="file:///etc/hostname")
    assert answer["status"] == 400
    assert "not allowed" in answer["body"]["error"]["message"]


def test_state_and_requests_while_loading(run: Run) -> None:
    answer = run("loading")
    assert answer["phase"] == "loading"
    assert answer["status"] == 503
    assert answer["body"] == {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    assert (answer["then"], answer["progress"]) == ("ready", 1.0)


def test_a_model_that_does_not_load_is_a_state_with_a_reason(run: Run, member: Member) -> None:
    # The process ends with an orderly stop of an engine whose model never loaded.
    answer = run("props", model=replace(member, offset=0))
    assert answer["phase"] == "failed"
    assert "magic" in answer["message"]
    assert answer["props"]["error"]["code"] == 500


def test_a_stop_in_the_middle_of_prompts_takes_less_than_two_seconds(run: Run, tmp_path: Path) -> None:
    # A wider model, so that the batch under way would take longer than the stop may.
    slow = host_file(tmp_path, write_tiny_model(tmp_path / "slow.gguf", layers=24, width=512, context=8192))
    answer = run("stop_in_prompt", "-c", "8192", "-t", "1", model=slow)
    assert answer["answered_before"] == 0
    assert answer["seconds"] < 2
    assert answer["alive"] == 0
    assert answer["rest"] == 0
    assert (answer["late"], answer["phase"]) == (503, "stopped")


def test_only_the_member_is_mapped(run: Run, member: Member) -> None:
    regions = run("mapped")["regions"]
    assert regions
    for region in regions:
        assert region["offset"] >= member.offset
        assert region["offset"] + region["size"] <= member.offset + member.size + 4096
        assert region["Anonymous"] == 0
    assert sum(region["Rss"] for region in regions) >= 0.9 * member.size
