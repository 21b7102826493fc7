"""The formats of a bundle: a program of its own, a zipapp, or a Cosmopolitan Python with the bundle in it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from solofile.builder.behind import Form, ape_form, cosmo_python_of, form_of, pyz_form
from solofile.builder.cosmo import read_cosmo_python
from solofile.builder.errors import BadInput, MissingTool
from solofile.builder.packfile import Pack
from solofile.runtime.container import Bundle
from solofile.runtime.errors import UnknownName
from solofile.runtime.hardware import target as host_target
from solofile.runtime.manifest_behind import APE, PYZ

EXE = "exe"
FORMATS = (EXE, PYZ, APE)
SUFFIXES = (".exe", ".pyz")


def check_format(name: str, cosmo_python: Path | None, launcher: Path | None) -> None:
    """Refuse an unknown format, and what does not go with the one that is asked for. Raises UnknownName, BadInput."""
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    if name != APE and cosmo_python is not None:
        raise BadInput("--cosmo-python goes with --format ape, and with no other format.")
    if name != EXE and launcher is not None:
        raise BadInput(f"--launcher does not go with --format {name}, which a Python starts: leave it out.")


def named(output: Path) -> str:
    """The name of an output without the ending that its format has."""
    return output.stem if output.suffix in SUFFIXES else output.name


def output_for(name: str, form: str, targets: Iterable[str]) -> Path:
    """Where a bundle of that name, for ``targets`` (by default this machine's), is written by default.

    ``NAME.exe`` starts everywhere by its name; but Finder opens only what has no ending: ``NAME-macos``.
    """
    if form == PYZ:
        return Path(f"{name}.{PYZ}")
    systems = {target.partition("-")[0] for target in tuple(targets) or (host_target(),)}
    return Path(f"{name}-macos" if form == EXE and systems == {"macos"} else f"{name}.exe")


def new_form(name: str, cosmo_python: Path | None) -> Form | None:
    """The form of a new bundle, None for a program of its own. Raises BadInput."""
    if name == EXE:
        return None
    if getattr(sys, "frozen", False):
        raise MissingTool(
            f"This solofile is one executable and makes no bundle of the format {name}: use one that is installed for "
            "Python."
        )
    if name == PYZ:
        return pyz_form()
    if cosmo_python is None:
        raise BadInput(
            "--format ape needs a Cosmopolitan Python: give one with --cosmo-python FILE, such as cosmofy's."
        )
    return ape_form(*read_cosmo_python(cosmo_python))


def format_of(bundle: Bundle) -> str:
    """The name of the format that a bundle has."""
    return bundle.manifest.behind.form if bundle.manifest.behind else EXE


def renewed_form(bundle: Bundle, name: str, cosmo_python: Path | None) -> Form | None:
    """The form for a bundle that is made of another one, with this solofile's launcher. Raises BadInput.

    The Cosmopolitan Python is that of the old one where it has one and no other is given.
    """
    old = form_of(bundle)
    if name == APE and cosmo_python is None and old is not None and old.name == APE:
        return ape_form(*cosmo_python_of(old))
    return new_form(name, cosmo_python)


def packs_for(form: Form | None, packs: Sequence[Pack], stack: contextlib.ExitStack) -> list[Pack]:
    """The packs that go into a bundle of that form, in its order. They are open until ``stack`` ends."""
    if form is None or form.name == APE:
        return list(packs)
    from solofile.builder.python_pack import native_pack, python_pack

    own = [stack.enter_context(python_pack()), *(stack.enter_context(native_pack(pack)) for pack in packs)]
    return sorted(own, key=lambda pack: pack.facts.target)
