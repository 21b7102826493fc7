"""What ``solofile pack`` does: build, export, import, list, wheel."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from solofile.builder.errors import BadOutput
from solofile.builder.packfile import Pack
from solofile.builder.progress import byte_size
from solofile.builder.reporting import say


def build(arguments: argparse.Namespace) -> int:
    """``solofile pack build``."""
    with _pack(arguments) as pack:
        say(str(pack.path), pack.path)
    return 0


def export(arguments: argparse.Namespace) -> int:
    """``solofile pack export``: a copy of the pack, made first if need be."""
    from solofile.builder.output import replacing

    output: Path = arguments.output
    if output.exists() and not arguments.force:
        raise BadOutput(f"{output} exists: give --force to replace it, or another name.")
    with _pack(arguments) as pack, pack.path.open("rb") as file, replacing(output) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    print(f"{output}: {byte_size(output.stat().st_size)}")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """``solofile pack import``."""
    from solofile.builder.pack_store import import_pack

    print(import_pack(arguments.file, arguments.sha256).path)
    return 0


def list_(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """``solofile pack list``: each pack with what it holds."""
    from solofile.builder.pack_store import all_packs

    for kept in all_packs():
        with Pack.open(kept.path) as pack:
            facts, size = pack.facts, byte_size(kept.path.stat().st_size)
            holds = f"{len(facts.kernels)} kernels" + "".join(f", {gpu}" for gpu in facts.gpus)
            print(f"{facts.target}  {kept.origin}  {size}  {holds}, solofile {facts.solofile}, {facts.requires}")
            print(f"    {kept.path}")
    return 0


def wheel(arguments: argparse.Namespace) -> int:
    """``solofile pack wheel``."""
    from solofile.builder.pack_wheel import write_wheel

    with _pack(arguments) as pack:
        print(write_wheel(pack, arguments.output))
    return 0


def _pack(arguments: argparse.Namespace) -> Pack:
    from solofile.builder.pack import find_or_build

    return find_or_build(
        arguments.target,
        kernels=arguments.kernels or "all",
        gpus=arguments.gpu or "none",
        backends=arguments.backend,
        freezer=arguments.freezer,
        cpython=arguments.cpython,
    )
