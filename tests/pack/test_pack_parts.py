"""The parts of a pack build that need neither PyInstaller nor a compiler."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from solofile.builder import apt, freezing, inputs, libpython, licenses, pack
from solofile.builder.errors import ToolError

ROOT = Path(__file__).parents[2]


def test_what_slim_stands_in_for_is_left_out() -> None:
    tree = ast.parse((ROOT / "runtime" / "slim.py").read_text("utf-8"))
    names = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert set(ast.literal_eval(names["UNUSED"])) <= set(freezing.EXCLUDES)


def test_own_files_are_the_runtime_and_the_page() -> None:
    names = set(freezing.own_files())
    assert {"solofile/runtime/cli.py", "solofile/runtime/__main__.py", "solofile/webui/index.html"} <= names
    assert not any("__pycache__" in name or "native/" in name or "launcher/" in name for name in names)


def test_missing_binutils_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="install binutils"):
        freezing.freeze(tmp_path, lambda *_: pytest.fail("nothing may be started"))


def test_a_pack_is_current_while_the_systems_files_are_the_same(tmp_path: Path) -> None:
    library = tmp_path / "libssl.so"
    library.write_bytes(b"one")
    (tmp_path / "pack.zip").touch()
    assert not pack._is_current(tmp_path)
    (tmp_path / "inputs.json").write_text("{")
    assert not pack._is_current(tmp_path)
    (tmp_path / "inputs.json").write_text(json.dumps(pack._stamps([library])))
    assert pack._is_current(tmp_path)
    library.write_bytes(b"a newer one")
    assert not pack._is_current(tmp_path)
    library.unlink()
    assert not pack._is_current(tmp_path)


def test_licenses_of_libraries_that_no_package_owns(tmp_path: Path) -> None:
    texts = licenses._system([tmp_path / "libthing.so.1", Path("lib-dynload/_json.cpython.so"), tmp_path / "x.py"])
    assert list(texts) == ["libthing"]
    assert b"libthing.so.1" in texts["libthing"]


class Debian:
    """Stands in for dpkg and apt: answers what it was told, and notes what it was asked."""

    def __init__(self, folder: Path, owner: str = "python3.11-minimal: /usr/bin/python3.11") -> None:
        self.folder = folder
        self.owner = owner
        self.installed, self.offered = "3.11.2-6+deb12u8", "3.11.2-6+deb12u8"
        self.lists = True
        self.asked: list[str] = []

    def run(
        self, command: Sequence[str], environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> str | None:
        assert environment is None
        self.asked.append(" ".join(command))
        words = set(command)
        if "--search" in words:
            return self.owner or None
        if "--show" in words:
            return self.installed
        if "update" in words:
            self.lists = True
            return ""
        if "download" in words:
            wanted = command[-1].partition("=")[2] or self.offered
            if not self.lists or wanted != self.offered:
                return None
            assert folder is not None
            (folder / f"libpython3.11_{self.offered}_amd64.deb").touch()
            return ""
        if "--field" in words:
            return self.offered
        assert "--extract" in words
        made = Path(command[-1], "usr/lib/x86_64-linux-gnu")
        made.mkdir(parents=True)
        (made / f"{libpython.NAME}.so.1.0").write_bytes(b"the library")
        return ""


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    """A Debian with a static Python 3.11."""
    system = Debian(tmp_path)
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(apt, "run", system.run)
    monkeypatch.setattr(libpython, "NAME", "libpython3.11")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return system


def test_libpython_of_the_very_version_is_fetched(debian: Debian) -> None:
    library = libpython.fetch_library()
    assert library.read_bytes() == b"the library"
    assert "libpython3.11-3.11.2-6+deb12u8" in str(library)
    assert any(line.endswith("download libpython3.11=3.11.2-6+deb12u8") for line in debian.asked)
    assert not any("update" in line for line in debian.asked)
    count = sum("download" in line for line in debian.asked)
    libpython.fetch_library()
    assert sum("download" in line for line in debian.asked) == count


def test_libpython_without_package_lists(debian: Debian) -> None:
    debian.lists = False
    assert libpython.fetch_library().is_file()
    updates = [line for line in debian.asked if line.endswith("update")]
    assert len(updates) == 1 and "Dir::State::lists=" in updates[0]  # our own lists: the system's need root


def test_libpython_of_a_newer_build_of_the_same_release_fits(debian: Debian) -> None:
    debian.offered = "3.11.2-7"
    assert libpython.fetch_library().is_file()


def test_libpython_of_another_release_does_not(debian: Debian) -> None:
    debian.offered = "3.11.9-1"
    with pytest.raises(ToolError, match="apt-get download libpython"):
        libpython.fetch_library()
    assert not list((debian.folder / "cache" / "tools").glob("libpython3.11-*[!k]"))


@pytest.mark.parametrize("owner", ["", "other-package: /opt/python"])
def test_a_static_python_of_ones_own_cannot_be_frozen(debian: Debian, owner: str) -> None:
    debian.owner = owner
    with pytest.raises(ToolError, match="--enable-shared"):
        libpython.fetch_library()


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], list[list[str]]]:
    """Stands in for pip: puts the given bytes where it was told to, and notes the command."""
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "cache"))

    def install(content: bytes) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: Sequence[str], environment: dict[str, str]) -> None:
            commands.append(list(command))
            folder = next(word.partition("=")[2] for word in command if word.startswith("--dest="))
            Path(folder, f"{inputs.LLAMA.stem}.tar.gz").write_bytes(content)
            _check_backend(environment["PYTHONPATH"])

        monkeypatch.setattr(inputs, "run_tool", run)
        return commands

    return install


def _check_backend(python_path: str) -> None:
    """The stand-in for the build backend gives the metadata that pip asks for."""
    script = (
        "import sys, tempfile, pathlib, importlib\n"
        f"sys.path.insert(0, {python_path!r})\n"
        f"backend = importlib.import_module({inputs.LLAMA.backend!r})\n"
        "folder = tempfile.mkdtemp()\n"
        "name = backend.prepare_metadata_for_build_wheel(folder)\n"
        "print(pathlib.Path(folder, name, 'METADATA').read_text())\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert f"Name: {inputs.LLAMA.project}\nVersion: {inputs.LLAMA.version}\n" in done.stdout


def test_a_download_that_is_not_the_pinned_one_is_removed(
    pip: Callable[[bytes], list[list[str]]], tmp_path: Path
) -> None:
    commands = pip(b"something else")
    with pytest.raises(ToolError, match="damaged"):
        inputs.llama_source()
    assert "--require-hashes" in commands[0]
    assert not (tmp_path / "cache" / "downloads" / f"{inputs.LLAMA.stem}.tar.gz").exists()
    assert not (tmp_path / "cache" / "sources" / inputs.LLAMA.stem).exists()
