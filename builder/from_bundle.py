"""What goes along when a bundle's model is put into another bundle: its license, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping

from solofile.builder.sources import BundleSource, Source, model_in
from solofile.runtime.container import Bundle
from solofile.runtime.manifest import Origin

PREFIX = "LICENSES/model-"


def origin_of(source: Source) -> Origin | None:
    """What the model of a bundle was made from; None for one that is as it was given, and for any other source."""
    if not isinstance(source, BundleSource):
        return None
    with Bundle.open(source.path) as bundle:
        return model_in(bundle, source.model).origin


def license_of(source: BundleSource) -> tuple[str | None, Mapping[str, bytes]]:
    """The name of the model's license and its texts, by their paths in the old bundle. Raises BadSource, InputError."""
    with Bundle.open(source.path) as bundle:
        paths = sorted((path for path in bundle.parts if path.startswith(PREFIX)), key=lambda path: (len(path), path))
        texts = {path: bundle.read(path) for path in paths}  # in the order that they were numbered in
        return model_in(bundle, source.model).license, texts
