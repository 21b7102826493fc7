"""pyproject.toml, the locks and the documents agree."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from solofile.builder import inputs
from solofile.runtime.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return loaded


def test_runtime_extra_has_the_versions_of_the_lock(project: dict[str, Any]) -> None:
    locked = inputs.pins("runtime")
    for requirement in project["project"]["optional-dependencies"]["runtime"]:
        name, _, version = requirement.partition("==")
        assert locked[name].version == version


@pytest.mark.parametrize("lock", ["runtime", "freeze", "tools", "self"])
def test_every_line_of_a_lock_is_read(lock: str) -> None:
    text = (inputs.LOCKS / f"{lock}.txt").read_text("utf-8")
    assert len(inputs.pins(lock)) == len(re.findall("==", text))
    assert sum(pin.lines.count("--hash=sha256:") for pin in inputs.pins(lock).values()) == text.count("--hash")


@pytest.mark.parametrize("lock", ["runtime", "freeze", "tools", "self"])
def test_what_was_asked_for_is_locked(lock: str) -> None:
    for line in (inputs.LOCKS / f"{lock}.in").read_text("utf-8").split():
        name, _, version = line.partition("==")
        pin = inputs.pins(lock)[re.split("[<>=]", name)[0]]
        assert not version or pin.version == version


def test_packages_and_their_data_are_installed(project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    for package in setuptools["packages"]:
        assert (ROOT / setuptools["package-dir"][package] / "__init__.py").is_file()
    listed = {ROOT / folder for folder in setuptools["package-dir"].values()}
    for folder in ("builder", "recipes", "runtime", "webui"):
        assert {path.parent for path in (ROOT / folder).rglob("__init__.py")} <= listed
    for package, patterns in setuptools["package-data"].items():
        for pattern in patterns:
            assert any((ROOT / setuptools["package-dir"][package]).glob(pattern)), f"nothing is like {pattern}"


def test_version_is_in_the_changelog() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_readme_begins_with_two_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    start = text[text.index("## Start") : text.index("## Build")]
    commands = re.findall(r"```sh\n(.+?)\n```", start, flags=re.DOTALL)
    assert len(commands) == 2 and not any("\n" in command for command in commands)
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert commands[1] in ci, ".ci/run runs another command than the README names"
