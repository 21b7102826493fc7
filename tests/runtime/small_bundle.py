"""A real bundle around made-up parts, for what the launch CLI does with one: no native code in it runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from solofile.builder.output import replacing
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle
from solofile.runtime.hardware import target
from solofile.runtime.manifest import LlamaCpp, Manifest, Model

KERNELS = {"x64": b"plain kernels" * 500, "haswell": b"fast kernels" * 700}
LICENSE = b"MIT License\n\nCopyright of somebody\n"


def library(variant: str) -> str:
    """The file name of a variant."""
    return f"libggml-cpu-{variant}.so"


def model(name: str, *, chat_template: bool = True, size: int = 4096) -> Model:
    """What the manifest says of a model."""
    return Model(f"models/{name}.gguf", name, "llama", 135_000, "Q4_1", 8192, chat_template, "apache-2.0", size)


def make_bundle(
    folder: Path, *, models: tuple[Model, ...] = (model("tiny"),), variants: tuple[str, ...] = ("haswell", "x64"),
    **changes: object,
) -> Path:  # fmt: skip
    """Write a bundle below ``folder``; ``changes`` are those of the builder's plan."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [PackSource(f"native/{target()}/{library(name)}", KERNELS[name], 0o755) for name in variants]
    files += [
        PackSource(f"runtime/{target()}/solofile-runtime", b"runtime", 0o755),
        PackSource("LICENSES/llama.cpp.txt", LICENSE, 0o644),
    ]
    llama = LlamaCpp("0.5.0", "0c1e570", "llama-cpp-python==0.3.36")
    facts = PackFacts(target(), "glibc 2.17", "3.11.7", llama, variants)
    write_pack(folder / "pack.zip", facts=facts, launcher=b"launcher" * 99, files=files)
    sources = []
    for one in models:
        source = folder / f"{one.name}.gguf"
        source.write_bytes(one.name.encode().ljust(one.size, b"."))
        sources.append(ModelFile(one, source))
    path = folder / "tiny.exe"
    with Pack.open(folder / "pack.zip") as pack, replacing(path, mode=0o755) as output:
        plan = BundlePlan("tiny", "Tiny Model", [pack], sources, models[0].path)
        write_bundle(dataclasses.replace(plan, **changes), output, lambda _: None)  # type: ignore[arg-type]
    return path


def manifest(*models: Model, **changes: object) -> Manifest:
    """A manifest alone, for decisions that need no file."""
    found = models or (model("tiny"),)
    llama = LlamaCpp("0.5.0", "0c1e570", "llama-cpp-python==0.3.36")
    plain = Manifest(1, "0.1.0", llama, "tiny", "Tiny Model", {}, found, found[0].path, None, (), ())
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
