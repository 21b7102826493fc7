"""The manifest as JSON: strict, and the same bytes for the same contents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle, InputError, UnknownName
from solofile.runtime.manifest import Gpu, Manifest
from solofile.runtime.manifest_behind import Behind


@pytest.fixture
def document(bundle: Path) -> dict[str, Any]:
    with Bundle.open(bundle) as opened:
        result = json.loads(opened.manifest_bytes)
    assert isinstance(result, dict)
    return result


def read(document: object) -> Manifest:
    return Manifest.from_json(json.dumps(document).encode(), where="x.exe")


def test_round_trip(bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        assert Manifest.from_json(opened.manifest_bytes) == opened.manifest
        assert opened.manifest.to_json() == opened.manifest_bytes
        assert opened.manifest_bytes.isascii()


@pytest.mark.parametrize(
    ("change", "place", "nearest"),
    [
        (lambda d: d.update(titel="x"), "titel", "title"),
        (lambda d: d["llama_cpp"].update(comit="x"), "llama_cpp.comit", "commit"),
        (lambda d: d["targets"]["linux-x86_64"].update(require="x"), "targets.linux-x86_64.require", "requires"),
        (
            lambda d: d["targets"]["linux-x86_64"]["launcher"].update(sha=1),
            "targets.linux-x86_64.launcher.sha",
            "sha256",
        ),
        (lambda d: d["models"][0].update(architectur="x"), "models.0.architectur", "architecture"),
        (lambda d: d["parts"][4].update(offest=1), "parts.4.offest", "offset"),
    ],
)
def test_unknown_key(document: dict[str, Any], change: Callable[[Any], object], place: str, nearest: str) -> None:
    change(document)
    with pytest.raises(UnknownName) as caught:
        read(document)
    assert place in str(caught.value)
    assert caught.value.nearest == place.rpartition(".")[0] + "." * ("." in place) + nearest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("title"), "title is missing"),
        (lambda d: d.update(title=1), "title must be text"),
        (lambda d: d.update(arguments="-c 1"), "arguments must be a list"),
        (lambda d: d.update(arguments=["-c", 1]), "arguments must be a list of texts"),
        (lambda d: d.update(targets={}), "targets must be an object that is not empty"),
        (lambda d: d.update(targets=[]), "targets must be an object"),
        (lambda d: d.update(models={}), "models must be a list"),
        (lambda d: d.update(models=[1]), r"models\.0 must be an object"),
        (lambda d: d.update(default_model="models/none.gguf"), "default_model must be one of the models"),
        (lambda d: d["models"].append(d["models"][0]), "models must have names of their own"),
        (lambda d: d["models"][0].update(arguments="-c"), r"models\.0\.arguments must be a list"),
        (lambda d: d["models"][0].update(title=None), r"models\.0\.title must be text"),
        (lambda d: d["models"][0].update(token_bytes=-1), r"models\.0\.token_bytes must be a whole number"),
        (lambda d: d.update(icon="about/none.png"), "icon must be one of the parts"),
        (lambda d: d.update(greeting=7), "greeting must be text"),
        (lambda d: d["models"][0].update(size=-1), r"models\.0\.size must be a whole number"),
        (lambda d: d["models"][0].update(size=True), r"models\.0\.size must be a whole number"),
        (lambda d: d["models"][0].update(size=1e3), r"models\.0\.size must be a whole number"),
        (lambda d: d["models"][0].update(parameters=1 << 63), r"models\.0\.parameters must be a whole number"),
        (lambda d: d["models"][0].update(chat_template=1), r"models\.0\.chat_template must be true or false"),
        (lambda d: d["targets"]["linux-x86_64"].update(pack="F" * 64), "pack must be 64 lower-case hex digits"),
        (lambda d: d["targets"]["linux-x86_64"].update(launcher=None), "launcher must be an object"),
        (lambda d: d["parts"][2].update(size="1"), r"parts\.2 is malformed"),
        (lambda d: d["parts"][2].update(offset=None), r"parts\.2 is malformed"),
        (lambda d: d["parts"][2].update(sha256="0" * 63), r"parts\.2 is malformed"),
        (lambda d: d["parts"][2].pop("stored"), r"parts\.2 is malformed"),
        (lambda d: d["parts"].insert(2, "launcher"), r"parts\.2 is malformed"),
        (lambda d: d.update(format="1"), "names no format"),
        (lambda d: d.update(format=0), "names no format"),
        (lambda d: d.update(format=True), "names no format"),
    ],
)
def test_malformed(document: dict[str, Any], change: Callable[[Any], object], says: str) -> None:
    change(document)
    with pytest.raises(DamagedBundle, match=says) as caught:
        read(document)
    assert "x.exe" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]", b"null", b"[" * 100_000])
def test_no_manifest(data: bytes) -> None:
    with pytest.raises(DamagedBundle):
        Manifest.from_json(data)


def test_null_where_it_may_be(document: dict[str, Any]) -> None:
    document["system_prompt"] = None
    document["models"][0].update(context_length=None, license=None)
    manifest = read(document)
    model = manifest.models[0]
    assert (manifest.system_prompt, model.context_length, model.license) == (None, None, None)


def test_what_may_be_left_out_of_a_model(document: dict[str, Any]) -> None:
    plain = read(document)
    assert not {"title", "system_prompt", "arguments", "token_bytes", "compute_bytes"} & set(document["models"][0])
    own = {
        "title": "Small",
        "system_prompt": "Be brief.",
        "arguments": ["-c", "9"],
        "token_bytes": 7,
        "compute_bytes": 9,
    }
    document["models"][0].update(own)
    manifest = read(document)
    assert {name: getattr(manifest.models[0], name) for name in own} == {**own, "arguments": ("-c", "9")}
    assert json.loads(manifest.to_json()) == document
    assert plain.models[0].arguments == ()


def test_icon_and_greeting(document: dict[str, Any]) -> None:
    assert not {"icon", "greeting"} & set(document)
    document.update(icon=document["parts"][1]["path"], greeting="Welcome.")
    manifest = read(document)
    assert (manifest.icon, manifest.greeting) == (document["icon"], "Welcome.")
    assert json.loads(manifest.to_json()) == document


GPU = {"requires": "glibc 2.17", "needs": ["libvulkan.so.1"], "lacks": ["bfloat16"]}


def test_gpu_backends(document: dict[str, Any]) -> None:
    target = document["targets"]["linux-x86_64"]
    assert "gpus" not in target  # so that a bundle without one is what it was before there were any
    assert read(document).targets["linux-x86_64"].gpus == {}
    target["gpus"] = {"vulkan": GPU}
    manifest = read(document)
    assert manifest.targets["linux-x86_64"].gpus == {"vulkan": Gpu("glibc 2.17", ("libvulkan.so.1",), ("bfloat16",))}
    assert json.loads(manifest.to_json()) == document


@pytest.mark.parametrize(
    ("gpus", "says"),
    [
        ({}, "gpus must be an object that is not empty"),
        (["vulkan"], "gpus must be an object"),
        ({"vulkan": None}, r"gpus\.vulkan must be an object"),
        ({"vulkan": {**GPU, "needs": "libvulkan.so.1"}}, r"gpus\.vulkan\.needs must be a list"),
        ({"vulkan": {"requires": "", "lacks": []}}, r"gpus\.vulkan\.needs is missing"),
    ],
)
def test_malformed_gpu_backends(document: dict[str, Any], gpus: object, says: str) -> None:
    document["targets"]["linux-x86_64"]["gpus"] = gpus
    with pytest.raises(DamagedBundle, match=says):
        read(document)


BEHIND = {"form": "pyz", "size": 9, "sha256": "0" * 64, "python": "1" * 64}


def test_what_lies_behind_the_archive(document: dict[str, Any]) -> None:
    assert "behind" not in document
    for behind in (BEHIND, {**BEHIND, "form": "ape", "python": None}):
        document["behind"] = behind
        manifest = read(document)
        assert manifest.behind == Behind(**behind)
        assert json.loads(manifest.to_json()) == document


@pytest.mark.parametrize(
    ("behind", "says"),
    [
        (None, "behind must be an object"),
        ({**BEHIND, "form": "exe"}, r"behind\.form must be pyz or ape"),
        ({**BEHIND, "size": -1}, r"behind\.size must be a whole number"),
        ({**BEHIND, "python": "x"}, r"behind\.python must be 64 lower-case hex digits"),
        ({name: BEHIND[name] for name in ("form", "size", "sha256")}, r"behind\.python is missing"),
    ],
)
def test_malformed_behind(document: dict[str, Any], behind: object, says: str) -> None:
    document["behind"] = behind
    with pytest.raises(DamagedBundle, match=says):
        read(document)


def test_newer_format_is_not_called_damage(document: dict[str, Any]) -> None:
    document.update(format=7, something_new=1)
    with pytest.raises(InputError, match=r"x\.exe was built by a newer solofile \(format 7") as caught:
        read(document)
    assert not isinstance(caught.value, DamagedBundle)
