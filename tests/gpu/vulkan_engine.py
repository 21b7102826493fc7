"""Run as a program: loads the CPU's kernels and the Vulkan backend, and prints JSON lines of what came of it.

Arguments: the folder of the native libraries, then ``devices``, or a model and options of llama-server, which answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from solofile.runtime import bridge
from solofile.runtime.engine import LlamaEngine, Member, prepare
from solofile.runtime.engine_api import Request
from solofile.runtime.errors import SolofileError


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def answer(native_dir: Path, backends: list[Path], model: Path, options: list[str]) -> None:
    """Say each piece of the answer as it comes."""
    member = Member("model.gguf", model, 0, model.stat().st_size)
    engine = LlamaEngine.start(native_dir, backends, ["-m", member.name, *options], [member], 4)
    state = engine.wait(120)
    say(phase=state.phase, message=state.message)
    body = {"prompt": "the the", "n_predict": 24, "temperature": 0, "stream": True, "ignore_eos": True}
    for chunk in engine.call(Request("POST", "/completion", body=json.dumps(body).encode())).run():
        for line in chunk.decode().splitlines():
            if line.startswith("data: {"):
                say(text=json.loads(line[6:])["content"])
    engine.stop(10)
    say(stopped=True)


def main() -> None:
    native_dir, what, *options = sys.argv[1:]
    backends = [Path(native_dir, "libggml-cpu-x64.so"), Path(native_dir, "libggml-vulkan.so")]
    try:
        if what == "devices":
            library = prepare(Path(native_dir), backends, [])
            say(devices=json.loads(bridge.whole_text(library.sf_devices)))
        else:
            answer(Path(native_dir), backends, Path(what), options)
    except SolofileError as error:
        say(error=str(error))


if __name__ == "__main__":
    main()
