"""llama-cpp-python's low-level bindings work on our library: it exports the public C API of the same llama.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import ctypes, json, sys, types
package = types.ModuleType("llama_cpp")
package.__path__ = [sys.argv[1]]
sys.modules["llama_cpp"] = package  # the package's own __init__ pulls in numpy, jinja2 and diskcache
import llama_cpp.llama_cpp as api
base = sys.argv[2]
ggml = ctypes.CDLL(base + "/libggml.so")
ggml.ggml_backend_load.restype = ctypes.c_void_p
assert ggml.ggml_backend_load((base + "/libggml-cpu-x64.so").encode())
api.llama_backend_init()
params = api.llama_model_default_params()
model = api.llama_model_load_from_file(sys.argv[3].encode(), params)
vocab = api.llama_model_get_vocab(model)
tokens = (api.llama_token * 16)()
count = api.llama_tokenize(vocab, b"the", 3, tokens, 16, False, False)
print(json.dumps({"layers": api.llama_model_n_layer(model), "tokens": tokens[:count], "numpy": "numpy" in sys.modules}))
"""


def test_the_bindings_load_a_model_and_tokenize(native_dir: Path, llama_cpp_source: Path, tmp_path: Path) -> None:
    from tiny_model import write_tiny_model

    model = write_tiny_model(tmp_path / "tiny.gguf", layers=2)
    package = llama_cpp_source.parent.parent / "llama_cpp"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package), str(native_dir), str(model)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LLAMA_CPP_LIB_PATH": str(native_dir)},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["layers"] == 2
    assert len(answer["tokens"]) == 2  # "th" is one token of the vocabulary, "e" the other
