"""A start without the native libraries: the kernel path by the rules alone, as where nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping

from solofile.runtime import choice, hardware, selection, settings
from solofile.runtime.container import Bundle
from solofile.runtime.kernel_path import Choice, Known
from solofile.runtime.settings import Launch


def choose_by_rules(launch: Launch, bundle: Bundle, environ: Mapping[str, str]) -> Choice:
    """The choice on this machine."""
    machine = hardware.detect()
    [model] = [model for model in bundle.manifest.models if model.path == launch.model]
    wishes = choice.wishes(launch.kernel, launch.gpu, settings.given(launch))
    known = Known(crash=environ.get("SOLOFILE_CRASH") or None)
    return choice.choose(machine, model, selection.offered(bundle, machine.target), wishes, known)
