"""The parts of a native build that need no compiler."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from solofile.builder import native, native_tree, paths, targets, tools
from solofile.builder.errors import BuildError, ToolError
from solofile.builder.progress import Progress, SilentProgress
from solofile.runtime.errors import UnknownName

X86 = targets.find_target("linux-x86_64")


class Recorded(SilentProgress):
    """A progress that remembers what it was told."""

    seen: list[tuple[int, int | None]]
    notes: list[str]

    def __init__(self, label: str = "", total: int | None = None, unit: str = "B") -> None:
        super().__init__(label, total, unit)
        self.seen, self.notes = [], []

    def update(self, done: int) -> None:
        self.seen.append((done, self.total))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("cpus", "gigabytes", "jobs"), [(8, 64.0, 8), (8, 3.5, 3), (8, 0.2, 1), (1, 64.0, 1), (4, None, 4)]
)
def test_as_many_compilers_as_cpus_and_memory_allow(cpus: int, gigabytes: float | None, jobs: int) -> None:
    assert tools.job_count(cpus, gigabytes) == jobs


def test_kernel_lists() -> None:
    assert len(targets.find_kernels(X86, "all")) == 14
    assert targets.find_kernels(X86, "haswell") == ("haswell", "x64")
    assert targets.find_kernels(X86, " zen4, x64,zen4") == ("x64", "zen4")
    assert "x64" in targets.find_kernels(X86, "host")


@pytest.mark.parametrize(
    ("features", "kernels"),
    [
        ("", ("x64",)),
        ("sse4_2", ("sse42", "x64")),
        ("sse4_2 avx f16c fma avx2 bmi2", ("haswell", "x64")),
        ("sse4_2 avx f16c fma avx2 bmi2 avx_vnni", ("alderlake", "x64")),
    ],
)
def test_host_kernels(features: str, kernels: tuple[str, ...]) -> None:
    assert targets.host_kernels(X86, features.split()) == kernels


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(UnknownName, match="haswell"):
        targets.find_kernels(X86, "hasswell")
    with pytest.raises(UnknownName, match="linux-x86_64"):
        targets.find_target("linux-x64")


def test_mirror_copies_what_differs_and_nothing_else(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "sub" / "b.txt").write_text("b")
    native_tree.mirror(source, copy)
    os.utime(copy / "a.txt", (1, 1))
    os.utime(copy / "sub" / "b.txt", (1, 1))
    (source / "sub" / "b.txt").write_text("changed")
    (copy / "gone.txt").write_text("left over")
    native_tree.mirror(source, copy)
    assert (copy / "a.txt").stat().st_mtime == 1
    assert (copy / "sub" / "b.txt").read_text() == "changed"
    assert not (copy / "gone.txt").exists()


def run(script: str, folder: Path, unit: str = "steps") -> Recorded:
    made: list[Recorded] = []

    def maker(label: str, total: int | None, unit: str) -> Progress:
        made.append(Recorded(label, total, unit))
        return made[-1]

    try:
        tools.run_logged(
            [sys.executable, "-c", script],
            label="a build",
            log=folder / "log",
            progress=maker,
            environment=os.environ,
            unit=unit,
        )
    except ToolError as error:
        made[-1].notes.append(str(error))
    return made[-1]


def test_steps_are_shown_as_progress(tmp_path: Path) -> None:
    shown = run("print('[1/4] a'); print('a warning'); print('[4/4] b')", tmp_path)
    assert shown.seen == [(1, 4), (1, 4), (4, 4)]
    assert not shown.notes
    assert "a warning" in (tmp_path / "log").read_text()


def test_a_silent_program_is_still_shown(tmp_path: Path) -> None:
    shown = run("import time; time.sleep(2.5)", tmp_path, unit="s")
    assert [done for done, _ in shown.seen][:2] == [1, 2]


def test_a_failure_shows_its_last_lines_and_the_log(tmp_path: Path) -> None:
    shown = run("print('[1/2] x')\nfor i in range(99): print('line', i)\nraise SystemExit(3)", tmp_path)
    assert len(shown.notes) == 2
    lines = shown.notes[0].splitlines()
    assert (len(lines), lines[0], lines[-1]) == (30, "line 69", "line 98")
    assert str(tmp_path / "log") in shown.notes[1]


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no-such-program could not be started"):
        tools.run_logged(
            [tmp_path / "no-such-program"],
            label="a build",
            log=tmp_path / "log",
            progress=SilentProgress,
            environment=os.environ,
        )


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with paths.locked(tmp_path / "lock", waiting=lambda: order.append("waits")):
            order.append("second")

    with paths.locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        for _ in range(100):
            if order:
                break
            time.sleep(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["waits", "first", "second"]


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), paths.made_at(tmp_path / "made") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with paths.made_at(tmp_path / "made") as folder:
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "whole").exists()


def test_entries_used_last_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    paths.mark_used(tmp_path / "old")
    paths.keep_newest(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "new.lock", "old", "old.lock"}


def test_no_home_and_no_cache_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.VARIABLE, raising=False)
    monkeypatch.setattr(Path, "home", classmethod(lambda _: (_ for _ in ()).throw(RuntimeError)))
    with pytest.raises(BuildError, match="SOLOFILE_BUILD_CACHE"):
        paths.build_cache()


@pytest.fixture
def fake_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for CMake: notes what was asked for, and makes it. The build cache is empty."""
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path / "cache"))
    asked: list[list[str]] = []

    def make(_: native_tree.NativeTree, cmake_targets: list[str]) -> Path:
        asked.append(cmake_targets)
        made = tmp_path / "bin"
        made.mkdir(exist_ok=True)
        for name in cmake_targets:
            file = name if name in native.REFERENCE_PROGRAMS else f"lib{native.CORE.get(name, name)}.so"
            (made / file).write_text(f"{name} {len(asked)}")
        return made

    monkeypatch.setattr(native_tree.NativeTree, "make", make)
    return asked


def test_only_what_is_missing_is_built(fake_tree: list[list[str]]) -> None:
    first = native.build("linux-x86_64", kernels="haswell")
    assert fake_tree == [["ggml", "ggml-base", "ggml-cpu-haswell", "ggml-cpu-x64", "ggml-rpc", "solofile"]]
    assert native.build("linux-x86_64", kernels="x64").folder == first.folder
    assert len(fake_tree) == 1
    more = native.build("linux-x86_64", kernels="zen4,haswell")
    assert fake_tree[1:] == [["ggml-cpu-zen4"]]
    assert more.kernel("zen4").read_text() == "ggml-cpu-zen4 2"
    assert more.kernel("haswell").read_text() == "ggml-cpu-haswell 1"
    assert native.built_kernels("linux-x86_64") == ("haswell", "x64", "zen4")


@pytest.mark.usefixtures("fake_tree")
def test_the_reference_comes_with_what_it_loads() -> None:
    built = native.build("linux-x86_64", kernels="x64", reference=True)
    assert built.reference is not None
    there = {path.name for path in built.reference.parent.iterdir()}
    assert there >= {"llama-server", "llama-quantize", "libggml.so", "libggml-base.so", "libggml-cpu-x64.so"}


def test_a_changed_or_removed_library_is_built_again(fake_tree: list[list[str]]) -> None:
    built = native.build("linux-x86_64", kernels="x64")
    built.kernel("x64").write_text("damaged")
    (built.folder / "libggml.so").unlink()
    native.build("linux-x86_64", kernels="x64")
    assert fake_tree[1:] == [["ggml", "ggml-cpu-x64"]]
    os.utime(built.kernel("x64"))  # touched, but the same
    native.build("linux-x86_64", kernels="x64")
    assert len(fake_tree) == 2


def test_the_key_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "own_sources", lambda: tmp_path)
    (tmp_path / "CMakeLists.txt").write_text("one")
    key = native.native_key(X86)
    assert native.native_key(X86) == key
    (tmp_path / "CMakeLists.txt").write_text("two")
    assert native.native_key(X86) != key


def test_what_is_for_other_targets_is_in_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "own_sources", lambda: tmp_path)
    names = ("linux-x86_64", "macos-aarch64", "macos-x86_64", "windows-aarch64", "windows-x86_64")
    before = {name: native.native_key(targets.TARGETS[name]) for name in names}
    (tmp_path / "macos").mkdir()
    (tmp_path / "macos" / "project.cmake").write_text("one")
    after = {name: native.native_key(targets.TARGETS[name]) for name in names}
    assert [name for name in names if before[name] != after[name]] == ["macos-aarch64", "macos-x86_64"]


def test_what_cmake_is_told_of_a_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured("linux-x86_64", tmp_path / "linux", monkeypatch) == ("toolchain.cmake", None)
    assert configured("macos-aarch64", tmp_path / "mac", monkeypatch) == (
        "macos/toolchain.cmake", "macos/project.cmake"
    )  # fmt: skip
    assert configured("windows-aarch64", tmp_path / "windows", monkeypatch) == (
        "toolchain.cmake", "windows-arm/project.cmake"
    )  # fmt: skip


def configured(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    """The toolchain file and the file for project() that a first configuration names, below the sources."""
    ran: list[list[str]] = []
    monkeypatch.setenv(paths.VARIABLE, str(cache))
    monkeypatch.setattr(native_tree, "run_logged", lambda command, **_: ran.append([str(word) for word in command]))
    for tool in ("zig", "ninja", "cmake", "llama_source"):
        monkeypatch.setattr(native_tree.inputs, tool, lambda: cache / "tool")
    monkeypatch.setattr(native_tree, "_check_space", lambda: None)
    tree = native_tree.NativeTree(targets.TARGETS[name], SilentProgress)
    tree.folder.mkdir(parents=True)
    monkeypatch.setattr(native_tree, "_point", lambda *_: None)
    (tree.folder / "build").mkdir()
    tree.make(["ggml"])
    words = dict(word.removeprefix("-D").split("=", 1) for word in ran[0] if word.startswith("-D"))
    own = words.get("CMAKE_PROJECT_solofile_native_INCLUDE")
    below = [Path(path).relative_to(tree.sources).as_posix() for path in (words["CMAKE_TOOLCHAIN_FILE"], own) if path]
    assert all((tree.sources / path).is_file() for path in below)
    return below[0], below[1] if own else None


def test_sources_changed_during_a_build_are_noticed(
    fake_tree: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(["before", "after"])
    monkeypatch.setattr(native, "native_key", lambda _: next(keys))
    with pytest.raises(BuildError, match="changed during the build"):
        native.build("linux-x86_64", kernels="x64")
    assert fake_tree
    assert not (paths.build_cache() / "native" / "before" / "native.json").exists()


def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    monkeypatch.setattr(native_tree, "FREE_BYTES", 10**18)
    with pytest.raises(BuildError, match="SOLOFILE_BUILD_CACHE"):
        native.build("linux-x86_64", kernels="x64")
