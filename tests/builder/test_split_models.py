"""Split models: found, checked, joined into one file that has the same tensors and the same bytes every time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from solofile.builder import splits
from solofile.builder.cli import main
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import check_model
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import Fetched, PathSource, SplitSource, UrlSource, fetch
from solofile.runtime.container import Bundle

RANDOM = np.random.default_rng(5)
TENSORS = {
    "token_embd.weight": (RANDOM.integers(0, 255, (20, 34), dtype=np.uint8), gguf.GGMLQuantizationType.Q8_0),
    "blk.0.attn_q.weight": (RANDOM.random((5, 7), dtype=np.float32), None),
    "blk.0.attn_k.weight": (RANDOM.random((3, 32), dtype=np.float32).astype(np.float16), None),
    "output_norm.weight": (RANDOM.random(33, dtype=np.float32), None),
}


def write_parts(
    folder: Path, names: list[list[str]], *, alignment: int = 64, architecture: str = "llama", whole: bool = False
) -> list[Path]:
    """A model in parts, as llama-gguf-split writes them: the metadata in the first, ``split.*`` in each."""
    paths = []
    total = sum(map(len, names))
    for number, wanted in enumerate(names):
        path = folder / f"big-{number + 1:05}-of-{len(names):05}.gguf"
        writer = gguf.GGUFWriter(str(path), architecture)
        if number == 0:
            writer.add_custom_alignment(alignment)
            writer.add_name("Big")
            writer.add_context_length(512)
            writer.add_chat_template("{{ messages }}")
            writer.add_float32("llama.rope.freq_base", 10000.1)
            writer.add_tokenizer_model("gpt2")
            writer.add_token_list([b"\xff\xfe", b"two"])
            writer.add_token_scores([0.1, 0.2])
        if not whole:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", len(names))
            writer.add_int32("split.tensors.count", total)
        for name in wanted:
            data, kind = TENSORS[name]
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def join(path: Path) -> Fetched:
    return splits.joined(fetch(PathSource(path)), lambda *_: SilentProgress())


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    names = list(TENSORS)
    return write_parts(tmp_path, [[], names[:1], names[1:]])


@pytest.mark.parametrize("named", [0, 1, 2])
def test_tensors_are_the_same(parts: list[Path], named: int) -> None:
    found = join(parts[named])
    assert found.name == "big.gguf"
    facts = check_model(found.path)
    assert (facts.name, facts.tensors, facts.chat_template) == ("Big", 4, True)
    reader = gguf.GGUFReader(found.path)
    assert [tensor.name for tensor in reader.tensors] == list(TENSORS)
    for tensor in reader.tensors:
        data, kind = TENSORS[tensor.name]
        assert tensor.data.tobytes() == data.tobytes()
        assert kind in (None, tensor.tensor_type)
        assert tensor.data_offset % 64 == 0
    assert not [name for name in reader.fields if name.startswith("split.")]
    assert reader.fields["tokenizer.ggml.tokens"].parts[-3].tobytes() == b"\xff\xfe"


def test_it_is_the_file_that_a_writer_makes_of_all(parts: list[Path], tmp_path: Path) -> None:
    (whole,) = write_parts(tmp_path, [list(TENSORS)], whole=True)
    assert join(parts[0]).path.read_bytes() == whole.read_bytes()


def test_the_same_bytes_every_time(parts: list[Path], tmp_path: Path) -> None:
    first = join(parts[0]).path
    data = first.read_bytes()
    first.unlink()
    assert join(parts[1]).path.read_bytes() == data
    other = tmp_path / "other"
    other.mkdir()
    for part in parts:
        (other / part.name).write_bytes(part.read_bytes())
    assert join(other / parts[0].name).path.read_bytes() == data


def test_joined_once(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = join(parts[0])
    monkeypatch.setattr(splits, "_join", lambda *_: pytest.fail("joined again"))
    assert join(parts[2]).path == first.path


def test_parts_that_are_missing(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(BadModel, match=r"part 3 of 3 of a split model, of which big-00002-of-00003\.gguf"):
        join(parts[2])


def test_many_missing_parts_are_said_shortly(tmp_path: Path) -> None:
    (tmp_path / "big-00001-of-60000.gguf").touch()
    with pytest.raises(BadModel, match="and 59994 more cannot be found"):
        join(tmp_path / "big-00001-of-60000.gguf")


def test_parts_under_each_others_names(parts: list[Path]) -> None:
    parts[1].rename(parts[1].with_suffix(".x"))
    parts[2].rename(parts[1])
    parts[1].with_suffix(".x").rename(parts[2])
    with pytest.raises(BadModel, match="says that it is part 2 of 3, counted from 0, and is called part 1"):
        join(parts[0])


def test_part_that_is_cut_short(parts: list[Path]) -> None:
    parts[2].write_bytes(parts[2].read_bytes()[:-300])
    with pytest.raises(BadModel, match=r"big-00003.* is cut short"):
        join(parts[0])
    parts[2].write_bytes(b"GGUF")
    with pytest.raises(BadModel, match=r"big-00003.* is cut short"):
        join(parts[0])
    parts[2].write_bytes(b"no such thing" * 9)
    with pytest.raises(BadModel, match=r"big-00003.* cannot be used: it does not begin with GGUF"):
        join(parts[0])


def test_parts_of_two_models(parts: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    names = list(TENSORS)
    write_parts(other, [[], names[:1], names[1:]], architecture="qwen3")[1].replace(parts[1])
    with pytest.raises(BadModel, match="are not of one model"):
        join(parts[0])
    write_parts(other, [[], [], names[1:]])[1].replace(parts[1])
    with pytest.raises(BadModel, match="hold 3 tensors in place of 4"):
        join(parts[0])


def test_tensor_that_two_parts_have(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, [["output_norm.weight"], ["output_norm.weight"]])
    with pytest.raises(BadModel, match="hold the same tensor"):
        join(parts[0])


def test_whole_models_are_left_alone(gguf_path: Path, tmp_path: Path) -> None:
    fetched = fetch(PathSource(gguf_path))
    assert splits.joined(fetched) is fetched
    alone = tmp_path / "m-00001-of-00001.gguf"
    alone.write_bytes(gguf_path.read_bytes())
    assert join(alone).path == alone


def test_fetched_parts_are_joined_by_their_sums(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tuple(UrlSource(part.as_uri(), hashlib.sha256(part.read_bytes()).hexdigest()) for part in parts)
    fetched = fetch(SplitSource(sources), lambda *_: SilentProgress())
    found = splits.joined(fetched, lambda *_: SilentProgress())
    assert found.path.read_bytes() == join(parts[0]).path.read_bytes()
    monkeypatch.setattr(splits, "_join", lambda *_: pytest.fail("joined again"))
    assert splits.joined(fetched).path == found.path


def test_build_of_a_split_model(
    parts: list[Path], pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(parts[1]), "--pack", str(pack_path)]) == 0
    with Bundle.open(tmp_path / "big.exe") as bundle:
        assert bundle.manifest.default_model == "models/big.gguf"
        assert b"".join(bundle.open_part("models/big.gguf")) == join(parts[0]).path.read_bytes()
