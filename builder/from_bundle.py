"""What goes along when a bundle's model is put into another bundle: its license."""

from __future__ import annotations

from collections.abc import Mapping

from solofile.builder.sources import BundleSource, model_in
from solofile.runtime.container import Bundle

PREFIX = "LICENSES/model-"


def license_of(source: BundleSource) -> tuple[str | None, Mapping[str, bytes]]:
    """The name of the model's license and its texts, by their paths in the old bundle. Raises BadSource, InputError."""
    with Bundle.open(source.path) as bundle:
        paths = sorted((path for path in bundle.parts if path.startswith(PREFIX)), key=lambda path: (len(path), path))
        texts = {path: bundle.read(path) for path in paths}  # in the order that they were numbered in
        return model_in(bundle, source.model).license, texts
