"""What a build says of a model file, and what it refuses."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from pathlib import Path

import gguf
import pytest
from ggufs import ARCHITECTURE, NO_WORDS, entry, raw_gguf, tensor, text, write_gguf
from solofile.builder import gguf_architectures
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import FILE_TYPES, check_model
from solofile.builder.gguf_header import TENSOR_TYPES, read_header
from solofile.builder.gguf_memory import Memory, context_of
from solofile.builder.inspect import memory_text

WORDS = entry("tokenizer.ggml.model", 8, text("gpt2"))


def words(count: int) -> bytes:
    body = b"".join(text(f"w{number}") for number in range(count))
    return entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, count) + body)


def numbers(name: str, layout: str, values: list[float]) -> bytes:
    body = struct.pack(f"<IQ{len(values)}{layout}", {"f": 6, "i": 5}[layout], len(values), *values)
    return entry(f"tokenizer.ggml.{name}", 9, body)


def number(name: str, value: int) -> bytes:
    return entry(f"tokenizer.ggml.{name}", 4, struct.pack("<I", value))


def refuse(path: Path, says: str) -> str:
    with pytest.raises(BadModel, match=says) as caught:
        check_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert caught.value.exit_code == 2
    assert message.endswith(".")
    return message


def test_facts(gguf_path: Path) -> None:
    facts = check_model(gguf_path)
    assert (facts.architecture, facts.name, facts.parameters) == ("llama", "Tiny Model", 96 + 640)
    assert (facts.quantization, facts.context_length, facts.license) == ("Q8_0", 2048, "mit")
    assert facts.chat_template
    assert facts.tensors == 2
    assert facts.size == gguf_path.stat().st_size
    assert 96 * 4 + 640 // 32 * 34 <= facts.data_size <= facts.size


def test_facts_that_the_file_does_not_say(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", name=None, file_type=None, context=None, template=None, license_id=None)
    facts = check_model(path)
    assert (facts.name, facts.context_length, facts.license) == (None, None, None)
    assert not facts.chat_template
    assert facts.quantization == "Q8_0"  # most weights are


def test_header_agrees_with_the_gguf_package(gguf_path: Path) -> None:
    reader = gguf.GGUFReader(gguf_path)
    with gguf_path.open("rb", buffering=0) as file:
        header = read_header(file)
    assert header.data_offset == reader.data_offset
    assert header.tensors == len(reader.tensors)
    assert header.end == max(one.data_offset + one.n_bytes for one in reader.tensors)
    assert sum(header.weights.values()) == sum(int(one.n_elements) for one in reader.tensors)


def test_tensor_types_agree_with_the_gguf_package() -> None:
    for kind, (block, size) in gguf.GGML_QUANT_SIZES.items():
        assert TENSOR_TYPES[int(kind)] == (kind.name, block, size)


def test_file_types_agree_with_the_gguf_package() -> None:
    for kind in gguf.LlamaFileType:
        if kind != gguf.LlamaFileType.GUESSED:
            assert FILE_TYPES[int(kind)] == kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")


def test_no_tensor_is_read(tmp_path: Path) -> None:
    """A sparse file of 20 GB is judged at once."""
    shape = (1 << 20, 5000)
    path = tmp_path / "large.gguf"
    path.write_bytes(raw_gguf([ARCHITECTURE, NO_WORDS], [tensor("a", shape, 0, 0)]))
    with path.open("r+b") as file:
        file.truncate((1 << 22) * 5000 + 4096)
    start = time.monotonic()
    assert check_model(path).parameters == (1 << 20) * 5000
    assert time.monotonic() - start < 1


def test_many_tokens_are_passed_over_quickly(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tokens=100_000)
    start = time.monotonic()
    check_model(path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"", "is empty"),
        (bytes(1000), "nothing but zeros"),
        (struct.pack("<Q", 60) + b'{"__metadata__":{"format":"pt"}}', "safetensors"),
        (b"PK\3\4" + bytes(100), "zip archive"),
        (b"\x80\2}q\0", "pickle"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"\n <!DOCTYPE html><html><body>404", "HTML page"),
        (b"<HTML>", "HTML page"),
        (b"fmgg" + bytes(100), "format before GGUF"),
        (b"\x7fELF" + bytes(100), "solofile extract"),
        (b"MZ" + bytes(100), "executable"),
        (b'{"error": "not found"}', "JSON"),
        (b"Once upon a time", "is no GGUF file"),
        (b"GG", "is no GGUF file"),
    ],
)
def test_something_else(tmp_path: Path, contents: bytes, says: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(contents)
    refuse(path, says)


def test_truncated_data(gguf_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with gguf_path.open("rb", buffering=0) as file:
        end = read_header(file).end
    path.write_bytes(gguf_path.read_bytes()[: end - 123])
    refuse(path, f"cut short: 123 of {end} bytes are missing")
    path.write_bytes(gguf_path.read_bytes()[:end])
    check_model(path)


def test_truncated_anywhere_in_the_header(gguf_path: Path, tmp_path: Path) -> None:
    data = gguf_path.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in (4, 7, 8, 20, 24, 30, 100, 500, 1500, 2500):
        path.write_bytes(data[:length])
        refuse(path, "is cut short: at least \\d+ bytes are missing")


@pytest.mark.parametrize(
    ("version", "says"),
    [(1, "version 1, which llama.cpp no longer reads"), (4, "version 4, which this"), (3 << 24, "big-endian")],
)
def test_versions(tmp_path: Path, version: int, says: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([ARCHITECTURE], [tensor("a", (32,), 0, 0)], version=version))
    refuse(path, says)


def test_version_2_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([ARCHITECTURE, NO_WORDS], [tensor("a", (32,), 0, 0)], version=2))
    assert check_model(path).parameters == 32


def test_big_endian_file_of_the_gguf_package(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refuse(tmp_path / "m.gguf", "big-endian")


def test_vocabulary_only(tmp_path: Path) -> None:
    refuse(write_gguf(tmp_path / "vocab.gguf", tensors=False), "vocabulary only")


def test_other_kinds(tmp_path: Path) -> None:
    refuse(write_gguf(tmp_path / "mmproj.gguf", architecture="clip"), "projector")
    refuse(write_gguf(tmp_path / "lora.gguf", kind="adapter"), "of the kind “adapter”")
    path = tmp_path / "none.gguf"
    path.write_bytes(raw_gguf([], [tensor("a", (32,), 0, 0)]))
    refuse(path, "does not say its architecture")


def test_part_of_a_split_model_under_another_name(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "big.gguf", split=(1, 3))
    refuse(path, "part 2 of 3 of a split model and is not called NAME-00002-of-00003.gguf")


def test_split_of_one_is_whole(tmp_path: Path) -> None:
    assert check_model(write_gguf(tmp_path / "m-00001-of-00001.gguf", split=(0, 1))).tensors == 2


def test_not_a_file(tmp_path: Path, gguf_path: Path) -> None:
    refuse(tmp_path, "is a folder")
    refuse(gguf_path.parent, "such as Tiny Model.Q8.gguf")
    refuse(tmp_path / "none.gguf", "does not exist")
    refuse(gguf_path / "x", "Not a directory")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        refuse(tmp_path / "fifo", "not a regular file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    path.chmod(0)
    refuse(path, "may not be read")


def test_no_permission_as_the_system_says_it(gguf_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("solofile.builder.gguf_check.open_raw", denied)
    refuse(gguf_path, "may not be read by this user")


def test_weights_that_cannot_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    pad = entry("general.x", 8, text("x" * 3))
    path.write_bytes(
        raw_gguf([ARCHITECTURE, entry("general.alignment", 4, struct.pack("<I", 1)), pad], [tensor("a", (32,), 0, 0)])
    )
    refuse(path, "cannot be mapped")


HUGE = (1 << 63) - 1


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (raw_gguf([], [], counts=(1, HUGE)), "metadata entries"),
        (raw_gguf([], [], counts=(HUGE, 1)), "tensors"),
        (raw_gguf([text("k" * 5000)], []), "length of a key"),
        (raw_gguf([struct.pack("<Q", HUGE)], []), "length of a key"),
        (raw_gguf([entry("a", 8, struct.pack("<Q", HUGE))], []), "impossible"),
        (raw_gguf([entry("a", 8, struct.pack("<Q", 1 << 20))], []), "cut short"),
        (raw_gguf([entry("a", 99, b"")], []), "unknown type 99"),
        (raw_gguf([entry("a", 9, struct.pack("<IQ", 8, HUGE))], []), "claims"),
        (raw_gguf([entry("a", 9, struct.pack("<IQ", 4, HUGE))], []), "claims"),
        (raw_gguf([entry("a", 9, struct.pack("<IQ", 4, 1 << 20))], []), "cut short"),
        (raw_gguf([entry("a", 9, struct.pack("<IQ", 8, 2) + struct.pack("<Q", HUGE))], []), "impossible"),
        (raw_gguf([entry("a", 9, struct.pack("<IQ", 9, 1))], []), "list of the unknown type 9"),
        (raw_gguf([ARCHITECTURE, ARCHITECTURE], []), "twice"),
        (raw_gguf([entry("general.alignment", 4, struct.pack("<I", 0))], []), "alignment 0"),
        (raw_gguf([entry("general.alignment", 4, struct.pack("<I", 48))], []), "alignment 48"),
        (raw_gguf([entry("general.alignment", 8, text("x"))], []), "alignment x"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (2,) * 5, 0, 0)]), "5 dimensions"),
        (raw_gguf([ARCHITECTURE], [text("a") + struct.pack("<I", 1 << 31)]), "dimensions"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (1 << 32, 1 << 32), 0, 0)]), "impossible shape"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (33,), 8, 0)]), "impossible shape"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (32,), 77, 0)]), "type 77"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (32,), 0, 64)]), "does not lie behind"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (32,), 0, 0), tensor("b", (32,), 0, 0)]), "does not lie behind"),
        (raw_gguf([ARCHITECTURE], [tensor("a", (32,), 0, 0), tensor("a", (32,), 0, 128)]), "two tensors"),
        (raw_gguf([ARCHITECTURE], [tensor("n" * 64, (32,), 0, 0)]), "length of a tensor's name"),
    ],
)
def test_hostile_headers(tmp_path: Path, contents: bytes, says: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(contents)
    tracemalloc.start()
    start = time.monotonic()
    try:
        refuse(path, says)
        assert time.monotonic() - start < 2
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([], "has no tokenizer"),
        ([entry("tokenizer.ggml.model", 4, struct.pack("<I", 1))], "tokenizer.ggml.model that is no text"),
        ([entry("tokenizer.chat_template", 4, struct.pack("<I", 1)), NO_WORDS], "chat_template that is no text"),
        ([WORDS], "has a tokenizer and no tokens"),
        ([WORDS, words(0)], "has a tokenizer and no tokens"),
        ([WORDS, words(3), numbers("scores", "f", [0.5] * 2)], "3 tokens and 2 values of tokenizer.ggml.scores"),
        ([WORDS, words(3), numbers("token_type", "f", [1] * 3)], "token_type of another type than llama.cpp reads"),
        ([WORDS, words(3), numbers("merges", "i", [1])], "merges that are no list of texts"),
        ([WORDS, words(3), number("bos_token_id", 3)], "has the tokenizer.ggml.bos_token_id 3 and 3 tokens"),
        ([WORDS, words(3), entry("tokenizer.ggml.eos_token_id", 8, text("</s>"))], "eos_token_id that is no whole"),
        ([WORDS, words(3), number("add_bos_token", 1)], "add_bos_token that is neither true nor false"),
    ],
)
def test_vocabularies_that_are_none(tmp_path: Path, entries: list[bytes], says: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([ARCHITECTURE, *entries], [tensor("a", (32,), 0, 0)]))
    refuse(path, says)


def test_sound_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    entries = [
        *(WORDS, words(3), numbers("scores", "f", [0.5] * 4), number("bos_token_id", 2)),
        number("eos_token_id", 0xFFFF_FFFF),
    ]
    path.write_bytes(raw_gguf([ARCHITECTURE, *entries], [tensor("a", (32,), 0, 0)]))
    assert check_model(path).parameters == 32


def test_chat_template_without_end(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    template = entry("tokenizer.chat_template", 8, text("x" * ((1 << 20) + 1)))
    path.write_bytes(raw_gguf([ARCHITECTURE, NO_WORDS, template], [tensor("a", (32,), 0, 0)]))
    refuse(path, "length of the chat template is 1048577 bytes")


def test_unknown_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_architectures, "known_architectures", lambda: frozenset({"llama", "qwen3"}))
    path = write_gguf(tmp_path / "m.gguf", architecture="lama")
    refuse(path, "architecture “lama”, which this llama.cpp does not know .the nearest that it knows is llama.")
    assert check_model(write_gguf(tmp_path / "m.gguf")).architecture == "llama"


def test_memory_that_it_needs(tmp_path: Path) -> None:
    """By hand: 2 layers with 2 and 4 heads, keys and values of 16 numbers in 2 bytes each."""
    shape = {"block_count": 2, "embedding_length": 64, "attention.head_count": 4, "context_length": 100}
    entries = [entry(f"llama.{key}", 4, struct.pack("<I", value)) for key, value in shape.items()]
    entries.append(entry("llama.attention.head_count_kv", 9, struct.pack("<IQ2I", 4, 2, 2, 4)))
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([ARCHITECTURE, NO_WORDS, *entries], [tensor("a", (32,), 0, 0)]))
    memory = check_model(path).memory
    assert memory == Memory(weights=128, token=(2 + 4) * (16 + 16) * 2, context=100)
    assert memory is not None and (memory.cache(), memory.cache(10)) == (38_400, 3_840)
    assert memory_text(memory, 10).startswith("4.0 KB and what computing takes")
    assert context_of(["-c", "4096", "--ctx-size", "8192"]) == 8192
    assert context_of(["-c", "0"]) is None


def test_memory_that_nobody_knows(gguf_path: Path) -> None:
    assert check_model(gguf_path).memory is None


def test_large_texts_are_not_kept(tmp_path: Path) -> None:
    """A hundred texts of a megabyte cost no hundred megabytes."""
    long = text("x" * (1 << 20))
    path = tmp_path / "m.gguf"
    entries = [ARCHITECTURE, NO_WORDS, *(entry(f"k{n}", 8, long) for n in range(100))]
    path.write_bytes(raw_gguf(entries, [tensor("a", (32,), 0, 0)]))
    tracemalloc.start()
    try:
        assert check_model(path).parameters == 32
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
