"""What the release workflow does beyond solofile's own commands, as ``python .ci/release.py STEP``.

The steps of a workflow run on machines that nobody has at hand; what they run is here, so that it can be run, and is
tested, anywhere. ``smoke``, ``compare`` and ``sums`` need Python's standard library alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUNNERS = {
    "linux-aarch64": "ubuntu-24.04-arm",
    "linux-x86_64": "ubuntu-24.04",
    "macos-aarch64": "macos-15",
    "macos-x86_64": "macos-15-intel",
    "windows-aarch64": "windows-11-arm",
    "windows-x86_64": "windows-2025",
}
"""The machines on which bundles for each target are tested."""

METAL = "libggml-metal.dylib"
CPYTHON = "CPYTHON_WINDOWS_AARCH64"
"""The variable with URL#SHA256 of the only CPython for windows-aarch64: an archive of python-build-standalone."""

SUMS = "SHA256SUMS"
QUESTION = "What is the capital of France? Answer in one sentence."


class ReleaseError(Exception):
    """One sentence."""


def main(words: list[str] | None = None) -> int:
    """The command line."""
    given = parse(words)
    try:
        {"plan": _plan, "metal": _metal, "smoke": _smoke, "compare": _compare, "sums": _sums}[given.step](given)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def parse(words: list[str] | None) -> argparse.Namespace:
    """What the words say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(required=True, dest="step")
    plan_ = steps.add_parser("plan", help="what is built and tested, as lines NAME=VALUE for a workflow's outputs")
    plan_.add_argument("--tag", default="", help="refuse one that is not this version's")
    metal = steps.add_parser("metal", help=f"build {METAL} on a Mac, with Apple's SDK")
    metal.add_argument("folder", type=Path)
    smoke_ = steps.add_parser("smoke", help="see whether the demo's bundle does all its work on this machine")
    smoke_.add_argument("bundle", type=Path)
    smoke_.add_argument("--target", choices=RUNNERS, required=True)
    compare_ = steps.add_parser("compare", help="see whether two folders hold the same files, byte for byte")
    compare_.add_argument("folders", type=Path, nargs=2)
    sums_ = steps.add_parser("sums", help=f"write {SUMS} for the files of a folder")
    sums_.add_argument("folder", type=Path)
    return parser.parse_args(words)


# ---- plan ---------------------------------------------------------------------------------------------------------


def _plan(given: argparse.Namespace) -> None:
    from solofile.builder.targets import TARGETS
    from solofile.runtime.version import __version__

    if given.tag not in ("", f"v{__version__}"):
        raise ReleaseError(f"The tag {given.tag} is not this version's: it has to be v{__version__}.")
    rows, notes = plan({name: target.gpus for name, target in TARGETS.items()}, os.environ, takes_metal())
    for note in notes:
        print(f"::warning::{note}", file=sys.stderr)
    print(f"packs={json.dumps(rows)}")
    metal = [{"target": row["target"], "runner": row["runner"]} for row in rows if row["metal"]]
    print(f"metal={json.dumps(metal)}")
    print(f"version={__version__}")


def plan(targets: dict[str, tuple[str, ...]], environment: Any, metal: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each pack to make, and what is left out with the reason. ``targets`` have GPU backends by name."""
    rows, notes = [], []
    for name, runner in RUNNERS.items():
        cpython = environment.get(CPYTHON, "") if name == "windows-aarch64" else ""
        if name not in targets:
            notes.append(f"No pack for {name}: this solofile cannot make it.")
        elif name == "windows-aarch64" and not cpython:
            notes.append(f"No pack for {name}: set the repository's variable {CPYTHON} to an archive's URL#SHA256.")
        else:
            with_metal = name.startswith("macos") and metal
            if name.startswith("macos") and not metal:
                notes.append(f"No Metal for {name}: --backend of this solofile does not take {METAL}.")
            words = ["--gpu", ",".join(targets[name]) or "none"]
            words += ["--cpython", cpython] if cpython else []
            words += ["--backend", f"metal/{METAL}"] if with_metal else []
            rows.append({"target": name, "runner": runner, "metal": with_metal, "options": " ".join(words)})
    return rows, notes


def takes_metal() -> bool:
    """Whether ``--backend`` takes a library for macOS."""
    from solofile.builder.backends import backend_name
    from solofile.builder.errors import BadInput

    try:
        return backend_name(Path(METAL)) == "metal"
    except BadInput:
        return False


# ---- metal --------------------------------------------------------------------------------------------------------


def _metal(given: argparse.Namespace) -> None:
    from solofile.builder import inputs

    ggml = inputs.llama_source() / "vendor" / "llama.cpp" / "ggml"
    for command in metal_commands(inputs.cmake(), inputs.ninja(), ggml, given.folder.absolute()):
        subprocess.run(command, check=True)


def metal_commands(cmake: Path, ninja: Path, ggml: Path, folder: Path) -> list[list[str]]:
    """Build ggml's Metal backend alone, its shaders inside, and let it ask for ggml by the name that bundles have."""
    on = ("BUILD_SHARED_LIBS", "GGML_BACKEND_DL", "GGML_METAL", "GGML_METAL_EMBED_LIBRARY")
    off = ("GGML_CPU", "GGML_BLAS", "GGML_ACCELERATE", "GGML_NATIVE", "GGML_CCACHE", "GGML_OPENMP")
    options = [*(f"-D{name}=ON" for name in on), *(f"-D{name}=OFF" for name in off)]
    options += ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_OSX_DEPLOYMENT_TARGET=12.0", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    options += [f"-DCMAKE_{kind}_OUTPUT_DIRECTORY={folder / 'bin'}" for kind in ("LIBRARY", "RUNTIME")]
    options += ["-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=@loader_path"]
    made, final = str(folder / "bin" / "libggml-metal.so"), str(folder / "bin" / METAL)  # CMake's ending for modules
    return [
        [str(cmake), "-G", "Ninja", "-S", str(ggml), "-B", str(folder), *options],
        [str(cmake), "--build", str(folder), "--target", "ggml-metal"],
        ["cp", made, final],
        ["install_name_tool", "-change", "@rpath/libggml-base.0.dylib", "@rpath/libggml-base.dylib", final],
        ["codesign", "--force", "--sign", "-", final],  # the change has broken the linker's signature
    ]


# ---- smoke --------------------------------------------------------------------------------------------------------


def _smoke(given: argparse.Namespace) -> None:
    bundle = given.bundle.absolute()
    if sys.platform != "win32":
        bundle.chmod(0o755)  # which an artifact does not keep
    print(run(bundle, "--doctor"))
    smoke(bundle, given.target)


def smoke(bundle: Path, target: str) -> None:
    """Answer, serve, tell of itself and check itself. Raises ReleaseError at the first thing that is wrong."""
    if " is whole: " not in (said := run(bundle, "--verify")):
        raise ReleaseError(f"--verify said {said!r}.")
    found = json.loads(run(bundle, "--doctor", "--json"))["hardware"]["target"]
    if found != target:
        raise ReleaseError(f"The bundle takes this machine for {found} and not for {target}.")
    first, second = (_answer(run(bundle, "-p", QUESTION, "--temp", "0")) for _ in range(2))
    if first != second:
        raise ReleaseError(f"Two starts answered {first!r} and {second!r}.")
    with served(bundle) as url:
        body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        _answer(_post(f"{url}/v1/chat/completions", body)["choices"][0]["message"]["content"])
        with urllib.request.urlopen(f"{url}/", timeout=60) as page:
            if b"<html" not in page.read():
                raise ReleaseError("There is no page.")
    print(f"{bundle.name} works on {target}: {first}")


def run(bundle: Path, *words: str) -> str:
    """What the bundle prints. Raises ReleaseError if it fails."""
    done = subprocess.run(
        [bundle, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False, encoding="utf-8",
        errors="replace",
    )  # fmt: skip
    if done.returncode:
        raise ReleaseError(f"{bundle.name} {' '.join(words)} ended with code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _answer(text: str) -> str:
    if "Paris" not in text:
        raise ReleaseError(f"The capital of France is {text!r}.")
    return text.strip()


@contextmanager
def served(bundle: Path, limit: float = 180) -> Iterator[str]:
    """The address of a server that is ready; it is ended with the block."""
    process = subprocess.Popen([str(bundle), "--server", "--port", "18080"], stdin=subprocess.DEVNULL)
    url, end = "http://127.0.0.1:18080", time.monotonic() + limit
    try:
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > end:
                raise ReleaseError(f"The server was not ready within {limit:g} s (code {process.returncode}).")
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # not listening yet, or 503 while the model loads
        return False


def _post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


# ---- compare, sums ------------------------------------------------------------------------------------------------


def _compare(given: argparse.Namespace) -> None:
    first, second = given.folders
    differences = compare(first, second)
    if differences:
        raise ReleaseError(f"{first} and {second} differ: {'; '.join(differences)}.")
    print(f"{len(files_of(first))} files of {first} and {second} are the same")


def compare(first: Path, second: Path) -> list[str]:
    """What differs between two folders of files, down to the members of wheels and packs. Raises ReleaseError."""
    one, other = files_of(first), files_of(second)
    if not one:
        raise ReleaseError(f"There is nothing in {first} to compare.")
    alone = [f"{name} is in one of them only" for name in sorted({*one} ^ {*other})]
    return alone + [text for name in sorted({*one} & {*other}) for text in _differing(one[name], other[name])]


def _differing(one: Path, other: Path) -> list[str]:
    if sha256(one) == sha256(other):
        return []
    if not (zipfile.is_zipfile(one) and zipfile.is_zipfile(other)):
        return [one.name]
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        sums = [{info.filename: info.CRC for info in archive.infolist()} for archive in (first, second)]
    inside = sorted(name for name in {*sums[0]} | {*sums[1]} if sums[0].get(name) != sums[1].get(name))
    return [f"{one.name} ({', '.join(inside) or 'in its headers'})"]


def _sums(given: argparse.Namespace) -> None:
    lines = [f"{sha256(path)}  {name}\n" for name, path in sorted(files_of(given.folder).items()) if name != SUMS]
    if not lines:
        raise ReleaseError(f"There is nothing in {given.folder} to sum up.")
    (given.folder / SUMS).write_text("".join(lines), "utf-8", newline="\n")
    print("".join(lines), end="")


def files_of(folder: Path) -> dict[str, Path]:
    """The files below a folder by their names, which have to be unique: in a release all lie side by side."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            if path.name in found or not re.fullmatch(r"[A-Za-z0-9._+-]+", path.name):
                raise ReleaseError(f"{path} has a name that a release cannot have, or that another file has.")
            found[path.name] = path
    return found


def sha256(path: Path) -> str:
    """The SHA-256 of a file as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
