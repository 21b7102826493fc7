"""What a zipapp holds in place of a frozen runtime: the runtime's modules with the packages that they use, for every
Python, and of each target's pack the native libraries.

None of it is compiled for one Python: llama.cpp is reached by ctypes, and MarkupSafe, the one package of the lock that
has a compiled module, does without it. Both are kept as packs, so that a build copies them as they lie:

    <build cache>/derived/<key>/pack.zip
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from solofile.builder import freezing, inputs
from solofile.builder.components import MEMBER, Component, components_text
from solofile.builder.packfile import LAUNCHER_NAME, Pack, PackFacts, PackSource, write_pack
from solofile.builder.paths import cache_folder, keep_newest, locked, mark_used
from solofile.runtime.container import sums_path
from solofile.runtime.manifest import LlamaCpp
from solofile.runtime.manifest_behind import PYTHON

FORMAT = 1
REQUIRES = "Python 3.10"
START = "solofile_start.py"

_START = """\
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.solofile_start = [*sys.orig_argv[1 : sys.orig_argv.index(__file__)], __file__]

from solofile.runtime.__main__ import run

run()
"""
"""The script that the launcher starts, in a Python that looks nowhere else for modules (``-I -S``). It notes how it was
started, for own_program.py."""

_OF_PYTHON = frozenset({"cpython", "libffi", "openssl", "pyinstaller", "zlib"})

_UNUSED = ("cheroot.test", "cheroot.testing", "cheroot.ssl.pyopenssl", *freezing.EXCLUDES)


def python_pack() -> Pack:
    """The modules that are the same for all targets. Raises MissingTool where solofile is an executable itself."""
    inputs.python()
    sources = list(_modules())
    facts = PackFacts(PYTHON, REQUIRES, REQUIRES, LlamaCpp(**inputs.llama_cpp_facts()), ())
    key = _key([(one.path, hashlib.sha256(one.read()).hexdigest()) for one in sources], facts)
    return _kept(key, lambda path: write_pack(path, facts=facts, launcher=b"", files=sources))


def native_pack(pack: Pack) -> Pack:
    """``pack`` with the native libraries alone, without the frozen runtime and its launcher."""
    target = pack.facts.target
    skipped = {LAUNCHER_NAME, sums_path(target)}
    core = f"runtime/{target}/native/"
    left = _licenses_of_frozen(pack)
    kept = [
        member
        for path, member in pack.members.items()
        if path not in skipped | left and (not path.startswith("runtime/") or path.startswith(core))
    ]
    facts = replace(pack.facts, python=REQUIRES)

    def write(path: Path) -> None:
        sources = [PackSource(member.path, pack.read(member.path), member.mode) for member in kept]
        if MEMBER in left:
            sources.append(PackSource(MEMBER, components_text(one for one in _components(pack) if not _is_frozen(one))))
        write_pack(path, facts=facts, launcher=b"", files=sources)

    return _kept(_key([(member.path, member.sha256) for member in kept], facts), write)


def _licenses_of_frozen(pack: Pack) -> set[str]:
    """The license texts of what is left out with the frozen runtime, and the list that names it."""
    names = {"python" if one["name"] == "cpython" else one["name"] for one in _components(pack) if _is_frozen(one)}
    return ({f"LICENSES/{name}.txt" for name in names} | {MEMBER}) & set(pack.members)


def _components(pack: Pack) -> list[Component]:
    listed: list[Component] = json.loads(pack.read(MEMBER)) if MEMBER in pack.members else []
    return listed


def _is_frozen(component: Component) -> bool:
    """Is it a part of the frozen runtime: CPython, its libraries, or files that were taken for it from elsewhere?"""
    taken = any(one["name"] == "solofile:taken" for one in component.get("properties", ()))
    return taken or component["name"] in _OF_PYTHON or component.get("purl", "").startswith("pkg:deb/")


def _modules() -> Iterator[PackSource]:
    yield PackSource(f"runtime/{PYTHON}/{START}", _START.encode())
    yield PackSource(f"runtime/{PYTHON}/solofile/__init__.py", b"")
    for name, path in freezing.own_files().items():
        yield PackSource(f"runtime/{PYTHON}/{name}", path)
    yield PackSource(f"runtime/{PYTHON}/llama_cpp/__init__.py", b"")
    for name in freezing.BINDINGS:
        yield PackSource(f"runtime/{PYTHON}/llama_cpp/{name}", inputs.llama_source() / "llama_cpp" / name)
    site = inputs.site("runtime")
    for path in sorted(site.rglob("*.py")):
        name = path.relative_to(site).as_posix()
        if not is_left_out(name):
            yield PackSource(f"runtime/{PYTHON}/{name}", path)


def is_left_out(name: str) -> bool:
    """Is a file of a package, by its path, one that the runtime does not use?"""
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return module.startswith(("bin.", "__pycache__")) or any(
        module == one or module.startswith(f"{one}.") for one in _UNUSED
    )


def _key(members: Iterable[tuple[str, str]], facts: PackFacts) -> str:
    document = [FORMAT, list(members), asdict(facts)]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _kept(key: str, write: Callable[[Path], None]) -> Pack:
    folder = cache_folder("derived") / key
    path = folder / "pack.zip"
    if not path.is_file():
        with locked(folder.with_name(f"{key}.lock")):
            if not path.is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                write(path)
                keep_newest(folder.parent)
    mark_used(folder)
    return Pack.open(path)
