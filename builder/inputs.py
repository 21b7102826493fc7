"""The pinned inputs of native libraries and packs, each checked against its SHA-256 before it is used.

Whatever ends in a bundle, or makes what ends there, comes from here and never from the user's environment, which may
hold other versions, editable installs or nothing at all. So two machines build the same thing. It also keeps the
compiler at a path that outlives a virtual environment: its headers are dependencies in the build trees, and a tree
whose compiler has moved would be built anew, which takes a quarter of an hour.

pip fetches everything: it knows the user's index, proxy and certificates.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from solofile.builder.errors import MissingTool, NotFetched, ToolError
from solofile.builder.hashing import file_sha256
from solofile.builder.paths import build_cache, cache_folder, locked, made_at
from solofile.builder.progress import ticking

LOCKS = Path(__file__).parent / "locks"


_WHEELS = ("--only-binary=:all:", "--no-compile")


@dataclass(frozen=True)
class Sdist:
    """A source distribution on the package index, and what it carries."""

    project: str
    version: str
    sha256: str
    backend: str
    """The build backend that it names: pip asks that one for metadata before it hands the file over."""

    @property
    def stem(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}"

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"


LLAMA = Sdist(
    project="llama-cpp-python",
    version="0.3.36",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    backend="scikit_build_core.build",
)
LLAMA_CPP_VERSION = "0.5.0"
LLAMA_CPP_COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"


@dataclass(frozen=True)
class Pin:
    """One package of a lock file: its version and the lines that pip takes."""

    name: str
    version: str
    lines: str


@cache
def pins(lock: str) -> dict[str, Pin]:
    """The packages of ``locks/<lock>.txt`` by name."""
    text = (LOCKS / f"{lock}.txt").read_text("utf-8")
    blocks = re.findall(r"^(([A-Za-z0-9._-]+)==(\S+) \\\n(?:    --hash=\S+(?: \\)?\n)+)", text, flags=re.MULTILINE)
    return {name: Pin(name, version, lines) for lines, name, version in blocks}


def llama_cpp_facts() -> dict[str, str]:
    """What manifests and packs say about their llama.cpp."""
    return {"version": LLAMA_CPP_VERSION, "commit": LLAMA_CPP_COMMIT, "source": LLAMA.requirement}


def llama_folder() -> Path:
    """Where ``llama_source`` puts the sources; it may not be there yet."""
    return build_cache() / "sources" / LLAMA.stem


def llama_source() -> Path:
    """The unpacked llama-cpp-python sdist: ``vendor/llama.cpp`` holds llama.cpp, ``llama_cpp`` the bindings."""
    folder = llama_folder()
    if not folder.is_dir():
        with locked(cache_folder("sources") / f"{LLAMA.stem}.lock"):
            if not folder.is_dir():
                _unpack(_sdist(LLAMA), folder)
    return folder


def tool(name: str) -> Path:
    """The folder of a build tool of ``locks/tools.txt``, laid out as in site-packages."""
    pin = pins("tools")[name]
    return _installed(f"{name}-{pin.version}", f"{name} {pin.version}", pin.lines)


def zig() -> Path:
    """The zig executable."""
    return tool("ziglang") / "ziglang" / "zig"


def cmake() -> Path:
    """The cmake executable."""
    return tool("cmake") / "cmake" / "data" / "bin" / "cmake"


def ninja() -> Path:
    """The ninja executable."""
    return tool("ninja") / "bin" / "ninja"


def site(lock: str) -> Path:
    """A folder with every package of ``locks/<lock>.txt``, as in site-packages.

    Its name holds the Python version too: some wheels carry extension modules.
    """
    lines = "".join(pin.lines for pin in pins(lock).values())
    names = ", ".join(pins(lock))
    return _installed(f"{lock}-{sys.implementation.cache_tag}-{lock_digest(lock)[:12]}", names, lines)


def target_site(lock: str, platforms: Sequence[str], minor: str) -> Path:
    """A folder with every package of a lock as it is for another platform (pip's names for it) and Python release."""
    lines = "".join(pin.lines for pin in pins(lock).values())
    name = f"{lock}-{platforms[0]}-cp{minor.replace('.', '')}-{lock_digest(lock)[:12]}"
    return _installed(name, f"the packages of {lock} for {platforms[0]}", lines, *_for_platform(platforms, minor))


@contextlib.contextmanager
def fetched_wheel(lock: str, name: str, platforms: Sequence[str], minor: str) -> Iterator[Path]:
    """One wheel of a lock as it is for a platform and Python release, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(dir=cache_folder("downloads")) as folder:
        options = (*_for_platform(platforms, minor), "--only-binary=:all:", f"--dest={folder}")
        _pip("download", pins(lock)[name].lines, *options)
        yield next(Path(folder).glob("*.whl"))


def _for_platform(platforms: Sequence[str], minor: str) -> list[str]:
    tag = f"cp{minor.replace('.', '')}"
    abis = [f"--abi={abi}" for abi in (tag, "abi3", "none")]
    names = [f"--platform={platform}" for platform in platforms]
    return [*names, f"--python-version={minor}", "--implementation=cp", *abis]


def lock_digest(lock: str) -> str:
    """The SHA-256 of what a lock file pins."""
    return hashlib.sha256("".join(pin.lines for pin in pins(lock).values()).encode()).hexdigest()


def tools_folder() -> Path:
    """Where ``tool`` and ``site`` put their folders."""
    return build_cache() / "tools"


def _installed(folder_name: str, what: str, requirements: str, *options: str) -> Path:
    folder = build_cache() / "tools" / folder_name
    if not folder.is_dir():
        with locked(cache_folder("tools") / f"{folder_name}.lock"):
            if not folder.is_dir():
                with ticking(f"Fetching {what}"), made_at(folder) as temporary:
                    _pip(what, "install", requirements, *options, *_WHEELS, f"--target={temporary}")
    return folder


def _sdist(sdist: Sdist) -> Path:
    path = cache_folder("downloads") / f"{sdist.stem}.tar.gz"
    if not path.is_file():
        what = f"{sdist.requirement} (the llama.cpp sources)"
        requirement = f"{sdist.requirement} --hash=sha256:{sdist.sha256}\n"
        with ticking(f"Fetching {what}"), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            backend = Path(folder, "backend")
            _write_backend(backend, sdist)
            options = (f"--no-binary={sdist.project}", "--no-build-isolation", f"--dest={folder}")
            _pip(what, "download", requirement, *options, python_path=str(backend))
            Path(folder, path.name).replace(path)
    found = file_sha256(path)
    if found != sdist.sha256:
        path.unlink()
        raise ToolError(f"{path.name} in the build cache was damaged and has been removed; run the command again.")
    return path


def _write_backend(folder: Path, sdist: Sdist) -> None:
    """Put a build backend into ``folder`` that answers pip's question for metadata, and cannot build.

    pip wants an sdist's metadata before it hands over the file. The real backend would have to be installed with all
    that it needs, to tell what the pin says already.
    """
    module = folder.joinpath(*sdist.backend.split("."))
    module.parent.mkdir(parents=True)
    (module.parent / "__init__.py").touch()
    module.with_suffix(".py").write_text(
        "from pathlib import Path\n\n\n"
        "def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):\n"
        f"    folder = Path(metadata_directory) / '{sdist.stem}.dist-info'\n"
        "    folder.mkdir()\n"
        f"    text = 'Metadata-Version: 2.1\\nName: {sdist.project}\\nVersion: {sdist.version}\\n'\n"
        "    (folder / 'METADATA').write_text(text)\n"
        "    return folder.name\n"
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file with one top folder, so that its content becomes ``folder``."""
    with ticking(f"Unpacking {archive.name}"), made_at(folder) as temporary, tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # absent from early releases of 3.10 and 3.11
        for member in tar:
            inside = member.name.partition("/")[2]
            if not inside or inside.partition("/")[0] == ".git":  # what is in there is of no use to a build
                continue
            if member.isreg() or member.isdir():  # links are in the documentation only, and Windows has none
                member.name = inside
                tar.extract(member, temporary)


def _pip(what: str, command: str, requirements: str, *options: str, python_path: str = "") -> None:
    with tempfile.TemporaryDirectory(dir=cache_folder("downloads")) as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements)
        common = ("--require-hashes", "--no-deps", "--disable-pip-version-check", "--no-input", "--progress-bar=off")
        environment = {**os.environ, "TMPDIR": folder}  # what it leaves when it is stopped goes with the folder
        if python_path:
            environment["PYTHONPATH"] = python_path
        said = run_tool([python(), "-m", "pip", command, *common, *options, f"--requirement={path}"], environment)
    if said is not None:
        names = ", ".join(re.findall(r"^(\S+==\S+)", requirements, flags=re.MULTILINE)) or what
        raise NotFetched(
            f"pip could not fetch {names}, which this build has to have ({said}): connect this machine to the package "
            "index once, or take in a pack that was made elsewhere, by “solofile pack import” or --pack."
        )


def python() -> str:
    """The Python that pip and PyInstaller run in. Raises MissingTool where solofile is an executable of its own."""
    if getattr(sys, "frozen", False):
        raise MissingTool(
            "This solofile is one executable and compiles or fetches nothing by pip: use what it carries, give a pack "
            "with --pack, or run a solofile that is installed for Python."
        )
    return sys.executable


def run_tool(command: Sequence[str], environment: dict[str, str]) -> str | None:
    """Run a program to its end; None if it did well, else the last line of what it said."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said = process.communicate()[0].decode("utf-8", "replace")
        except BaseException:
            process.terminate()  # and leaving the block waits for it
            raise
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else f"code {process.returncode}") if process.returncode else None
