"""Writes a pack as a wheel, ``solofile-pack-<target>``, so that pip brings it and nothing need be built.

The wheel is tagged for every system: a pack is data, and bundles for one system are built on another. The same pack
gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from solofile.builder.output import replacing
from solofile.builder.pack_store import member, project
from solofile.builder.packfile import Pack

TIME = (1980, 1, 1, 0, 0, 0)
CHUNK = 1 << 20


def write_wheel(pack: Pack, folder: Path) -> Path:
    """Write the wheel of a pack into a folder; its path. Raises BadOutput."""
    target, version = pack.facts.target, pack.facts.solofile
    stem = f"{project(target).replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    info = f"{stem}.dist-info"
    texts = {f"{info}/METADATA": _metadata(pack), f"{info}/WHEEL": _WHEEL}
    texts[f"{info}/licenses/LICENSE"] = pack.read("LICENSES/solofile.txt").decode()
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as output, zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        record = [_add_file(archive, member(target), pack.path)]
        record += [_add_text(archive, name, text) for name, text in texts.items()]
        listed = "".join(f"{line}\n" for line in [*record, f"{info}/RECORD,,"])
        _add_text(archive, f"{info}/RECORD", listed)
    return path


_WHEEL = "Wheel-Version: 1.0\nGenerator: solofile\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _metadata(pack: Pack) -> str:
    facts = pack.facts
    return (
        f"Metadata-Version: 2.4\nName: {project(facts.target)}\nVersion: {facts.solofile}\n"
        f"Summary: What solofile builds bundles for {facts.target} from; they need {facts.requires}.\n"
        "License-Expression: Apache-2.0\nLicense-File: LICENSE\n"
        f"Requires-Dist: solofile=={facts.solofile}\n"
    )


def _add_file(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with archive.open(zipfile.ZipInfo(name, TIME), "w") as output, path.open("rb") as file:
        while chunk := file.read(CHUNK):
            output.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return _line(name, digest.digest(), size)


def _add_text(archive: zipfile.ZipFile, name: str, text: str) -> str:
    data = text.encode()
    archive.writestr(zipfile.ZipInfo(name, TIME), data)
    return _line(name, hashlib.sha256(data).digest(), len(data))


def _line(name: str, digest: bytes, size: int) -> str:
    return f"{name},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{size}"
