"""``solofile build --quantize``: what llama.cpp's own quantizer makes, refused where it would be for nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest
from solofile.builder import quantizing
from solofile.builder.cli import main
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import check_model
from solofile.builder.hashing import file_sha256
from solofile.builder.progress import SilentProgress
from solofile.builder.quantize_names import ALIASES, NUMBERS, find_quantization
from solofile.builder.quantizing import Quantization, quantized
from solofile.runtime.container import Bundle
from solofile.runtime.errors import UnknownName


def make(model: Path, name: str, **wish: object) -> Path:
    facts = check_model(model)
    wished = Quantization(name, **wish)  # type: ignore[arg-type]
    path, _ = quantized(model, file_sha256(model), facts, wished, lambda *_: SilentProgress())
    return path


def by_llama_quantize(native_libraries: Path, model: Path, output: Path, name: str) -> bytes:
    """What the unchanged llama-quantize makes of it."""
    program = native_libraries / "reference" / "llama-quantize"
    subprocess.run([program, model, output, name], check=True, capture_output=True, timeout=120)
    return output.read_bytes()


def write_imatrix(path: Path, model: Path) -> Path:
    """An importance matrix of a model, as llama-imatrix writes them: here a column is as important as its number."""
    writer = gguf.GGUFWriter(str(path), "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["none"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for tensor in gguf.GGUFReader(model).tensors:
        if len(tensor.shape) == 2:
            sums = np.arange(1, tensor.shape[0] + 1, dtype=np.float32).reshape(1, -1)
            writer.add_tensor(f"{tensor.name}.in_sum2", sums)
            writer.add_tensor(f"{tensor.name}.counts", np.full((1, 1), 7, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("name", ["Q4_K_M", "Q8_0", "F16"])
def test_same_bytes_as_llama_quantize(
    cache: Path, native_libraries: Path, tiny: Path, tmp_path: Path, name: str
) -> None:
    path = make(tiny, name)
    assert path.name == f"tiny-{name}.gguf"
    assert path.read_bytes() == by_llama_quantize(native_libraries, tiny, tmp_path / "reference.gguf", name)
    assert check_model(path).quantization == name
    assert cache in path.parents


@pytest.mark.usefixtures("cache")
def test_same_bytes_with_any_number_of_threads(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for threads in (1, 2, 3):
        monkeypatch.setattr(quantizing, "machine_jobs", lambda threads=threads: threads)
        path = make(tiny, "Q4_K_M")
        digests.add(file_sha256(path))
        path.unlink()
    assert len(digests) == 1


@pytest.mark.usefixtures("cache")
def test_a_second_time_it_is_there(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tiny, "Q8_0")

    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("it was made again")

    monkeypatch.setattr(quantizing, "run_child", no_child)
    assert make(tiny, "q8_0") == first


def test_names() -> None:
    assert find_quantization(" q4_k ") == "Q4_K_M"
    with pytest.raises(UnknownName, match="Unknown quantization Q4KM: did you mean Q4_K_M"):
        find_quantization("Q4KM")


@pytest.mark.usefixtures("native_libraries")
def test_names_are_those_of_llama_quantize(cache: Path) -> None:
    source = cache / "sources"
    (file,) = source.glob("*/vendor/llama.cpp/tools/quantize/quantize.cpp")
    table = file.read_text("utf-8").partition("QUANT_OPTIONS = {")[2].partition("};")[0]
    names = {line.split('"')[1] for line in table.splitlines() if line.strip().startswith("{")}
    assert names - {"COPY"} == {*NUMBERS, *ALIASES}


def test_what_would_be_for_nothing(cache: Path, tiny: Path) -> None:
    with pytest.raises(BadModel, match=r"is F32 already: leave --quantize out\."):
        make(tiny, "F32")
    small = make(tiny, "Q8_0")
    with pytest.raises(BadModel, match=r"quantized already \(Q8_0\).* or give --allow-requantize\."):
        make(small, "Q4_K_M")
    assert check_model(make(small, "Q4_K_M", requantize=True)).quantization == "Q4_K_M"
    assert {path.name for path in (cache / "quantized").iterdir() if path.is_dir()} == {
        path.parent.name for path in (cache / "quantized").glob("*/*.gguf")
    }, "what failed left something behind"


@pytest.mark.usefixtures("cache")
def test_importance_matrix(native_libraries: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="IQ2_XXS needs an importance matrix"):
        make(tiny, "IQ2_XXS")
    matrix = write_imatrix(tmp_path / "imatrix.gguf", tiny)
    path = make(tiny, "IQ2_XXS", imatrix=matrix)
    assert check_model(path).quantization == "IQ2_XXS"
    program, reference = native_libraries / "reference" / "llama-quantize", tmp_path / "reference.gguf"
    command = [program, "--imatrix", matrix, tiny, reference, "IQ2_XXS"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    wanted = {one.name: one.data.tobytes() for one in gguf.GGUFReader(reference).tensors}
    assert {one.name: one.data.tobytes() for one in gguf.GGUFReader(path).tensors} == wanted


@pytest.mark.usefixtures("cache")
def test_what_is_no_importance_matrix(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="cannot be read: No such file"):
        make(tiny, "Q4_K_M", imatrix=tmp_path / "none")
    (tmp_path / "text").write_bytes(b"not one")
    with pytest.raises(BadModel, match="is no importance matrix in a GGUF"):
        make(tiny, "Q4_K_M", imatrix=tmp_path / "text")
    with pytest.raises(BadModel, match="is no importance matrix: make one"):
        make(tiny, "Q4_K_M", imatrix=tiny)


@pytest.mark.usefixtures("cache")
def test_built_from_a_recipe(tiny: Path, pack_path: Path, folder: Path) -> None:
    Path("r.toml").write_text(f'name = "small"\nquantize = "q4_k"\n[model]\npath = "{tiny}"\n')
    assert main(["build", "r.toml", "--pack", str(pack_path)]) == 0
    with Bundle.open(folder / "small.exe") as bundle:
        (model,) = bundle.manifest.models
    assert (model.name, model.quantization) == ("tiny-Q4_K_M", "Q4_K_M")
    origin = model.origin
    assert origin is not None
    assert (origin.name, origin.sha256, origin.quantized) == ("tiny-F32.gguf", file_sha256(tiny), "Q4_K_M")
    assert not origin.converted and origin.imatrix is None and origin.edited == ()


@pytest.mark.usefixtures("folder")
def test_built_from_the_command_line(
    cache: Path, tiny: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of a bundle, in which the model lies deep inside; what it was made from is shown, and stays known."""
    assert main(["build", str(tiny), "-o", "large.exe", "--pack", str(pack_path)]) == 0
    assert main(["build", "large.exe", "-o", "small.exe", "--quantize", "Q4_K_M", "--pack", str(pack_path)]) == 0
    assert main(["build", "small.exe", "-o", "again.exe", "--pack", str(pack_path)]) == 0
    assert not list((cache / "taken").iterdir())
    capsys.readouterr()
    assert main(["inspect", "again.exe"]) == 0
    shown = capsys.readouterr().out
    assert f"made from      tiny-F32.gguf, SHA-256 {file_sha256(tiny)}" in shown
    assert "quantized to Q4_K_M, with llama.cpp" in shown
    assert "memory " in shown
    assert main(["inspect", "again.exe", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["manifest"]["models"][0]["origin"]["quantized"] == "Q4_K_M"
    assert facts["memory"]["models/tiny-Q4_K_M.gguf"]["token"] == 2 * 4 * (64 + 64) * 2
    assert main(["inspect", "again.exe", "--sbom"]) == 0
    (component,) = (
        one for one in json.loads(capsys.readouterr().out)["components"] if one["type"] == "machine-learning-model"
    )
    assert component["pedigree"]["ancestors"][0]["hashes"][0]["content"] == file_sha256(tiny)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--quantize", "Q4_X"], "Unknown quantization Q4_X: did you mean"),
        (["--imatrix", "x"], "--imatrix goes with --quantize"),
        (["--allow-requantize"], "--allow-requantize goes with --quantize"),
        (["--quantize", "F32"], "is F32 already"),
        (["--quantize", "Q4_0", "--sha256", "0" * 64], "is not the file that is meant: its SHA-256 is"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_mistakes(
    tiny: Path,
    pack_path: Path,
    folder: Path,
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["build", str(tiny), "-o", "x.exe", "--pack", str(pack_path), *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("solofile: ") and says in error
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("folder")
def test_not_from_a_bundle_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--from", "old.exe", "--quantize", "Q4_0"]) == 2
    assert "--quantize does not go with --from" in capsys.readouterr().err
