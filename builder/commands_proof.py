"""The commands that prove what is in a bundle: inspect and verify."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from solofile.builder.inspect import document, page
from solofile.builder.inspect_tree import tree
from solofile.builder.progress import Progress, byte_size
from solofile.runtime import integrity
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle, SolofileError


def inspect(arguments: argparse.Namespace) -> int:
    """``solofile inspect``."""
    with Bundle.open(arguments.file) as bundle:
        shown = document if arguments.json else tree if arguments.tree else page
        print(shown(bundle), end="")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """``solofile verify``."""
    return _verify_json(arguments) if arguments.json else _verify_said(arguments)


def _verify_said(arguments: argparse.Namespace) -> int:
    with Bundle.open(arguments.file) as bundle:
        damages = _damages(bundle)
        for damage in damages[:-1]:
            print(f"solofile: {damage.what}", file=sys.stderr)
        if damages:
            raise DamagedBundle(damages[-1].what)
        total = byte_size(integrity.total_bytes(bundle))
        print(f"{arguments.file}: all {len(bundle.parts)} parts are as they were built ({total}).")
    return 0


def _verify_json(arguments: argparse.Namespace) -> int:
    """One object on standard output, whatever is found; the exit code is that of the command without --json."""
    facts: dict[str, Any] = {"path": str(arguments.file), "ok": False, "damaged": [], "error": None}
    code = 0
    try:
        with Bundle.open(arguments.file) as bundle:
            facts |= {"size": bundle.file_size, "digest": bundle.digest, "parts": len(bundle.parts)}
            facts |= {"bytes": integrity.total_bytes(bundle)}
            facts["damaged"] = [damage._asdict() for damage in _damages(bundle)]
        facts["ok"] = not facts["damaged"]
        code = 0 if facts["ok"] else DamagedBundle.exit_code
    except SolofileError as error:
        facts["error"], code = str(error), error.exit_code
    print(json.dumps(facts, indent=1))
    return code


def _damages(bundle: Bundle) -> list[integrity.Damage]:
    with Progress("Verifying", integrity.total_bytes(bundle)) as shown:
        return integrity.verify(bundle, shown.update)
