"""The start of solofile as one executable."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

from solofile.builder import child, child_main
from solofile.builder.__main__ import run as run_program

CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)
"""Where systems keep the certificates that they trust; the Python inside knows the place of one system alone."""


def run() -> None:
    """Run the command line, or what a command has a child process do (child.py), and end."""
    if sys.argv[1:] == [child.WORD]:
        sys.exit(child_main.main())
    trust_the_system()
    sys.exit(run_program())


def trust_the_system() -> None:
    """Let downloads use this system's certificates, unless the user or the Python inside names some that are there."""
    known = ssl.get_default_verify_paths()
    if known.cafile or "SSL_CERT_FILE" in os.environ:
        return
    for path in CERTIFICATES:
        if Path(path).is_file():
            os.environ["SSL_CERT_FILE"] = path
            return
