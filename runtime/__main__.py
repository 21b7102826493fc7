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
        code = _child() if "SOLOFILE_CHILD" in os.environ else _main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _main() -> int:
    from solofile.runtime import cli, console, shutdown

    console.use_utf8()
    shutdown.install()
    if sys.platform == "darwin":
        from solofile.runtime import parent

        parent.follow(os.environ)
    return cli.main()


def _child() -> int:
    """A start by ourselves, to try something that may end the process. The launcher lets nobody else ask for it."""
    if os.environ["SOLOFILE_CHILD"] == "pdf":
        from solofile.runtime import pdf_child

        return pdf_child.main()
    if os.environ["SOLOFILE_CHILD"] == "prompt":
        from solofile.runtime import prompt_child

        return prompt_child.main()
    from solofile.runtime import probing

    return probing.child_main()


if __name__ == "__main__":
    run()
