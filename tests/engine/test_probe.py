"""What the native libraries say of the machine, and the measurement of a device with a model's weights."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from embedding import host_file
from solofile.builder.targets import find_target
from solofile.runtime import bridge, native_probe
from solofile.runtime.engine import Member
from solofile.runtime.hardware import detect
from solofile.runtime.kernels import VARIANTS, family, missing
from tiny_model import write_tiny_model

ABLE = [name for name in family(find_target().kernels) if not missing(name, detect().features)]
"""The best first."""

BOUND = 0.02
"""How far a product may be from double precision. The CPU rounds the inputs to 8 bits: 0.005 to 0.007 is seen."""

Measure = Callable[..., dict[str, Any]]

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="cpuid is of x86 CPUs")


@pytest.fixture
def measure(native_dir: Path, member: Member) -> Measure:
    """Measures a variant of the CPU's kernels, with the tiny model or another, in a process of its own."""

    def measure(variant: str = "x64", model: Member = member, **spec: object) -> dict[str, Any]:
        place = {"name": model.name, "file": str(model.file), "offset": model.offset, "size": model.size}
        wanted = {"member": model.name, "seconds": 0.1, **spec}
        backend = native_dir / f"libggml-cpu-{variant}.so"
        program = Path(__file__).with_name("measure.py")
        done = subprocess.run(
            [sys.executable, program, native_dir, backend, json.dumps(place), json.dumps(wanted)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    return measure


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """The demo's model inside another file."""
    return host_file(tmp_path_factory.mktemp("probe"), smollm2_gguf)


@pytest.fixture(scope="session")
def smollm2_q4_0(reference_server: Path, smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """The demo's model in a type that is stored in another layout for most CPUs."""
    folder = tmp_path_factory.mktemp("probe")
    command = [reference_server.with_name("llama-quantize"), "--allow-requantize", smollm2_gguf]
    subprocess.run([*command, folder / "q4_0.gguf", "Q4_0"], check=True, capture_output=True, timeout=300)
    return host_file(folder, folder / "q4_0.gguf")


@needs_x86
def test_cpuid_agrees_with_cpuinfo(native_dir: Path) -> None:
    said = json.loads(native_probe.cpu(bridge.load(native_dir)))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    _, ebx7, _, _ = said["leaves"].get("7.0", [0] * 4)
    _, _, ecx1, _ = said["leaves"]["1.0"]
    bits = {"sse4_2": ecx1 >> 20, "fma": ecx1 >> 12, "avx": ecx1 >> 28, "avx2": ebx7 >> 5, "avx512f": ebx7 >> 16}
    assert said["arch"] == "x86_64"
    assert {name for name, bit in bits.items() if bit & 1} == flags & bits.keys()
    assert bool(said["xcr0"] >> 2 & 1) == ("avx" in flags)
    vendor = b"".join(said["leaves"]["0.0"][i].to_bytes(4, "little") for i in (1, 3, 2)).decode()
    assert f"vendor_id\t: {vendor}" in lines


def test_devices_are_those_of_the_loaded_backends(native_dir: Path, backend: Path) -> None:
    program = (
        "import ctypes, json, sys; from pathlib import Path; from solofile.runtime import bridge, native_probe\n"
        "library = bridge.load(Path(sys.argv[1])); before = native_probe.devices(library)\n"
        "assert not library.sf_backend_load(sys.argv[2].encode(), ctypes.create_string_buffer(99), 99)\n"
        "print(json.dumps([before, native_probe.devices(library)]))"
    )
    done = subprocess.run([sys.executable, "-c", program, native_dir, backend], capture_output=True, timeout=60)
    before, after = json.loads(done.stdout)
    assert before == []
    [device] = after
    assert (device["name"], device["backend"], device["type"], device["id"]) == ("CPU", "CPU", "cpu", "")
    assert 0 < device["memory_free"] <= device["memory_total"]
    assert set(device) == {"name", "backend", "description", "type", "id", "memory_free", "memory_total"}


@pytest.mark.parametrize("repack", [True, False])
@pytest.mark.parametrize("variant", ABLE)
def test_each_variant_computes_right(variant: str, repack: bool, measure: Measure, smollm2_q4_0: Member) -> None:
    result = measure(variant, smollm2_q4_0, repack=repack)
    assert result["device"] == "CPU"
    assert 0 < result["error"] < BOUND
    assert 0 < result["bytes"] <= result["model_bytes"] < smollm2_q4_0.size
    assert result["model_bytes"] > 0.95 * smollm2_q4_0.size
    if not repack:
        assert result["repacked"] == 0
    elif platform.machine() == "x86_64":
        assert (result["repacked"] > 0.5 * result["model_bytes"]) == ("AVX2" in VARIANTS[variant])


@pytest.mark.parametrize("variant", sorted({ABLE[0], ABLE[-1]}))
def test_a_token_of_many_is_cheaper_than_one_alone(variant: str, measure: Measure, smollm2: Member) -> None:
    # On a machine that does other things meanwhile one measurement may be disturbed.
    results = [measure(variant, smollm2, attention=1)["seconds"] for _ in range(3)]
    assert min(result["64"] for result in results) / 64 < min(result["1"] for result in results)


def test_attention_is_measured_in_both_ways(measure: Measure, smollm2: Member) -> None:
    result = measure(ABLE[0], smollm2, attention=1)
    assert set(result["attention"]) == {"flash", "plain"}
    for seconds in result["attention"].values():
        assert 0 < seconds["1"] < seconds["64"]
    assert "attention" not in measure(ABLE[0], smollm2)


def test_a_measurement_ends_in_time(measure: Measure, smollm2: Member) -> None:
    measure(model=smollm2, seconds=0.01)
    started = time.monotonic()
    measure(model=smollm2, seconds=0.5, attention=1)
    assert time.monotonic() - started < 0.5 * 4 + 1.5  # the process itself, and a busy machine


def test_a_tiny_model_is_enough(measure: Measure) -> None:
    result = measure(tokens=[7, 1, 3], attention=1)
    assert set(result["seconds"]) == {"1", "3", "7"}
    assert result["bytes"] == result["model_bytes"]
    assert result["error"] < 1e-5  # its weights are F32


def write_weights(path: Path, tensors: dict[str, tuple[int, ...]], kind: str = "F32", **metadata: int) -> Path:
    """A GGUF of random weights; a shape has the outputs first, the inputs last."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in metadata.items():
        writer.add_uint32(f"llama.{key}", value)
    for name, shape in tensors.items():
        data = random.normal(0, 0.05, shape).astype(np.float32)
        wanted = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, data if kind == "F32" else gguf.quantize(data, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("variant", sorted({ABLE[0], ABLE[-1]}))
@pytest.mark.parametrize("kind", ["Q4_0", "F16"])
def test_of_experts_only_those_of_a_token_count(variant: str, kind: str, measure: Measure, tmp_path: Path) -> None:
    experts = {"blk.0.ffn_up_exps.weight": (8, 128, 64), "blk.0.ffn_down_exps.weight": (8, 64, 128)}
    model = write_weights(tmp_path / "experts.gguf", experts, kind, expert_used_count=2)
    result = measure(variant, host_file(tmp_path, model))
    row = {"Q4_0": 18 / 32, "F16": 2}[kind]
    assert result["model_bytes"] == 2 * 2 * 128 * 64 * row
    assert result["error"] < BOUND


def test_matrices_of_a_stack_all_count(measure: Measure, tmp_path: Path) -> None:
    model = write_weights(tmp_path / "stack.gguf", {"blk.0.attn_k_b.weight": (4, 32, 64)})
    result = measure(model=host_file(tmp_path, model))
    assert result["model_bytes"] == 4 * 32 * 64 * 4
    assert result["error"] < 1e-5


def test_any_names_will_do(measure: Measure, tmp_path: Path) -> None:
    tensors = {"encoder.first": (96, 64), "encoder.second": (100, 96), "encoder.first.bias": (96,)}
    model = write_weights(tmp_path / "names.gguf", tensors)
    result = measure(model=host_file(tmp_path, model), attention=1)
    assert result["model_bytes"] == (96 * 64 + 100 * 96) * 4
    assert result["attention"] == {"flash": {}, "plain": {}}


def test_the_output_counts_and_the_embedding_does_not(measure: Measure, tmp_path: Path) -> None:
    tied = write_weights(tmp_path / "tied.gguf", {"token_embd.weight": (320, 64), "blk.0.attn_q.weight": (64, 64)})
    own = {"token_embd.weight": (320, 64), "output.weight": (320, 64), "token_types.weight": (2, 64)}
    untied = write_weights(tmp_path / "untied.gguf", own)
    assert measure(model=host_file(tmp_path, tied))["model_bytes"] == (320 + 64) * 64 * 4
    assert measure(model=host_file(tmp_path, untied))["model_bytes"] == 320 * 64 * 4


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"device": "Vulkan0"}, "There is no device Vulkan0: the loaded backends have CPU."),
        ({"member": "other.gguf"}, "There is no model other.gguf"),
        ({"threads": 0}, "1 to 512 threads, not 0"),
        ({"threads": "many"}, "must be number"),
        ({"tokens": []}, "one to eight"),
        ({"tokens": [0]}, "1 to 4096 tokens at once, not 0"),
        ({"tokens": 64}, "must be array"),
        ({"seconds": 0}, "60 seconds"),
        ({"seconds": 1e9}, "60 seconds"),
    ],
)
def test_a_wrong_spec_is_a_sentence(spec: dict[str, object], said: str, measure: Measure) -> None:
    error = measure(**spec)["error"]
    assert said in error
    assert error.endswith(".")


def test_a_model_that_cannot_be_read_is_a_sentence(measure: Measure, member: Member, tmp_path: Path) -> None:
    cut = Member("cut.gguf", member.file, member.offset, member.size - 4096)
    assert "The model cut.gguf ends before the weights of" in measure(model=cut)["error"]
    nothing = Member("nothing.gguf", member.file, 0, member.size)
    assert "The header of the model nothing.gguf cannot be read" in measure(model=nothing)["error"]
    empty = write_weights(tmp_path / "empty.gguf", {"output_norm.weight": (64,)})
    assert "no weights" in measure(model=Member("empty", empty, 0, empty.stat().st_size))["error"]


def test_an_unknown_type_is_a_sentence(measure: Measure, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    name = b"blk.0.attn_q.weight"
    data = bytearray(model.read_bytes())
    at = data.index(name) + len(name) + 4 + 2 * 8  # the number of dimensions, two of them
    data[at : at + 4] = (1000).to_bytes(4, "little")
    model.write_bytes(data)
    error = measure(model=Member("tiny", model, 0, len(data)))["error"]
    assert "blk.0.attn_q.weight" in error and "1000" in error


def test_weights_that_are_no_numbers_are_a_sentence(measure: Measure, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    data = model.read_bytes()
    model.write_bytes(data[: len(data) // 2] + b"\xff" * (len(data) - len(data) // 2))
    assert "computes no numbers" in measure(model=Member("tiny", model, 0, len(data)))["error"]
