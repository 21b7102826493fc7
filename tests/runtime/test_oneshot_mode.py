"""-p: the answer and nothing else on standard output, without a port and without Flask."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script
from small_bundle import make_bundle, model
from solofile.runtime import boot, cli, conversation, oneshot
from solofile.runtime.conversation import Message, Piece, events, pieces
from solofile.runtime.errors import EngineError, InputError

CHAT = "/v1/chat/completions"
PROGRAM = [sys.executable, str(Path(__file__).with_name("fake_bundle.py"))]


def run(
    scene: str, *words: str, environ: dict[str, str], given: bytes = b"", bare: bool = False
) -> subprocess.CompletedProcess[bytes]:
    kept = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    world = {**kept, **environ} if bare else {**os.environ, **kept, **environ}
    return subprocess.run(
        [*PROGRAM, scene, *words], input=given, capture_output=True, env=world, timeout=60, check=False
    )


def asked(engine: FakeEngine) -> object:
    (request,) = engine.requests
    return json.loads(request.body)


def test_prints_the_answer_and_a_newline(engine: FakeEngine, start: boot.Starter, environ: dict[str, str]) -> None:
    out = io.StringIO()
    assert cli.main(["-p", "Where?"], environ, out, start) == 0
    assert out.getvalue() == "Paris.\n"
    assert asked(engine) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}],
        "stream": True,
    }


def test_system_prompt_can_be_replaced_or_left_out(
    engine: FakeEngine, start: boot.Starter, environ: dict[str, str]
) -> None:
    cli.main(["-p", "Where?", "-sys", ""], environ, io.StringIO(), start)
    assert asked(engine) == {"messages": [{"role": "user", "content": "Where?"}], "stream": True}


def test_model_without_a_template_goes_on_with_the_text(
    engine: FakeEngine, start: boot.Starter, environ: dict[str, str], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "base", models=(model("base", chat_template=False),), system_prompt="ignored")
    chunks = [b'data: {"content":" upon","stop":false}\n\n', b'data: {"content":" a time\\n","stop":true}\n\n']
    engine.on("POST", "/completion", Script(chunks))
    out = io.StringIO()
    assert cli.main(["-p", "Once"], {**environ, "SOLOFILE_BUNDLE": str(bundle)}, out, start) == 0
    assert out.getvalue() == " upon a time\n"
    assert asked(engine) == {"prompt": "Once", "stream": True}


def test_reasoning_is_not_the_answer(engine: FakeEngine, start: boot.Starter, environ: dict[str, str]) -> None:
    delta = b'data: {"choices":[{"delta":{"%s":"%s"}}]}\n\n'
    engine.on("POST", CHAT, Script([delta % (b"reasoning_content", b"hm"), delta % (b"content", b"Yes")]))
    out = io.StringIO()
    cli.main(["-p", "?"], environ, out, start)
    assert out.getvalue() == "Yes\n"


@pytest.mark.parametrize(
    ("given", "piped", "question"),
    [("Sum up:", "a\nb", "Sum up:\n\na\nb"), ("Hi", "", "Hi"), ("-", "all", "all"), ("Hi", " \n", "Hi")],
)
def test_question(given: str, piped: str, question: str) -> None:
    assert oneshot.prompt_text(given, piped) == question


@pytest.mark.parametrize(("given", "says"), [("-", "Standard input is empty"), ("  ", "The question is empty")])
def test_no_question(given: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        oneshot.prompt_text(given, "")


def test_reads_standard_input_as_utf8_in_any_locale(environ: dict[str, str]) -> None:
    done = run("plain", "-p", "Größe?", environ={**environ, "LC_ALL": "C"}, given="ä".encode(), bare=True)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "Grüße aus Paris 🗼\n", b"")


def test_opens_no_port_and_imports_no_flask(environ: dict[str, str]) -> None:
    done = run("modules", "-p", "x", environ=environ)
    loaded = set(done.stdout.decode().split())
    assert {"solofile.runtime.oneshot", "solofile.runtime.conversation"} <= loaded
    heavy = {"flask", "werkzeug", "cheroot", "socket", "ssl", "asyncio", "argparse", "http.client", "email", "logging",
             "urllib.request", "zipfile", "tempfile", "subprocess", "typing_extensions"}  # fmt: skip
    # json and dataclasses of the test's own fake stay out of it, so only what the bundle's modules bring counts.
    assert loaded & heavy == set()


def test_refused_request_is_one_sentence_and_bad_input(
    engine: FakeEngine, start: boot.Starter, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"error":{"code":400,"message":"the request exceeds the available context size","type":"x"}}'
    engine.on("POST", CHAT, Script([body], 400))
    assert cli.main(["-p", "long"], environ, io.StringIO(), start) == 2
    assert capsys.readouterr().err == "llama.cpp refuses this: the request exceeds the available context size.\n"


def test_error_in_the_stream(engine: FakeEngine, start: boot.Starter, environ: dict[str, str]) -> None:
    event = b'data: {"error":{"code":500,"message":"Compute error","type":"server_error"}}\n\n'
    engine.on("POST", CHAT, Script([event]))
    assert cli.main(["-p", "x"], environ, io.StringIO(), start) == 1


def test_engine_that_breaks(engine: FakeEngine, start: boot.Starter, environ: dict[str, str]) -> None:
    engine.on("POST", CHAT, Script(error=RuntimeError("boom")))
    assert cli.main(["-p", "x"], environ, io.StringIO(), start) == 1


def test_model_that_does_not_load(
    engine: FakeEngine, start: boot.Starter, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.become("failed", message="unknown architecture.")
    assert cli.main(["-p", "x"], environ, io.StringIO(), start) == 1
    said = capsys.readouterr().err
    assert said == "The model could not be loaded (unknown architecture): --verbose shows llama.cpp's log.\n"


class BrokenPipe(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


def test_broken_pipe_cancels_and_is_quiet(
    engine: FakeEngine, start: boot.Starter, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.on("POST", CHAT, Script.sse(["bla "], delay=0.01, repeat=True))
    assert cli.main(["-p", "x"], environ, BrokenPipe(), start) == 141
    assert len(engine.cancelled) == 1
    assert capsys.readouterr().err == ""


def test_reader_that_leaves_ends_the_process(environ: dict[str, str]) -> None:
    world = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
    with subprocess.Popen(
        [*PROGRAM, "endless", "-p", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=world,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(8)
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == b""


def test_pieces_come_as_they_are_made(engine: FakeEngine, start: boot.Starter, environ: dict[str, str]) -> None:
    engine.on("POST", CHAT, Script.sse(["a", "b"], delay=0.3))
    times: list[float] = []

    class Out(io.StringIO):
        def flush(self) -> None:
            times.append(time.monotonic())

    cli.main(["-p", "x"], environ, Out(), start)
    assert times[1] - times[0] > 0.2


def test_what_native_code_prints_goes_elsewhere(environ: dict[str, str]) -> None:
    program = (
        "import os, sys\nfrom solofile.runtime.console import claim_stdout\n"
        "out = claim_stdout()\nos.write(1, b'native')\nout.write('answer')\nout.flush()"
    )
    world = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=world, check=True)
    assert (done.stdout, done.stderr) == (b"answer", b"native")


def test_events_however_they_are_cut() -> None:
    raw = 'data: {"a":"ü"}\n\n: ping\n\nid: 1\r\ndata: [DONE]\r\n\r\nerror: {"code":1}\n\n'.encode()
    for size in (1, 2, 3, 7, len(raw)):
        chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
        assert list(events(chunks)) == ['{"a":"ü"}'.encode(), b"[DONE]", b'{"code":1}']


def test_pieces_of_events() -> None:
    assert list(pieces(b"[DONE]")) == []
    assert list(pieces(b'{"choices":[]}')) == []
    assert list(pieces(b'{"choices":[{"delta":{"role":"assistant","content":null}}]}')) == []
    assert list(pieces(b'{"choices":[{"delta":{"reasoning_content":"hm","content":"x"}}]}')) == [
        Piece("hm", True),
        Piece("x"),
    ]
    with pytest.raises(EngineError, match="out of memory"):
        list(pieces(b'{"error":{"code":500,"message":"out of memory"}}'))


def test_bytes_that_are_no_utf8_do_not_break_the_request() -> None:
    request = conversation.chat_request([Message("user", os.fsdecode(b"\xff")), Message("user", "\ud83d")])
    contents = [message["content"] for message in json.loads(request.body)["messages"]]
    assert [set(content) for content in contents] == [{"\ufffd"}, {"\ufffd"}]
