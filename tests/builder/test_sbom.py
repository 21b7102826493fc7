"""The bill of materials: valid CycloneDX, complete, and the same bytes for the same bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import make_bundle, make_pack, pack_files
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ggufs import write_gguf
from solofile.builder import components
from solofile.builder.cli import main
from solofile.builder.packfile import PackSource
from solofile.runtime.container import Bundle

LISTED = [
    {"type": "library", "name": "flask", "version": "3.1.3", "purl": "pkg:pypi/flask@3.1.3",
     "licenses": [{"expression": "BSD-3-Clause"}],
     "externalReferences": [components._distribution("pkg:pypi/flask@3.1.3", ["ab" * 32, "cd" * 32])]},
    {"type": "library", "name": "sha256"},
]  # fmt: skip


def printed(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["inspect", str(path), "--sbom"]) == 0
    text = capsys.readouterr().out
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert isinstance(document, dict)
    assert main(["inspect", str(path), "--sbom"]) == 0
    assert capsys.readouterr().out == text
    return document


@pytest.fixture
def listing_pack(tmp_path: Path) -> Path:
    source = PackSource(components.MEMBER, json.dumps(LISTED).encode())
    make_pack(tmp_path / "pack.zip", [*pack_files(), source]).close()
    return tmp_path / "pack.zip"


def test_everything_is_in_it(
    gguf_path: Path, listing_pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.exe"
    assert main(["build", str(gguf_path), "--pack", str(listing_pack), "-o", str(path)]) == 0
    document = printed(path, capsys)
    by_name = {one["name"]: one for one in document["components"]}
    assert by_name["flask"] == {"bom-ref": "flask@3.1.3", **LISTED[0]}
    assert by_name["sha256"]["bom-ref"] == "sha256"
    assert document["compositions"] == [{"aggregate": "complete", "assemblies": ["bundle"]}]
    with Bundle.open(path) as bundle:
        model = by_name["Tiny-Model.Q8"]
        sha256 = bundle.parts["models/Tiny-Model.Q8.gguf"].sha256
        assert model["hashes"] == [{"alg": "SHA-256", "content": sha256}]
        assert (model["type"], model["licenses"]) == ("machine-learning-model", [{"license": {"id": "MIT"}}])
        files = {one["name"]: one["hashes"][0]["content"] for one in by_name["parts"]["components"]}
        expected = {part.path: part.sha256 for part in bundle.parts.values() if ".align-" not in part.path}
    assert files.items() > expected.items()
    assert set(files) - set(expected) == {"solofile.json"}
    references = [one["bom-ref"] for one in document["components"]]
    assert document["dependencies"] == [{"ref": "bundle", "dependsOn": references}]


def test_bundle_that_does_not_list_its_components(
    pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that it is incomplete, and gives what the manifest knows; a license that is not SPDX's keeps its name."""
    model = write_gguf(tmp_path / "m.gguf", license_id="gemma terms")
    path = tmp_path / "x.exe"
    assert main(["build", str(model), "--pack", str(pack_path), "-o", str(path)]) == 0
    document = printed(path, capsys)
    assert document["compositions"][0]["aggregate"] == "incomplete"
    by_name = {one["name"]: one for one in document["components"]}
    assert by_name["llama.cpp"]["purl"] == "pkg:github/ggml-org/llama.cpp@0c1e570"
    assert by_name["m"]["licenses"] == [{"license": {"name": "gemma terms"}}]


def test_serial_number_follows_from_the_bundle(
    pack_path: Path, gguf_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = []
    for index, title in enumerate(("T", "T", "U")):
        make_bundle(tmp_path / f"{index}.exe", pack_path, [gguf_path], title=title)
        numbers.append(printed(tmp_path / f"{index}.exe", capsys)["serialNumber"])
    assert numbers[0] == numbers[1] != numbers[2]


def test_packages_and_their_licenses(tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text("Name: x\nLicense-Expression: MIT OR Apache-2.0\n\nText\n")
    assert components._terms(tmp_path / "METADATA") == "MIT OR Apache-2.0"
    (tmp_path / "METADATA").write_text("Name: x\nClassifier: License :: OSI Approved :: BSD License\nLicense: long\n")
    assert components._terms(tmp_path / "METADATA") == "BSD License"
    named = components._component("x", "1", "BSD License", "pkg:pypi/x@1")
    assert named["licenses"] == [{"license": {"name": "BSD License"}}]
    spdx = components._component("x", "1", "MIT OR Apache-2.0", "pkg:pypi/x@1")
    assert spdx["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert "licenses" not in components._component("x", "1", None, "pkg:pypi/x@1")
