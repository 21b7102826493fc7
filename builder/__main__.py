"""The program ``solofile``. It hears signals before anything is imported: Ctrl-C is quiet from the first moment on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from solofile.builder import interrupts


def run(words: Sequence[str] | None = None) -> int:
    """Run the command line, the program's own unless there is another; its exit code."""
    try:
        interrupts.hear()
        from solofile.builder.cli import main

        return main(words)
    except KeyboardInterrupt as stop:
        print(f"solofile: {interrupts.sentence(stop)}", file=sys.stderr)
        return interrupts.exit_code(stop)


if __name__ == "__main__":
    sys.exit(run())
