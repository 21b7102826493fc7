"""Freezes the runtime with PyInstaller: a folder with an executable, Python's shared library and the modules it needs.

PyInstaller, and every package that ends in the folder, come from the hashed locks (inputs.py); the runtime and the page
are copied to a staging folder first. Nothing of the environment in which the builder runs can get in: Python is started
without its site-packages.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.errors import ToolError
from solofile.builder.libpython import base_python, fetch_library, find_library
from solofile.builder.tools import ProgressMaker, run_logged

NAME = "solofile-runtime"
SPEC = Path(__file__).parent / "freeze" / "runtime.spec"

ENTRY = "from solofile.runtime.__main__ import run\n\nrun()\n"

BINDINGS = ("_ctypes_extensions.py", "_ggml.py", "llama_cpp.py")
"""llama-cpp-python's low-level bindings. Its own ``__init__`` needs numpy, jinja2 and diskcache, so ours is empty."""

EXCLUDES = (
    *("_distutils_hack", "distutils", "ensurepip", "idlelib", "lib2to3", "pip", "pkg_resources", "setuptools", "venv"),
    *("bdb", "cProfile", "doctest", "pdb", "profile", "pydoc", "pydoc_data", "test", "unittest"),
    # What runtime/slim.py puts stand-ins for:
    *("click", "flask.cli", "jaraco", "jinja2", "more_itertools"),
    *("werkzeug.debug", "werkzeug.serving", "werkzeug.test"),
    *("_bz2", "_lzma", "_uuid", "bz2", "lzma"),  # which shutil, zipfile and uuid do without
    *("curses", "dbm", "gguf", "multiprocessing", "numpy", "sqlite3", "tkinter", "turtle", "xmlrpc"),
    "readline",  # GNU Readline is under the GPL, version 3: it cannot be part of what we give away
    *("_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_multibytecodec"),
)
"""Modules that nothing in the runtime uses, but that something in the standard library or a package could import."""

TOOLS = ("objcopy", "objdump", "strip", "ldd")
"""The programs that PyInstaller runs, or will not begin without."""

LEFT_OUT = ("libreadline.so.8", "libtinfo.so.6", "libncursesw.so.6")


@dataclass(frozen=True)
class Program:
    """What is frozen: ``lock`` names the packages, ``stage`` lays our own files out in an empty folder, from where
    ``modules`` tells those that are taken for certain and ``datas`` the other files, by their place and their path."""

    label: str
    lock: str
    stage: Callable[[Path], None]
    modules: Callable[[Path], list[str]]
    datas: Callable[[Path], list[tuple[str, str]]]
    excludes: tuple[str, ...]


@dataclass(frozen=True)
class Frozen:
    """A frozen program: its folder, and the files of the system that PyInstaller took into it.

    ``terms`` are license texts of what else is in it, by component, and ``borrowed`` the wheels that files of it come
    from (see cpython.py).
    """

    folder: Path
    system_files: tuple[Path, ...] = ()
    terms: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    borrowed: tuple[Mapping[str, str], ...] = ()


def freeze(work: Path, progress: ProgressMaker, program: Program | None = None) -> Frozen:
    """Freeze a program, by default the runtime, into ``work``, an empty folder. Raises ToolError."""
    check_tools()
    program = program or RUNTIME
    freezer, site = inputs.site("freeze"), inputs.site(program.lock)
    app = work / "app"
    program.stage(app)
    collected = work / "collected.json"
    facts = {
        "name": NAME,
        "app": str(app),
        "site": str(site),
        "entry": str(app / f"{NAME}.py"),
        "modules": program.modules(app),
        "datas": program.datas(app),
        "excludes": program.excludes,
        "left_out": LEFT_OUT,
        "collected": str(collected),
    }
    command: list[str | Path] = [base_python(), "-S", "-m", "PyInstaller", "--noconfirm", "--log-level=INFO"]
    command += [f"--distpath={work / 'dist'}", f"--workpath={work / 'build'}", SPEC]
    environment = tool_environment(work, freezer) | python_library(freezer) | {"SOLOFILE_FREEZE": json.dumps(facts)}
    run_logged(command, label=program.label, log=work / "freeze.log", progress=progress, environment=environment)
    cache = inputs.tools_folder()
    system = [Path(path) for path in json.loads(collected.read_text())]
    return Frozen(work / "dist" / NAME, tuple(path for path in system if cache not in path.parents))


def stage(app: Path) -> None:
    """Copy into ``app`` what of our own, and of the bindings, becomes part of a frozen runtime."""
    for name in ("runtime", "webui"):
        copy_package(name, app)
    bindings = app / "llama_cpp"
    bindings.mkdir()
    (bindings / "__init__.py").touch()
    for name in BINDINGS:
        shutil.copyfile(inputs.llama_source() / "llama_cpp" / name, bindings / name)
    (app / f"{NAME}.py").write_text(ENTRY)


def own_files() -> dict[str, Path]:
    """Our own files that a frozen runtime is made of, by their path in the staging folder."""
    found: dict[str, Path] = {}
    for name in ("runtime", "webui"):
        folder = Path(str(files(f"solofile.{name}")))
        found |= {f"solofile/{name}/{path.relative_to(folder).as_posix()}": path for path in _package_files(folder)}
    return found


def copy_package(name: str, app: Path) -> None:
    """Copy the Python files of ``solofile.<name>``, and of the page everything, into a staging folder."""
    source = Path(str(files(f"solofile.{name}")))
    (app / "solofile").mkdir(parents=True, exist_ok=True)
    (app / "solofile" / "__init__.py").touch()
    for path in _package_files(source):
        copy = app / "solofile" / name / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _package_files(folder: Path) -> list[Path]:
    """The Python files of a package, and of the page everything."""
    pattern = "*" if folder.name == "webui" else "*.py"
    found = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    # The launcher in Python is no part of what it starts.
    outside = {folder / name for name in ("native", "launcher", "pylauncher", "starter")}
    return sorted(path for path in found if not outside & set(path.parents))


def staged_modules(app: Path, pattern: str = "*/**/*.py") -> list[str]:
    """The modules in the staging folder: also those that are imported late, or by name."""
    paths = (path.relative_to(app).with_suffix("") for path in app.glob(pattern))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__")


def page_files(app: Path) -> list[tuple[str, str]]:
    """The page's files in the staging folder, with their paths in the frozen runtime."""
    paths = (path for path in (app / "solofile" / "webui").rglob("*") if path.is_file() and path.suffix != ".py")
    return sorted((path.relative_to(app).as_posix(), str(path)) for path in paths)


RUNTIME = Program("freezing the runtime", "runtime", stage, staged_modules, page_files, EXCLUDES)


def tool_environment(work: Path, freezer: Path) -> dict[str, str]:
    """What PyInstaller, which lies in ``freezer``, is run with."""
    # LD_PRELOAD too: ldd names what it loads, and PyInstaller would take that for a library of the program.
    dropped = ("PYTHON", "PYINSTALLER", "LD_PRELOAD", "LD_AUDIT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "PYTHONPATH": str(freezer),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "315532800",
        "PYINSTALLER_CONFIG_DIR": str(work / "config"),
    }


def python_library(freezer: Path) -> dict[str, str]:
    """What has to be in the environment of PyInstaller for it to find Python's shared library. Raises ToolError."""
    return {} if find_library(freezer) else {"LD_LIBRARY_PATH": str(fetch_library().parent)}


def check_tools() -> None:
    """Raises ToolError for a program that PyInstaller needs and that is not there."""
    for name in TOOLS:
        if not shutil.which(name):
            raise ToolError(f"PyInstaller needs the program {name}, which is not there: install binutils.")
