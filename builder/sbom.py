"""A bill of materials of everything in a bundle: CycloneDX 1.6 as JSON (https://cyclonedx.org/docs/1.6/json/).

Deterministic: what it says, its serial number included, follows from the bundle alone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from solofile.builder.components import MEMBER, Component
from solofile.builder.inspect import origin_text
from solofile.builder.inspect_tree import manifest_part
from solofile.runtime.container import PADDING_PREFIX, Bundle
from solofile.runtime.manifest import MANIFEST_NAME, Manifest, Model, Origin, Part

SPDX = {
    one.lower(): one
    for one in (
        "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause",
        "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ECL-2.0",
        "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-3.0-only", "MIT", "MPL-2.0", "Unlicense",
        "WTFPL", "Zlib",
    )
}  # fmt: skip
"""The licenses that models name, in any case, as SPDX writes them; others are given by the name that they have."""


def sbom(bundle: Bundle) -> str:
    """The bill of materials that ``solofile inspect --sbom`` prints. Raises DamagedBundle."""
    known = _components(bundle)
    components = list(_with_references(known or _unlisted(bundle.manifest)))
    components += [_model(model, bundle.parts[model.path]) for model in bundle.manifest.models]
    components.append(_all_parts(bundle))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, bundle.digest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "solofile", "version": bundle.manifest.solofile}]},
            "component": _bundle(bundle),
        },
        "components": components,
        "dependencies": [{"ref": "bundle", "dependsOn": [one["bom-ref"] for one in components]}],
        "compositions": [{"aggregate": "complete" if known else "incomplete", "assemblies": ["bundle"]}],
    }
    return json.dumps(document, indent=1) + "\n"


def _components(bundle: Bundle) -> list[Component]:
    """What the pack says that it is made of; nothing for one that does not say it."""
    if MEMBER not in bundle.parts:
        return []
    listed: list[Component] = json.loads(bundle.read(MEMBER))
    return listed


def _unlisted(manifest: Manifest) -> list[Component]:
    """What the manifest alone knows of the runtime."""
    llama = manifest.llama_cpp
    purl = f"pkg:github/ggml-org/llama.cpp@{llama.commit}"
    return [
        {"type": "library", "name": "llama.cpp", "version": llama.version, "purl": purl},
        {"type": "library", "name": "solofile", "version": manifest.solofile},
    ]


def _with_references(components: list[Component]) -> Iterator[Component]:
    for component in components:
        version = f"@{component['version']}" if "version" in component else ""
        yield {"type": component["type"], "bom-ref": f"{component['name']}{version}", **component}


def _bundle(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    properties = {
        "solofile:digest": bundle.digest,
        "solofile:size": str(bundle.file_size),
        **{f"solofile:requires:{name}": target.requires for name, target in manifest.targets.items()},
    }
    return {
        "type": "application", "bom-ref": "bundle", "name": manifest.name, "description": manifest.title,
        "properties": [{"name": name, "value": value} for name, value in properties.items()],
    }  # fmt: skip


def _model(model: Model, part: Part) -> dict[str, Any]:
    facts = {"path": model.path, "quantization": model.quantization, "parameters": str(model.parameters)}
    component: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": f"model:{model.name}", "name": model.name,
        "hashes": [{"alg": "SHA-256", "content": part.sha256}],
        "modelCard": {"modelParameters": {"architectureFamily": model.architecture}},
        "properties": [{"name": f"solofile:{name}", "value": value} for name, value in facts.items()],
    }  # fmt: skip
    if model.origin:
        component["pedigree"] = _pedigree(model.origin)
    if model.license:
        spdx = SPDX.get(model.license.lower())
        component["licenses"] = [{"license": {"id": spdx} if spdx else {"name": model.license}}]
    return component


def _pedigree(origin: Origin) -> dict[str, Any]:
    """What the model was made from, and how."""
    ancestor = {
        "type": "machine-learning-model", "name": origin.name,
        **({} if origin.converted else {"hashes": [{"alg": "SHA-256", "content": origin.sha256}]}),
    }  # fmt: skip
    return {"ancestors": [ancestor], "notes": origin_text(origin).replace("\n", "; ")}


def _all_parts(bundle: Bundle) -> dict[str, Any]:
    return {
        "type": "file", "bom-ref": "parts", "name": "parts", "description": "every part of the file but its padding",
        "components": [_file(part) for part in _parts(bundle)],
    }  # fmt: skip


def _parts(bundle: Bundle) -> Iterator[Part]:
    yield from (part for part in bundle.parts.values() if not part.path.startswith(PADDING_PREFIX))
    yield manifest_part(bundle)


def _file(part: Part) -> dict[str, Any]:
    reference = "manifest" if part.path == MANIFEST_NAME else f"part:{part.path}"
    return {
        "type": "file", "bom-ref": reference, "name": part.path,
        "hashes": [{"alg": "SHA-256", "content": part.sha256}],
    }  # fmt: skip
