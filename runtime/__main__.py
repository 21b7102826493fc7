"""Where the frozen program begins."""

from __future__ import annotations

import contextlib
import os
import sys


def run() -> None:
    """Run the command line and end the process at once: native threads and a half-loaded model are not waited for."""
    code = 130
    # Ctrl-C may come before there is a command line to answer it.
    with contextlib.suppress(KeyboardInterrupt):
        from solofile.runtime import cli, console, shutdown

        console.use_utf8()
        shutdown.install()
        code = cli.main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
