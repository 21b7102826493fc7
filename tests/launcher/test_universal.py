"""One file for several systems: a Windows program and a shell script at once, with launchers of others inside."""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import pytest
from runners import Runner
from solofile.builder.errors import PackError
from solofile.builder.polyglot import BLOCK, polyglot
from synthetic_bundle import Synthetic, probe_files, run, write_bundle
from zig_cc import WINDOWS, zig_cc

SHELLS = ["sh", "dash", "bash", "zsh", "busybox sh"]
TRIPLES = {"windows-x86_64": WINDOWS, "linux-aarch64": "aarch64-linux-musl"}
SHOW = """#include <stdio.h>
int main(int c, char **v) { for (int i = 1; i < c; i++) printf("arg %s\\n", v[i]); return 7; }
"""


@pytest.fixture(scope="session")
def launchers(launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The launcher of this system, and programs of others that show their arguments and end with 7."""
    folder = tmp_path_factory.mktemp("others")
    source = folder / "show.c"
    source.write_text(SHOW)
    made = {"linux-x86_64": launcher.read_bytes()}
    for target, triple in TRIPLES.items():
        made[target] = zig_cc(folder / target, source, triple=triple).read_bytes()
    return made


@pytest.fixture
def universal(tmp_path: Path, launchers: dict[str, bytes], probe: bytes) -> Synthetic:
    """A whole bundle for three systems; what it has for Linux on x86-64 is the probe."""
    folder = tmp_path / "a stick, ünd more"
    folder.mkdir()
    return write_bundle(folder / "the model.exe", polyglot(launchers), probe_files(probe))


def shell(name: str) -> list[str]:
    """The command of a shell. Skips the test where it is not installed."""
    words = name.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return [str(shutil.which(words[0])), *words[1:]]


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_starts_it(name: str, universal: Synthetic, cache: Path) -> None:
    words = ["show", "two words", "", "a'quote", 'and"two', "$HOME", "*", "ünï"]
    for _ in range(2):
        started = run([*shell(name), universal.path, *words], {"SOLOFILE_CACHE": cache})
        assert (started.code, started.err) == (0, "")
        assert started.arguments == [str(universal.path), *words]
        assert started.environment["SOLOFILE_BUNDLE"] == str(universal.path)
        assert "SOLOFILE_FILE" not in started.environment
    assert run([*shell(name), universal.path, "exit", "42"], {"SOLOFILE_CACHE": cache}).code == 42


def test_by_its_own_name_from_a_shell(universal: Synthetic, cache: Path) -> None:
    environment = {"SOLOFILE_CACHE": cache, "PATH": f"{universal.path.parent}:/usr/bin:/bin"}
    for command in ("'./the model.exe' exit 5", "'the model.exe' exit 5"):
        assert run(["/bin/sh", "-c", command], environment, cwd=universal.path.parent).code == 5


def test_only_the_launcher_is_taken_out_and_once(
    universal: Synthetic, launchers: dict[str, bytes], cache: Path
) -> None:
    assert run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache}).code == 0
    (taken,) = (cache / "launchers").iterdir()
    assert taken.read_bytes() == launchers["linux-x86_64"]
    assert taken.name == hashlib.sha256(launchers["linux-x86_64"]).hexdigest()
    before = taken.stat()
    assert run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache}).code == 0
    assert taken.stat().st_mtime_ns == before.st_mtime_ns and taken.stat().st_mode & 0o777 == 0o700


def test_a_changed_launcher_in_the_cache_is_made_again(
    universal: Synthetic, launchers: dict[str, bytes], cache: Path
) -> None:
    run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache})
    (taken,) = (cache / "launchers").iterdir()
    for damage in (b"#!/bin/sh\nexit 99\n", b""):
        taken.write_bytes(damage)
        assert run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache}).code == 0
        assert taken.read_bytes() == launchers["linux-x86_64"]
    taken.unlink()
    planted = cache / "planted"
    planted.write_text("#!/bin/sh\nexit 99\n")
    planted.chmod(0o755)
    taken.symlink_to(planted)
    assert run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache}).code == 0
    assert not taken.is_symlink() and planted.read_text() == "#!/bin/sh\nexit 99\n"


def test_a_damaged_launcher_in_the_file_is_refused(
    universal: Synthetic, launchers: dict[str, bytes], cache: Path
) -> None:
    at = universal.path.read_bytes().index(launchers["linux-x86_64"]) + 5000
    universal.flip(at)
    started = run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache})
    assert started.code == 1 and "is damaged: its launcher is not what it should be" in started.err
    assert list((cache / "launchers").iterdir()) == []


def test_folders_that_others_can_write_are_passed_over(universal: Synthetic, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    started = run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": cache})
    assert started.code == 1 and f"others can write to {cache}" in started.err
    home = tmp_path / "home"
    home.mkdir()
    given = {"XDG_CACHE_HOME": tmp_path, "HOME": home}
    (tmp_path / "solofile").mkdir(mode=0o777)
    (tmp_path / "solofile").chmod(0o777)
    started = run(["/bin/sh", universal.path, "exit", "3"], given)
    assert started.code == 3
    assert f"the cache folder {tmp_path}/solofile is passed over: others can write to it" in started.err.replace(
        f"write to {tmp_path}/solofile (chmod go-w takes that away)", "write to it"
    )
    assert list((home / ".cache/solofile/launchers").iterdir()) != []


def test_a_launcher_with_an_archive_does_not_look_for_another_file(
    bundle: Synthetic, universal: Synthetic, cache: Path
) -> None:
    started = run([bundle.path], {"SOLOFILE_CACHE": cache, "SOLOFILE_FILE": universal.path})
    assert started.environment["SOLOFILE_BUNDLE"] == str(bundle.path)
    assert "SOLOFILE_FILE" not in started.environment


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("Linux", "aarch64", "linux-aarch64"), ("Linux", "arm64", "linux-aarch64"), ("Linux", "amd64", "linux-x86_64")],
)
def test_the_machine_decides(
    system: str, machine: str, expected: str, universal: Synthetic, launchers: dict[str, bytes], tmp_path: Path
) -> None:
    path = stand_in(tmp_path, system, machine)
    run(["/bin/sh", universal.path, "exit", "0"], {"SOLOFILE_CACHE": tmp_path / "cache", "PATH": path})
    (taken,) = (tmp_path / "cache/launchers").iterdir()
    assert taken.read_bytes() == launchers[expected]


MAC_TOOLS = {
    "shasum": """[ "$*" = "-a 256" ] || exit 64; exec @sha256sum@""",
    # BSD's: it knows none of GNU's additions.
    "dd": """for word; do case $word in bs=*|skip=*|count=*) ;; *) exit 64 ;; esac; done; exec @dd@ "$@" """,
    # Files that were downloaded have attributes, which it marks.
    "ls": """@ls@ "$@" | @sed@ 's/^\\([-d][^ ]*\\)/\\1@/'""",
    "xattr": "exit 64",
}
"""What is different about the tools of a Mac; whatever else is there follows POSIX."""


@pytest.mark.parametrize("name", ["sh", "bash --posix", "zsh"])
@pytest.mark.parametrize(
    ("machine", "translated", "answer"), [("arm64", "", "arm"), ("x86_64", "1", "arm"), ("x86_64", "0", "intel")]
)
def test_on_a_mac(
    name: str, machine: str, translated: str, answer: str, launchers: dict[str, bytes], probe: bytes, tmp_path: Path
) -> None:
    """With stand-ins for uname, for the tools that a Mac has, and for its launchers; Rosetta is looked through."""
    named = {
        "macos-aarch64": b'#!/bin/sh\necho arm "$SOLOFILE_FILE" "$@"\n',
        "macos-x86_64": b'#!/bin/sh\necho intel "$SOLOFILE_FILE" "$@"\n',
    }
    bundle = write_bundle(tmp_path / "mac.exe", polyglot({**launchers, **named}), probe_files(probe))
    home = tmp_path / "home"
    home.mkdir()
    tools = {"sysctl": f"echo {translated}"}
    for tool, text in MAC_TOOLS.items():
        for word in ("sha256sum", "dd", "ls", "sed"):
            text = text.replace(f"@{word}@", str(shutil.which(word)))
        tools[tool] = text
    path = stand_in(home, "Darwin", machine, tools).removesuffix(":/usr/bin:/bin")
    path = f"{path}:{only(home, 'id', 'mkdir', 'chmod', 'mv', 'rm', 'sh')}"
    for _ in range(2):
        started = run([*shell(name), bundle.path, "x"], {"HOME": home, "PATH": path})
        assert (started.code, started.out.strip(), started.err) == (0, f"{answer} {bundle.path} x", "")
    (taken,) = (home / "Library/Caches/solofile/launchers").iterdir()
    assert taken.read_bytes() == named["macos-aarch64" if answer == "arm" else "macos-x86_64"]


def test_other_machines_are_told_what_there_is(universal: Synthetic, cache: Path, tmp_path: Path) -> None:
    environment = {"SOLOFILE_CACHE": cache, "PATH": stand_in(tmp_path, "SunOS", "sparc")}
    started = run(["/bin/sh", universal.path], environment)
    assert started.code == 1
    assert started.err == (
        "solofile: This file has no program for SunOS on sparc, only for: linux-aarch64, linux-x86_64, Windows; "
        "get the file for this machine.\n"
    )


def test_under_wine(universal: Synthetic, wine: Runner, tmp_path: Path) -> None:
    environment = wine.environment() | {"HOME": str(tmp_path)}
    environment["LANG"] = "C.UTF-8"  # without it Wine finds no file whose name is not ASCII
    started = run([*wine.wrapper, universal.path, "a", "two words"], environment, timeout=300)
    assert (started.code, started.arguments) == (7, ["a", "two words"])


def test_the_windows_headers_say_where_things_are(launchers: dict[str, bytes]) -> None:
    """Each section's bytes are those of the launcher; the headers end before the first page."""
    data, old = polyglot(launchers), launchers["windows-x86_64"]
    (start,) = struct.unpack_from("<I", old, 0x3C)
    assert data[:9] == b"MZsolo='\n" and struct.unpack_from("<I", data, 0x3C) == (0x80,)
    count, optional = struct.unpack_from("<H", data, 0x86)[0], struct.unpack_from("<H", data, 0x94)[0]
    assert struct.unpack_from("<I", data, 0x80 + 24 + 60)[0] <= 0x1000
    for index in range(count):
        at = 24 + optional + 40 * index
        size, new_place = struct.unpack_from("<II", data, 0x80 + at + 16)
        old_place = struct.unpack_from("<I", old, start + at + 20)[0]
        assert new_place % BLOCK == 0
        name = data[0x80 + at : 0x80 + at + 6]
        if name not in (b".rdata", b".build"):  # the debug directory, in one of them, names places in the file
            assert data[new_place : new_place + size] == old[old_place : old_place + size]


def test_without_windows_it_is_a_plain_script(launchers: dict[str, bytes], probe: bytes, tmp_path: Path) -> None:
    """So that the kernel starts it by itself."""
    both = {target: data for target, data in launchers.items() if not target.startswith("windows")}
    bundle = write_bundle(tmp_path / "two.exe", polyglot(both), probe_files(probe))
    assert run([bundle.path, "exit", "6"], {"SOLOFILE_CACHE": tmp_path / "cache"}).code == 6


def test_what_cannot_be_part_of_it(launchers: dict[str, bytes]) -> None:
    with pytest.raises(PackError, match="One file cannot start as windows-aarch64 and as windows-x86_64"):
        polyglot({**launchers, "windows-aarch64": launchers["windows-x86_64"]})
    for damaged in (b"", b"MZ", launchers["windows-x86_64"][:300], launchers["linux-x86_64"]):
        with pytest.raises(PackError, match="launcher for Windows"):
            polyglot({**launchers, "windows-x86_64": damaged})
    with pytest.raises(PackError, match="bytes behind its sections"):
        polyglot({**launchers, "windows-x86_64": launchers["windows-x86_64"] + b"more"})


def test_same_bytes(launchers: dict[str, bytes]) -> None:
    assert polyglot(launchers) == polyglot(dict(reversed(launchers.items())))


def stand_in(folder: Path, system: str, machine: str, more: dict[str, str] | None = None) -> str:
    """A PATH whose first folder has a uname that says so, and the programs of ``more``, before the system's."""
    tools = folder / "tools"
    tools.mkdir()
    programs = {"uname": f"case $1 in -s) echo {system} ;; -m) echo {machine} ;; esac", **(more or {})}
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    return f"{tools}:/usr/bin:/bin"


def only(folder: Path, *names: str) -> str:
    """A folder with links to these programs."""
    links = folder / "links"
    links.mkdir()
    for name in names:
        (links / name).symlink_to(str(shutil.which(name)))
    return str(links)
