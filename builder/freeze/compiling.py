"""Compiles modules for an archive that Python imports from; assembling.py runs it in a fresh, bare Python.

Standard input: a JSON list of [name, is_package, file or null]; standard output: the archive. The same modules give the
same bytes: they are compiled in one order, in a process that has done nothing else.
"""

import importlib.util
import io
import json
import marshal
import sys
import zipfile
from pathlib import Path

TIME = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Read what to compile, write the archive."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name, package, file in sorted(json.load(sys.stdin)):
            place = name.replace(".", "/") + ("/__init__" if package else "")
            source = Path(file).read_bytes() if file else b""
            # The name of the file is what tracebacks show: none of the machine that builds.
            code = compile(source, f"{place}.py", "exec", dont_inherit=True, optimize=2)
            data = importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)
            archive.writestr(zipfile.ZipInfo(f"{place}.pyc", TIME), data)
    sys.stdout.buffer.write(output.getvalue())


if __name__ == "__main__":
    main()
