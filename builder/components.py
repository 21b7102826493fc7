"""What a pack is made of, as components of CycloneDX (sbom.py): its member ``LICENSES/components.json``.

Only the machine that makes a pack knows the versions of what goes in, so they are written down there. The bytes depend
on nothing but that.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from solofile.builder import freezing, inputs, licenses
from solofile.builder.freezing import Frozen
from solofile.runtime.version import __version__

NAME = "components"
MEMBER = f"LICENSES/{NAME}.json"

_ZIG_PARTS = {"libcxx": "Apache-2.0 WITH LLVM-exception", "libcxxabi": "Apache-2.0 WITH LLVM-exception",
              "libunwind": "Apache-2.0 WITH LLVM-exception", "musl": "MIT"}  # fmt: skip

Component = dict[str, Any]


def collect(frozen: Frozen, python: str, license_names: Iterable[str]) -> bytes:
    """The components of a pack as JSON; ``python`` is the version of its Python. ``license_names`` are the stems of its
    license texts: a component that only has such a text is named by it."""
    found = [*_own(python, frozen), *_native(), *_packages(), *_system(frozen.system_files), *_borrowed(frozen)]
    named = {component["name"] for component in found} | {"python"}
    found += [{"type": "library", "name": name} for name in license_names if name not in named | _left_out()]
    return components_text(found)


def components_text(found: Iterable[Component]) -> bytes:
    """Components as the member that holds them."""
    return (json.dumps(sorted(found, key=lambda one: str(one["name"])), indent=1) + "\n").encode()


def _own(python: str, frozen: Frozen) -> Iterator[Component]:
    yield _component("solofile", __version__, "Apache-2.0", f"pkg:pypi/solofile@{__version__}")
    yield _component("cpython", python, "PSF-2.0", f"pkg:generic/cpython@{python}")
    if frozen.terms:
        return  # no part of PyInstaller is in it
    version = inputs.pins("freeze")["pyinstaller"].version
    terms = "GPL-2.0-or-later WITH Bootloader-exception"
    yield _locked(_component("pyinstaller", version, terms, f"pkg:pypi/pyinstaller@{version}"), "freeze")


def _native() -> Iterator[Component]:
    """llama.cpp with its bindings, and what the compiler links into its libraries and into the launcher."""
    sdist, commit = inputs.LLAMA, inputs.LLAMA_CPP_COMMIT
    bindings = f"pkg:pypi/{sdist.project}@{sdist.version}"
    origin = [_distribution(bindings, [sdist.sha256])]
    llama = _component("llama.cpp", inputs.LLAMA_CPP_VERSION, "MIT", f"pkg:github/ggml-org/llama.cpp@{commit}")
    yield {**llama, "externalReferences": origin, "properties": [{"name": "solofile:commit", "value": commit}]}
    yield {**_component(sdist.project, sdist.version, "MIT", bindings), "externalReferences": origin}
    zig = inputs.pins("tools")["ziglang"].version
    yield _locked(_component("zig", zig, "MIT", f"pkg:pypi/ziglang@{zig}"), "tools", "ziglang")
    for name, terms in _ZIG_PARTS.items():
        origin_of_part = [{"name": "solofile:from", "value": f"zig {zig}"}]
        yield {"type": "library", "name": name, "licenses": [{"expression": terms}], "properties": origin_of_part}


def _packages() -> Iterator[Component]:
    """The Python packages that the freeze takes modules from."""
    site = inputs.site("runtime")
    for name, pin in inputs.pins("runtime").items():
        if name not in _left_out():
            terms = _terms(licenses.metadata_folder(site, name) / "METADATA")
            yield _locked(_component(name, pin.version, terms, f"pkg:pypi/{name}@{pin.version}"), "runtime")


def _borrowed(frozen: Frozen) -> Iterator[Component]:
    """The wheels that single files of an assembled runtime are taken from."""
    for facts in frozen.borrowed:
        name, version = facts["project"], facts["version"]
        component = _locked(_component(name, version, None, f"pkg:pypi/{name}@{version}"), facts["lock"])
        yield {**component, "properties": [{"name": "solofile:taken", "value": facts["taken"]}]}


def _left_out() -> set[str]:
    """Packages that are installed for the freeze, but of which nothing goes in."""
    names = inputs.pins("runtime")
    return {name for name in names if {name.split("-")[0], name.replace("-", "_")} & set(freezing.EXCLUDES)}


def _terms(metadata: Path) -> str | None:
    """The license in a package's metadata: an SPDX expression, or what its classifier says."""
    fields = HeaderParser().parsestr(metadata.read_text("utf-8"))
    classifiers = [one for one in fields.get_all("Classifier", []) if one.startswith("License ::")]
    said = fields["License-Expression"] or (classifiers[0].rpartition(":: ")[2] if classifiers else fields["License"])
    return str(said) if said else None


def _system(paths: Iterable[Path]) -> Iterator[Component]:
    """The libraries of the distribution."""
    seen = set()
    for name, package, _ in licenses.system_libraries(paths):
        if name not in seen:
            seen.add(name)
            yield _debian(package) if package else {"type": "library", "name": name}


def _debian(package: str) -> Component:
    query = ["dpkg-query", "--show", "--showformat=${Version} ${Architecture}\n", package]
    done = subprocess.run(query, capture_output=True, text=True, check=True)
    version, architecture = done.stdout.splitlines()[0].split()
    system = platform.freedesktop_os_release().get("ID", "debian")
    purl = f"pkg:deb/{system}/{package}@{version.replace('+', '%2B')}?arch={architecture}"
    return _component(package, version, None, purl)


def _component(name: str, version: str, terms: str | None, purl: str) -> Component:
    component: Component = {"type": "library", "name": name, "version": version, "purl": purl}
    if terms:
        # "MIT License" is a name, "BSD-3-Clause" an expression: expressions of one word or with operators.
        spdx = " " not in terms or any(word in terms.split() for word in ("WITH", "AND", "OR"))
        component["licenses"] = [{"expression": terms} if spdx else {"license": {"name": terms}}]
    return component


def _locked(component: Component, lock: str, name: str | None = None) -> Component:
    """``component`` with the hashes of the files that the lock allows it to be installed from."""
    pin = inputs.pins(lock)[name or component["name"]]
    hashes = sorted(word.removeprefix("--hash=sha256:") for word in pin.lines.split() if word.startswith("--hash"))
    return {**component, "externalReferences": [_distribution(component["purl"], hashes)]}


def _distribution(url: str, sha256: list[str]) -> Component:
    comment = "one of the files with these hashes" if len(sha256) > 1 else "the file with this hash"
    hashes = [{"alg": "SHA-256", "content": one} for one in sha256]
    return {"type": "distribution", "url": url, "comment": comment, "hashes": hashes}
