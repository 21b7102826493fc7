"""Tiny packs and bundles for tests, and the means to damage them on purpose."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.output import replacing
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle
from solofile.runtime.archive import End, Member, directory_entry, end_records, local_header, parse_directory, parse_end
from solofile.runtime.container import TAIL_SIZE, comment_of
from solofile.runtime.manifest import Gpu, LlamaCpp, Manifest, Model

TARGET = "linux-x86_64"
LAUNCHER = b"\x7fELF launcher " * 41
FACTS = PackFacts(
    target=TARGET,
    requires="glibc 2.17",
    python="3.11.7",
    llama_cpp=LlamaCpp("0.5.0", "0c1e570", "llama-cpp-python==0.3.36"),
    kernels=("haswell", "x64"),
)


def pack_files() -> list[PackSource]:
    """The files of a tiny pack, in no order."""
    runtime = f"runtime/{TARGET}"
    return [
        PackSource(f"native/{TARGET}/libggml-cpu-x64.so", b"x64 kernels" * 300, 0o755),
        PackSource(f"native/{TARGET}/libggml-cpu-haswell.so", b"haswell kernels" * 300, 0o755),
        PackSource(f"{runtime}/solofile-runtime", b"runtime" * 999, 0o755),
        PackSource(f"{runtime}/_internal/base_library.zip", bytes(range(256)) * 40, 0o644),
        PackSource(f"{runtime}/_internal/empty.py", b"", 0o644),
        PackSource(f"{runtime}/native/libllama.so", b"llama" * 4000, 0o755),
        PackSource("LICENSES/llama.cpp.txt", b"MIT License\n" * 20, 0o644),
    ]


def make_pack(path: Path, files: Sequence[PackSource] | None = None, facts: PackFacts = FACTS) -> Pack:
    """Write a tiny pack and open it."""
    write_pack(path, facts=facts, launcher=LAUNCHER, files=pack_files() if files is None else files)
    return Pack.open(path)


def make_gpu_pack(path: Path) -> Pack:
    """Write a tiny pack with two GPU backends and open it."""
    gpus = {
        "cuda": Gpu("glibc 2.34", ("libcuda.so.1", "libcudart.so.12"), ()),
        "vulkan": Gpu("glibc 2.17", ("libvulkan.so.1",), ("bfloat16", "float e2m1")),
    }
    backends = [PackSource(f"native/{TARGET}/libggml-{name}.so", name.encode() * 2000, 0o755) for name in gpus]
    return make_pack(path, [*pack_files(), *backends], dataclasses.replace(FACTS, gpus=gpus))


def model_facts(name: str, size: int) -> Model:
    """What a manifest says of a model that is not looked at."""
    return Model(f"models/{name}.gguf", name, "llama", 1000, "F32", 2048, True, "apache-2.0", size)


def make_bundle(path: Path, pack_path: Path, models: Sequence[Path], **changes: object) -> Manifest:
    """Write a bundle with the given files as its models, whatever they hold."""
    files = [ModelFile(model_facts(model.stem, model.stat().st_size), model) for model in models]
    with Pack.open(pack_path) as pack, replacing(path, mode=0o755) as output:
        plan = BundlePlan("tiny", "Tiny", [pack], files, files[0].model.path)
        plan = dataclasses.replace(plan, **changes)  # type: ignore[arg-type]
        return write_bundle(plan, output, lambda _: None)


@dataclass
class Dissected:
    """A bundle taken apart, to be put together again with something wrong and every digest right."""

    launcher: bytes
    members: list[Member]
    data: list[bytes]

    @classmethod
    def of(cls, path: Path) -> Dissected:
        raw = path.read_bytes()
        end = parse_end(raw[-TAIL_SIZE:], len(raw))
        directory = raw[end.directory_offset : end.directory_offset + end.directory_size]
        members = list(parse_directory(directory, end))
        data = [raw[member.data_offset : member.end] for member in members]
        return cls(raw[: members[0].header_offset], members, data)

    def index(self, path: str) -> int:
        return next(index for index, member in enumerate(self.members) if member.path == path)

    def change_manifest(self, change: Callable[[dict[str, object]], object]) -> None:
        """Let ``change`` edit the manifest's JSON; sizes and CRC of its member follow."""
        document = json.loads(self.data[-1])
        change(document)
        data = json.dumps(document).encode()
        self.data[-1] = data
        self.members[-1] = self.members[-1]._replace(crc=zlib.crc32(data), stored=len(data), size=len(data))

    def write(
        self,
        path: Path,
        *,
        directory: bytes | None = None,
        comment: bytes | None = None,
        local: Callable[[Member], bytes] = local_header,
        end: Callable[[End], End] = lambda end: end,
    ) -> Path:
        """Write it at the offsets that the members name, with a digest that is right unless ``comment`` is given."""
        entries = directory if directory is not None else b"".join(map(directory_entry, self.members))
        size = max(member.end for member in self.members)
        body = bytearray(size)
        body[: len(self.launcher)] = self.launcher
        for member, data in zip(self.members, self.data, strict=True):
            body[member.header_offset : member.data_offset] = local(member)
            body[member.data_offset : member.data_offset + len(data)] = data
        last = comment_of(self.data[-1], entries) if comment is None else comment
        records = end_records(end(End(len(self.members), size, len(entries), last)))
        path.write_bytes(bytes(body) + entries + records)
        return path

    def place(self) -> None:
        """Put every member right behind the one before."""
        position = len(self.launcher)
        for index, member in enumerate(self.members):
            self.members[index] = member._replace(header_offset=position)
            position = self.members[index].end
