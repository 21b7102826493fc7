"""The first step of every pack: which modules the runtime imports, as PyInstaller's analysis finds them.

The analysis runs on this machine, with this Python's standard library, and its answer is for every target: modules that
are imported on other systems only are in it too, those written in Python with their files, the others as missing ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import freezing, inputs
from solofile.builder.libpython import base_python
from solofile.builder.tools import ProgressMaker, run_logged

SPEC = Path(__file__).parent / "freeze" / "analysis.spec"

_PURE = ("SourceModule", "Package", "NamespacePackage")
_COMPILED = ("Extension", "ExtensionPackage", "BuiltinModule", "MissingModule")


@dataclass(frozen=True)
class Used:
    """What the runtime imports: ``pure`` has each module's file, None for a package without one, and ``packages`` says
    which are packages; ``compiled`` are names of extension modules, of this system and of others."""

    pure: dict[str, Path | None]
    packages: frozenset[str]
    compiled: frozenset[str]
    page: tuple[tuple[str, Path], ...]
    """The page's files, with their paths in the bundle's ``lib``."""


def analyse(work: Path, progress: ProgressMaker) -> Used:
    """Analyse the runtime in ``work``, an empty folder that has to stay while the answer is used. Raises ToolError."""
    freezing.check_tools()
    freezer, site = inputs.site("freeze"), inputs.site("runtime")
    app, found = work / "app", work / "found.json"
    freezing.stage(app)
    facts = {
        "app": str(app),
        "site": str(site),
        "entry": str(app / f"{freezing.NAME}.py"),
        "modules": freezing.staged_modules(app),
        "excludes": freezing.EXCLUDES,
        "found": str(found),
    }
    command: list[str | Path] = [base_python(), "-S", "-m", "PyInstaller", "--noconfirm", "--log-level=INFO"]
    command += [f"--distpath={work / 'dist'}", f"--workpath={work / 'build'}", SPEC]
    environment = freezing.tool_environment(work, freezer) | freezing.python_library(freezer)
    environment["SOLOFILE_FREEZE"] = json.dumps(facts)
    log = work / "analysis.log"
    run_logged(command, label="analysing the runtime", log=log, progress=progress, environment=environment)
    page = tuple((name, Path(path)) for name, path in freezing.page_files(app))
    return used(json.loads(found.read_text("utf-8")), freezer, page)


def used(found: dict[str, tuple[str, str | None]], freezer: Path, page: tuple[tuple[str, Path], ...] = ()) -> Used:
    """What was found, by name the kind of module and its file. ``freezer`` holds PyInstaller's own modules."""
    pure: dict[str, Path | None] = {}
    packages, compiled = set(), set()
    for name, (kind, file) in found.items():
        path = Path(file) if file and file != "-" else None
        if kind in _COMPILED and not name.startswith("'"):
            compiled.add(name)
        elif kind in _PURE and not (path and freezer in path.parents):
            pure[name] = path
            if kind != "SourceModule":
                packages.add(name)
    return Used(pure, frozenset(packages), frozenset(compiled), page)
