"""The bridge, through the engine: answers, errors, cancelling."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solofile.builder.inputs import LLAMA_CPP_COMMIT
from solofile.runtime.engine import LlamaEngine, Member
from solofile.runtime.engine_api import Request, Upload
from solofile.runtime.engine_call import CLIENT_CLOSED_REQUEST
from solofile.runtime.errors import EngineError, InputError


def post(engine: LlamaEngine, path: str, body: object, query: str = "") -> tuple[int, Any]:
    response = engine.call(Request("POST", path, query, {}, json.dumps(body).encode())).run()
    return response.status, json.loads(b"".join(response) or b"null")


def get(engine: LlamaEngine, path: str, query: str = "") -> tuple[int, Any]:
    response = engine.call(Request("GET", path, query)).run()
    return response.status, json.loads(b"".join(response) or b"null")


def completion(engine: LlamaEngine, **options: object) -> dict[str, Any]:
    status, answer = post(engine, "/completion", {"prompt": "the", "n_predict": 12, "temperature": 0, **options})
    assert status == 200
    assert isinstance(answer, dict)
    return answer


def streamed(engine: LlamaEngine, **options: object) -> list[dict[str, Any]]:
    body = {"prompt": "the", "n_predict": 12, "temperature": 0, "stream": True, **options}
    response = engine.call(Request("POST", "/completion", body=json.dumps(body).encode())).run()
    assert ("Content-Type", "text/event-stream") in response.headers
    events = b"".join(response).decode().split("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]


def test_a_stream_gives_the_text_of_the_whole_answer(engine: LlamaEngine) -> None:
    whole = completion(engine)
    pieces = streamed(engine)
    assert len(pieces) > 5
    assert "".join(piece["content"] for piece in pieces) == whole["content"]
    assert whole["tokens_predicted"] == 12


def test_tokens_make_the_round_trip(engine: LlamaEngine) -> None:
    _, tokens = post(engine, "/tokenize", {"content": "the thing"})
    status, text = post(engine, "/detokenize", tokens)
    assert (status, text) == (200, {"content": "the thing"})


def test_path_and_query_parameters_reach_the_handler(engine: LlamaEngine) -> None:
    completion(engine, id_slot=1)
    status, answer = post(engine, "/slots/1", {}, query="action=erase")
    assert (status, answer["id_slot"]) == (200, 1)
    assert post(engine, "/slots/seven", {}, query="action=erase")[0] == 400
    status, answer = post(engine, "/slots/0", {}, query="action=dance%20now")
    assert status == 400
    assert "action" in answer["error"]["message"].lower()


def test_a_path_that_does_not_exist_is_404_in_the_core_s_json(engine: LlamaEngine) -> None:
    assert get(engine, "/nothing") == (
        404,
        {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
    )


def test_an_error_of_a_handler_keeps_its_status_and_json(engine: LlamaEngine) -> None:
    status, answer = post(engine, "/v1/chat/completions", {"messages": "none"})
    assert status == answer["error"]["code"]
    assert status in (400, 500)
    assert "messages" in answer["error"]["message"]


def test_an_upload_reaches_the_handler(engine: LlamaEngine) -> None:
    request = Request(
        "POST", "/v1/audio/transcriptions", files={"file": Upload("a.wav", "audio/wav", b"RIFF")}, body=b"{}"
    )
    response = engine.call(request).run()
    answer = json.loads(b"".join(response))
    assert response.status >= 400  # the tiny model hears nothing, which the core notices only with the file in hand
    assert "audio" in answer["error"]["message"]


def idle(engine: LlamaEngine) -> bool:
    return not any(slot["is_processing"] for slot in get(engine, "/slots")[1])


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_is_cancelled_from_another_thread(engine: LlamaEngine, stream: bool) -> None:
    body = {"prompt": "the", "n_predict": 1900, "ignore_eos": True, "stream": stream}
    call = engine.call(Request("POST", "/completion", body=json.dumps(body).encode()))
    ended = threading.Event()

    def read() -> None:
        for _ in call.run():
            pass
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert wait_for(lambda: not idle(engine), 5)
    call.cancel()
    assert ended.wait(2)
    thread.join()
    assert wait_for(lambda: idle(engine), 2)


def test_a_call_that_was_cancelled_first_computes_nothing(engine: LlamaEngine) -> None:
    call = engine.call(Request("POST", "/completion", body=b'{"prompt": "the", "n_predict": 500}'))
    call.cancel()
    started = time.monotonic()
    response = call.run()
    assert response.status == CLIENT_CLOSED_REQUEST
    assert time.monotonic() - started < 2
    assert wait_for(lambda: idle(engine), 2)


def test_a_closed_answer_frees_its_slot(engine: LlamaEngine) -> None:
    body = {"prompt": "the", "n_predict": 1900, "ignore_eos": True, "stream": True}
    response = engine.call(Request("POST", "/completion", body=json.dumps(body).encode())).run()
    next(iter(response))
    response.close()
    response.close()
    assert list(response) == []
    assert wait_for(lambda: idle(engine), 2)


def test_a_closed_answer_frees_its_slot_whoever_knows_its_call(engine: LlamaEngine) -> None:
    body = {"prompt": "the", "n_predict": 1900, "ignore_eos": True, "stream": True}
    call = engine.call(Request("POST", "/completion", body=json.dumps(body).encode()))
    response = call.run()
    next(iter(response))
    response.close()
    assert wait_for(lambda: idle(engine), 0.5)
    call.cancel()


def test_many_calls_at_once(engine: LlamaEngine) -> None:
    expected = completion(engine)["content"]
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(completion(engine)["content"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-such-option"], "--no-such-option"),
        (["-c", "many"], "-c"),
        (["-c"], "-c"),
        (["--chat-template", "{{ broken"], "template"),
        ([], "no model is named"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(
    native_dir: Path, backend: Path, options: list[str], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        LlamaEngine.start(native_dir, [backend], options, [])
    assert said in str(caught.value)


@pytest.mark.parametrize("option", ["--version", "--help", "--cache-list", "--completion-bash", "--list-devices"])
def test_an_option_that_would_exit_does_not(native_dir: Path, backend: Path, option: str) -> None:
    with pytest.raises(InputError):
        LlamaEngine.start(native_dir, [backend], [option], [])


def test_a_library_that_is_not_there_is_named(tmp_path: Path, backend: Path) -> None:
    with pytest.raises(EngineError, match="libggml-base"):
        LlamaEngine.start(tmp_path, [backend], [], [])


def test_a_backend_that_is_no_library_is_named(native_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "libggml-cpu-none.so").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="libggml-cpu-none"):
        LlamaEngine.start(native_dir, [tmp_path / "libggml-cpu-none.so"], [], [])


def test_a_member_that_cannot_be_read_is_named(native_dir: Path, backend: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"gone\.gguf"):
        LlamaEngine.start(native_dir, [backend], [], [Member("gone.gguf", tmp_path / "gone", 0, 1)])


def test_the_routes_are_those_of_server_cpp(engine: LlamaEngine, llama_cpp_source: Path) -> None:
    text = (llama_cpp_source / "tools/server/server.cpp").read_text()
    found = re.findall(r"^ {4}ctx_http\.(get|post|del) *\(\"([^\"]+)\"", text, re.MULTILINE)
    methods = {"get": "GET", "post": "POST", "del": "DELETE"}
    assert len(found) > 35
    assert engine.routes == [(methods[method], path) for method, path in found]
    assert LLAMA_CPP_COMMIT[:7] in get(engine, "/props")[1]["build_info"]
