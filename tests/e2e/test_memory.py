"""The weights are mapped from the bundle, shared by copies of it, and only those that are used."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from running import Running, mapped_regions, serve

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's smaps")]


def placed(bundle: Path, name: str) -> tuple[int, int]:
    """Offset and size of a stored member's bytes."""
    with zipfile.ZipFile(bundle) as archive, bundle.open("rb") as file:
        info = archive.getinfo(name)
        assert info.compress_type == zipfile.ZIP_STORED
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
        name_length, extra_length = int.from_bytes(lengths[:2], "little"), int.from_bytes(lengths[2:], "little")
        return info.header_offset + 30 + name_length + extra_length, info.file_size


def model_name(bundle: Path) -> str:
    with zipfile.ZipFile(bundle) as archive:
        return next(name for name in archive.namelist() if name.endswith(".gguf"))


def anonymous_memory(pid: int) -> int:
    """Bytes of private memory that no file backs."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("smaps_rollup has no Anonymous line")


def test_the_weights_are_mapped_from_the_bundle(server: Running, smollm2_bundle: Path) -> None:
    offset, size = placed(smollm2_bundle, model_name(smollm2_bundle))
    assert offset % 65536 == 0
    server.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})
    regions = mapped_regions(server.model_pid(), smollm2_bundle)
    assert sum(region["Rss"] for region in regions) >= 0.95 * size
    assert sum(region["Anonymous"] for region in regions) == 0
    for region in regions:
        assert region["offset"] >= offset
        assert region["offset"] + region["size"] <= offset + size + mmap.PAGESIZE


def test_the_weights_are_not_copied(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    # Everything private counts (Python, KV cache, compute buffers); a second run without mapping, which must copy the
    # weights, tells how much of it the weights are.
    _, size = placed(smollm2_bundle, model_name(smollm2_bundle))
    private = {}
    for label, options in (("mapped", []), ("copied", ["--load-mode", "none"])):
        with serve([smollm2_bundle, "--server", "-c", "512", *options], environment) as running:
            running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})
            private[label] = anonymous_memory(running.model_pid())
    weights_in_private_memory = size - (private["copied"] - private["mapped"])
    assert weights_in_private_memory < 0.05 * size


def test_two_copies_share_the_pages(server: Running, smollm2_bundle: Path, environment: dict[str, str]) -> None:
    _, size = placed(smollm2_bundle, model_name(smollm2_bundle))
    with serve([smollm2_bundle, "--server"], environment) as second:
        for running in (server, second):
            running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 4})
        for running in (server, second):
            regions = mapped_regions(running.model_pid(), smollm2_bundle)
            # A bundle that was written just now is not on the disk yet, and its pages count as dirty.
            assert sum(region["Shared_Clean"] + region["Shared_Dirty"] for region in regions) >= 0.95 * size
            assert sum(region["Pss"] for region in regions) <= 0.6 * sum(region["Rss"] for region in regions)


def resident_pages(file: Path, offset: int, size: int) -> int:
    """How many pages of a part of a file lie in the page cache (mincore(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as stream:
        begin = offset // mmap.PAGESIZE * mmap.PAGESIZE
        length = offset + size - begin
        flags = (ctypes.c_ubyte * (-(-length // mmap.PAGESIZE)))()
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(
            None, ctypes.c_size_t(length), mmap.PROT_READ, mmap.MAP_SHARED, stream.fileno(), ctypes.c_long(begin)
        )
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(length), flags) == 0
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(length))
    return sum(flag & 1 for flag in flags)


def drop_from_page_cache(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def test_a_second_model_is_never_read(two_model_bundle: Path, environment: dict[str, str]) -> None:
    with zipfile.ZipFile(two_model_bundle) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
    places = {name: placed(two_model_bundle, name) for name in names}  # reads the file, so it comes first

    def answer(words: str, *options: str) -> None:
        command = [two_model_bundle, "-p", "What is the capital of France?", "-n", words, *options]
        subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    answer("1")  # fills the cache folder
    # Of two as large the first is taken; --use names any.
    for used, unused, options in ((names[0], names[1], ()), (names[1], names[0], ("--use", names[1]))):
        drop_from_page_cache(two_model_bundle)
        for place in places.values():
            assert resident_pages(two_model_bundle, *place) < 100, "the page cache could not be emptied"
        answer("20", *options)
        assert resident_pages(two_model_bundle, *places[used]) >= 0.95 * places[used][1] / mmap.PAGESIZE
        assert resident_pages(two_model_bundle, *places[unused]) == 0
