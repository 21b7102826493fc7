"""A stand-in for a Cosmopolitan Python, which cannot be had everywhere: a shell script with a ZIP behind it.

The script begins as Actually Portable Executables do and has this module do, in the Python that runs the tests, what
such a Python does by itself: the arguments in ``.args`` of its own ZIP take the place of the user's, ``...`` among them
stands for those, and packages are found in ``Lib/site-packages`` of the ZIP. It has no ctypes, as that has not.
"""

from __future__ import annotations

import runpy
import sys
import zipfile
from pathlib import Path

SCRIPT = """\
MZqFpD='
'
exec "{python}" -I "{module}" "$0" "$@"
exit 127
"""


def write_stand_in(path: Path, python: str = sys.executable) -> Path:
    """Write the file, with a library that tells it from other ZIPs, and arguments that start something else."""
    path.write_text(SCRIPT.format(python=python, module=Path(__file__)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("Lib/os.py", "# of the library\n" * 40), (".args", "-m\nthis\n..."), ("share/x", "x")):
            archive.writestr(zipfile.ZipInfo(name), text)
    path.chmod(0o755)
    return path


def main(file: str, given: list[str]) -> None:
    """Start what ``.args`` says."""
    with zipfile.ZipFile(file) as archive:
        words = archive.read(".args").decode().split("\n")
    words[words.index("...") :] = given
    while words[0] == "-I":
        words.pop(0)
    option, module, *rest = words
    assert option == "-m", words
    sys.modules["ctypes"] = None  # type: ignore[assignment]
    sys.executable, sys.argv = file, [module, *rest]
    sys.path.insert(0, f"{file}/Lib/site-packages")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
